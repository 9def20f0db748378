"""The policy of one MTPModel: what it asks for, and what its status says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType, make_condition, merge_conditions
from mtp_operator.api.model import MTPModel, ResolvedImages, RunReference, TuningMode
from mtp_operator.api.run import (
    CHOICES,
    ArmState,
    MTPTuningRun,
    RunSettings,
    VerdictStatus,
    VerdictType,
    run_name,
)
from mtp_operator.engines import engine_for
from mtp_operator.resources.tuning_run import run_settings

from . import evidence, unreadable, weights
from .events import model_events, serving_events
from .records import Kind, OperatorSettings, Reference, StatusUpdate, Unreadable
from .run import progress
from .serving import Standing
from .standing import standing
from .trial import Obstacle
from .weights import WeightsPlan


@dataclass(frozen=True)
class Wish:
    """What a model asks for."""

    images: ResolvedImages
    settings: RunSettings
    epoch: int
    """How many runs of the same settings and request were given up."""
    run_name: str
    """The run that would answer it."""
    no_tuning: str
    """Why nothing shall be measured, as a sentence; empty where it shall."""
    refusal: str
    """Why the engine could not work with these settings; empty where it could."""
    newer_image: str
    """The operator's default image of the engine now, where another one is in use."""


def reference(model: MTPModel) -> Reference:
    """The model, by uid."""
    return Reference(Kind.MODEL, model.metadata.namespace, model.metadata.name, model.metadata.uid)


def wish(model: MTPModel, settings: OperatorSettings, known_runs: Iterable[MTPTuningRun]) -> Wish:
    """What the model asks for, with the operator's defaults as they were when its spec was first seen.

    Args:
        model: the model.
        settings: the operator's.
        known_runs: all runs of this model's name.
    """
    images = _images(model, settings)
    fetched = weights.fetched(model)
    measured = run_settings(model, images.engine_image, images.bench_image, fetched or ())
    asked, request = measured.request_hash(), model.spec.tuning.request
    epoch = _epoch(run for run in known_runs if (run.spec.settings_hash, run.spec.request) == (asked, request))
    default = model.spec.engine.image or settings.engine_images[model.spec.engine.type]
    return Wish(
        images=images,
        settings=measured,
        epoch=epoch,
        run_name=run_name(model.metadata.name, asked, request, epoch),
        no_tuning=_no_tuning(model) or ("" if fetched is not None else "the weights are not there yet"),
        refusal="; ".join(engine_for(measured.engine.type).refusals(measured)),
        newer_image=default if default != images.engine_image else "",
    )


def _epoch(runs: Iterable[MTPTuningRun]) -> int:
    """The epoch of the newest of these runs, or the one after it if that was given up half-way: its evidence stays."""
    newest = max(runs, key=lambda run: run.spec.epoch, default=None)
    if newest is None:
        return 0
    verdict = newest.status.verdict
    return newest.spec.epoch + (verdict is not None and verdict.type is VerdictType.SUPERSEDED)


def _images(model: MTPModel, settings: OperatorSettings) -> ResolvedImages:
    resolved, spec_hash = model.status.resolved, model.spec.images_hash()
    if resolved is not None and resolved.spec_hash == spec_hash:
        return resolved
    return ResolvedImages(
        spec_hash=spec_hash,
        engine_image=model.spec.engine.image or settings.engine_images[model.spec.engine.type],
        bench_image=settings.bench_image,
    )


def _no_tuning(model: MTPModel) -> str:
    if model.spec.speculation.n_spec is not None:
        return f"n_spec={model.spec.speculation.n_spec} is pinned by spec.speculation.nSpec"
    if model.spec.tuning.mode is TuningMode.DISABLED:
        return "tuning is disabled by spec.tuning.mode"
    if model.spec.tuning.suspend:
        return "tuning is suspended by spec.tuning.suspend"
    return ""


