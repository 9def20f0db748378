"""What applying a manifest would bring about, by the operator's own decisions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.serving_record import Served
from mtp_operator.api.spec import EngineType
from mtp_operator.cli.render import Installation, RenderError, rendered_objects
from mtp_operator.reconcile.intent import DesiredState, NotYet, Off, Pinned, Refused, Tune, desired_state, fixed_n_spec
from mtp_operator.reconcile.observed import OperatorSettings
from mtp_operator.reconcile.weights import fetched
from mtp_operator.report.words import minutes
from mtp_operator.resources.fetch_job import fetched_sources
from mtp_operator.resources.labels import RUN_LABEL
from mtp_operator.resources.weights_volumes import claim_name

from .documents import PlannedModel, PlannedObject
from .gpu_room import room_for
from .seen import Bodies
from .text import counted

_INSTALLATION = Installation()
_SETTINGS = OperatorSettings(
    engine_images={EngineType.VLLM: _INSTALLATION.vllm_image, EngineType.LLAMA_CPP: _INSTALLATION.llama_cpp_image},
    bench_image=_INSTALLATION.bench_image,
)
"""The chart's defaults: an image that the operator has resolved already is in the model's status, and is used."""


def planned_model(
    stated: MTPModel, live: MTPModel | None, runs: Sequence[MTPTuningRun], nodes: Bodies, pods: Bodies
) -> PlannedModel:
    """What the operator would do if this manifest were applied now.

    Args:
        stated: the model of the manifest.
        live: the model of that name in the cluster, if there is one.
        runs: of the namespace.
        nodes: of the cluster, or why they are not known.
        pods: of all namespaces, or why they are not known.
    """
    model = stated if live is None else MTPModel(metadata=live.metadata, spec=stated.spec, status=live.status)
    named = [run for run in runs if run.spec.model_name == model.metadata.name]
    desired = desired_state(model, _SETTINGS, named)
    before = desired_state(live, _SETTINGS, named) if live is not None else None
    return PlannedModel(
        name=model.metadata.name,
        namespace=model.metadata.namespace,
        objects=tuple(_objects(model, desired, runs, is_new=live is None)),
        weights=_weights(model),
        gpus=room_for(model.spec.accelerator, nodes, pods),
        servers=_servers(model, desired, before),
        tuning=_tuning(desired, runs),
        expectation=_expectation(model, desired, runs),
    )


def _weights(model: MTPModel) -> str:
    downloads = fetched_sources(model)
    if not downloads:
        return f"read from {model.spec.model.uri}"
    uris, claim = " and ".join(source.uri for source in downloads), claim_name(model)
    return f"{uris}: {'on' if fetched(model) else 'downloaded to'} PVC {claim}"


def _objects(
    model: MTPModel, desired: DesiredState, runs: Sequence[MTPTuningRun], *, is_new: bool
) -> Iterator[PlannedObject]:
    """What would be created. Trials run one at a time: they are one line."""
    images = desired.images
    installation = replace(
        _INSTALLATION,
        vllm_image=images.engine_image,
        llama_cpp_image=images.engine_image,
        bench_image=images.bench_image,
    )
    try:
        objects = rendered_objects(model, installation)
    except RenderError:
        return
    is_run_new = isinstance(desired.intent, Tune | NotYet) and _run_of(desired, runs) is None
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        if RUN_LABEL in (one["metadata"].get("labels") or {}):
            continue
        if kind == MTPTuningRun.__name__:
            if is_run_new:
                is_named = isinstance(desired.intent, Tune)
                yield PlannedObject(object_kind=kind, name=name if is_named else "named once the weights are there")
        elif is_new:
            yield PlannedObject(object_kind=kind, name=name)
    if is_run_new:
        most = counted(model.spec.tuning.budget.max_trials, "trial")
        yield PlannedObject(object_kind="Job", name=f"up to {most}, one at a time")


def _servers(model: MTPModel, desired: DesiredState, before: DesiredState | None) -> str:
    if model.spec.serving.replicas == 0:
        return "nothing is served (spec.serving.replicas: 0)"
    if before is None:
        return "start for the first time"
    if desired.servable is None or before.servable is None:
        return "keep what they have until the settings can be used"
    old, new = (Served.of(one, 0, model.spec.template.pod).settings_hash for one in (before.servable, desired.servable))
    strategy = f"(rollout strategy {model.spec.serving.rollout.strategy.value})"
    fixed, served = fixed_n_spec(desired.intent), model.status.served_n_spec
    if old != new:
        when = "once the run has its verdict" if fixed is None else "at once"
        return f"replaced {when} {strategy}: their settings change"
    if fixed is not None and served is not None and fixed != served:
        return f"replaced at once {strategy}: n_spec={served} becomes n_spec={fixed}"
    return "no restart" if desired.intent == before.intent else "replaced only if n_spec changes"


def _run_of(desired: DesiredState, runs: Sequence[MTPTuningRun]) -> MTPTuningRun | None:
    """The run that answers the wish, if there is one already."""
    name = desired.intent.run_name if isinstance(desired.intent, Tune) else None
    return next((run for run in runs if run.metadata.name == name), None)


def _tuning(desired: DesiredState, runs: Sequence[MTPTuningRun]) -> str:
    match desired.intent:
        case Refused(why):
            return f"refused: {why}"
        case Pinned(_, why) | Off(why):
            return f"nothing is measured: {why}"
        case NotYet():
            return "a run begins once the weights are downloaded"
        case Tune(held=held) if held is not None:
            return f"nothing is measured now: {held}"
        case Tune():
            return _run(desired, runs)


def _run(desired: DesiredState, runs: Sequence[MTPTuningRun]) -> str:
    there = _run_of(desired, runs)
    if there is not None:
        state = "has the answer" if there.status.verdict is not None else "is under way and continues"
        return f"no new run: {there.metadata.name} {state}"
    measurement = desired.settings.measurement_hash()
    kept = [run for run in runs if run.spec.measurement_hash() == measurement and run.status.counters.measured]
    if kept:
        trials = sum(run.status.counters.measured for run in kept)
        return f"a new run begins with {counted(trials, 'trial')} of {', '.join(run.metadata.name for run in kept)}"
    return "a new run measures everything"


def _expectation(model: MTPModel, desired: DesiredState, runs: Sequence[MTPTuningRun]) -> str:
    there = _run_of(desired, runs)
    if not isinstance(desired.intent, Tune | NotYet) or (there is not None and there.status.verdict is not None):
        return "no GPU time"
    budget = model.spec.tuning.budget
    most = f"at most {counted(budget.max_trials, 'trial')}"
    if budget.max_gpu_minutes is not None:
        most += f" and {budget.max_gpu_minutes} GPU minutes"
    alike = [run for run in runs if _is_alike(run, desired) and run.status.verdict and run.status.counters.gpu_seconds]
    if not alike:
        return f"most runs take 4 to 8 trials, {most}; GPU time is not known: no kept run has this engine and size"
    trials = [run.status.counters.measured + run.status.counters.failed for run in alike]
    seconds = fmean(run.status.counters.gpu_seconds for run in alike)
    kept = f"{len(alike)} kept runs" if len(alike) > 1 else f"kept run {alike[0].metadata.name}"
    return f"about {counted(round(fmean(trials)), 'trial')} and {minutes(seconds)} of GPU time, as {kept} took; {most}"


def _is_alike(run: MTPTuningRun, desired: DesiredState) -> bool:
    """Whether a run had the same engine, model and number of GPUs."""
    spec, wanted = run.spec, desired.settings
    return (spec.engine.type, spec.model.uri, spec.accelerator.count) == (
        wanted.engine.type,
        wanted.model.uri,
        wanted.accelerator.count,
    )