def chosen_n_spec(model: MTPModel, asked: Wish, run: MTPTuningRun | None) -> int | None:
    """The n_spec to serve what is asked for with; None before there is a choice, and where it cannot work.

    Args:
        model: the model.
        asked: what it asks for.
        run: the run that answers it, if it exists.
    """
    if asked.refusal:
        return None
    if model.spec.speculation.n_spec is not None:
        return model.spec.speculation.n_spec
    if model.spec.tuning.mode is TuningMode.DISABLED:
        return 0
    verdict = run.status.verdict if run is not None else None
    return verdict.n_spec if verdict is not None and verdict.type in CHOICES else None


@dataclass(frozen=True)
class Situation:
    """How the choice of n_spec stands, before it is put into conditions."""

    ready: bool
    stalled: bool
    tuned: ConditionStatus
    reason: str
    message: str


def model_status(
    model: MTPModel,
    asked: Wish,
    run: MTPTuningRun | None,
    known_runs: Sequence[MTPTuningRun],
    obstacle: Obstacle | None,
    cache: WeightsPlan,
    serving: Standing,
    now: datetime,
    set_aside: Sequence[Unreadable] = (),
) -> StatusUpdate | None:
    """The model's new status, if it differs from the one that is there.

    Args:
        model: the model.
        asked: what it asks for.
        run: the run that answers it, if it exists.
        known_runs: all runs of this model's name.
        obstacle: what keeps the run from going on.
        cache: how its weights stand.
        serving: how its servers stand.
        now: the time.
        set_aside: objects of its name that cannot be read.
    """
    before = model.status
    verdict = run.status.verdict if run is not None else None
    situation = _situation(model, asked, run, known_runs, obstacle, cache)
    if obstacle is not None and obstacle.reason != situation.reason:
        situation = replace(situation, message=f"{situation.message}; {obstacle.message}")
    if obstacle is None or obstacle.reason != unreadable.UNREADABLE:
        situation = replace(situation, message=situation.message + unreadable.remark(set_aside))
    choice: dict[str, object] = {}
    if model.spec.speculation.n_spec is not None:
        choice = {**_NOTHING_MEASURED, "n_spec": model.spec.speculation.n_spec}
    elif model.spec.tuning.mode is TuningMode.DISABLED:
        choice = {**_NOTHING_MEASURED, "n_spec": 0}
    elif run is not None and verdict is not None and verdict.type in CHOICES:
        choice = _chosen(run, verdict)
    has_chosen = verdict is not None and verdict.type in CHOICES
    is_active = run is not None and not has_chosen and not asked.no_tuning and not asked.refusal
    conditions = _conditions(model, asked, situation, cache, serving, now)
    after = before.model_copy(
        update={
            "observed_generation": model.metadata.generation,
            "resolved": asked.images,
            "weights": cache.status,
            **choice,
            "active_tuning_run_ref": RunReference(name=run.metadata.name) if run is not None and is_active else None,
            "served_n_spec": serving.n_spec,
            "url": serving.url,
            "replicas": serving.replicas,
            "selector": serving.selector,
            "conditions": merge_conditions(before.conditions, conditions),
        }
    )
    if after == before:
        return None
    events = model_events(reference(model), before, after, obstacle) + serving_events(
        reference(model), before, after, trouble=serving.trouble
    )
    return StatusUpdate(reference(model), after.to_wire(), events)


_NOTHING_MEASURED: dict[str, object] = {
    "speedup": None,
    "output_tokens_per_second": None,
    "acceptance_length": None,
    "gpu_product": None,
    "fingerprint": None,
    "tuning_run_ref": None,
}


def _chosen(run: MTPTuningRun, verdict: VerdictStatus) -> dict[str, object]:
    """The short form of what the run found."""
    arms = [arm for arm in run.status.arms if arm.state is ArmState.MEASURED and arm.n_spec == verdict.n_spec]
    speeds = [float(arm.output_tokens_per_second) for arm in arms if arm.output_tokens_per_second]
    return {
        "n_spec": verdict.n_spec,
        "speedup": verdict.speedup or "1.00",
        "output_tokens_per_second": round(fmean(speeds)) if speeds else None,
        "acceptance_length": evidence.acceptance_length(arms),
        "gpu_product": run.status.observed.gpu_product if run.status.observed else evidence.UNKNOWN,
        "fingerprint": run.status.fingerprint,
        "tuning_run_ref": RunReference(name=run.metadata.name),
    }


def _situation(
    model: MTPModel,
    asked: Wish,
    run: MTPTuningRun | None,
    known_runs: Sequence[MTPTuningRun],
    obstacle: Obstacle | None,
    cache: WeightsPlan,
) -> Situation:
    untuned = ConditionStatus.FALSE
    if asked.refusal:
        return Situation(False, True, untuned, "SettingsRefused", asked.refusal)
    if not cache.cached:
        stalled = obstacle is not None and obstacle.needs_a_person
        told = (obstacle.reason, obstacle.message) if obstacle is not None else (cache.reason, cache.message)
        return Situation(False, stalled, untuned, *told)
    if model.spec.speculation.n_spec is not None:
        return Situation(True, False, untuned, "Pinned", asked.no_tuning)
    if model.spec.tuning.mode is TuningMode.DISABLED:
        return Situation(True, False, untuned, "Disabled", f"{asked.no_tuning}: n_spec=0")
    verdict = run.status.verdict if run is not None else None
    if verdict is not None and verdict.type in CHOICES:
        proved = verdict.type is not VerdictType.INCONCLUSIVE
        return Situation(True, False, ConditionStatus.TRUE if proved else untuned, verdict.type.value, verdict.message)
    if model.spec.tuning.suspend:
        usable = model.status.n_spec is not None
        return Situation(usable, not usable, untuned, "Suspended", asked.no_tuning)
    usable = _is_tuned_again(model, asked, known_runs)
    if verdict is not None and verdict.type is VerdictType.FAILED:
        again = "; fix it and increase spec.tuning.request, or change the spec"
        return Situation(usable, not usable, untuned, verdict.reason, verdict.message + again)
    tuned = ConditionStatus.TRUE if usable else untuned
    if obstacle is not None:
        return Situation(usable, obstacle.needs_a_person and not usable, tuned, obstacle.reason, obstacle.message)
    message = progress(run.status) if run is not None else "tuning begins"
    return Situation(usable, False, tuned, "Tuning", message)


def _is_tuned_again(model: MTPModel, asked: Wish, known_runs: Sequence[MTPTuningRun]) -> bool:
    """Whether the choice in use was measured under the same settings, and is only being searched for again."""
    measurement = asked.settings.measurement_hash()
    return model.status.n_spec is not None and any(
        run.spec.measurement_hash() == measurement
        and run.status.verdict is not None
        and run.status.verdict.type in CHOICES
        and run.status.verdict.n_spec == model.status.n_spec
        for run in known_runs
    )


def _conditions(
    model: MTPModel, asked: Wish, situation: Situation, cache: WeightsPlan, serving: Standing, now: datetime
) -> tuple[Condition, ...]:
    generation = model.metadata.generation
    message = situation.message
    if asked.newer_image:
        message += f" (a newer default engine image exists: {asked.newer_image})"
    if situation.ready and not serving.satisfied:
        stalled, reason, said = serving.stalled, serving.reason, serving.message
        if serving.reason == "Available":
            reason, said = (
                "OldSettingsServed",
                f"the servers still have the settings of an earlier spec: {serving.message}",
            )
    else:
        stalled, reason, said = situation.stalled, situation.reason, message
    return (
        *standing(
            generation,
            now,
            ready=situation.ready and serving.satisfied,
            stalled=stalled,
            reason=reason,
            message=said,
        ),
        make_condition(
            ConditionType.MODEL_CACHED,
            ConditionStatus.TRUE if cache.cached else ConditionStatus.FALSE,
            cache.reason,
            cache.message,
            generation,
            now,
        ),
        make_condition(ConditionType.TUNED, situation.tuned, situation.reason, message, generation, now),
        make_condition(
            ConditionType.SERVING,
            ConditionStatus.TRUE if serving.serves else ConditionStatus.FALSE,
            serving.reason,
            serving.message,
            generation,
            now,
        ),
    )
