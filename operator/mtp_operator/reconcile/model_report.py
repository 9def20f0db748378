"""What the status of an MTPModel says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Final

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType, make_condition, merge_conditions
from mtp_operator.api.model import MTPModel, WhileTuning
from mtp_operator.api.model_status import RunReference
from mtp_operator.api.run import MTPTuningRun, TrialState
from mtp_operator.api.verdicts import CHOICES, VerdictStatus, VerdictType

from . import trial_conversion, unreadable
from .events import model_events, serving_events
from .intent import DesiredState, NotYet, Off, Pinned, Refused, Tune, fixed_n_spec
from .observed import Kind, Reference, Unreadable
from .obstacles import Obstacle
from .plan import StatusUpdate
from .run import progress
from .serving import ServingState
from .summary_conditions import summary_conditions
from .table_status import summary
from .weights import WeightsPlan


def reference(model: MTPModel) -> Reference:
    """The model, by uid."""
    return Reference(Kind.MODEL, model.metadata.namespace, model.metadata.name, model.metadata.uid)


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
    desired: DesiredState,
    run: MTPTuningRun | None,
    known_runs: Sequence[MTPTuningRun],
    obstacle: Obstacle | None,
    cache: WeightsPlan,
    serving: ServingState,
    now: datetime,
    ignored: Sequence[Unreadable] = (),
) -> StatusUpdate | None:
    """The model's new status, if it differs from the one that is there.

    Args:
        model: the model.
        desired: what it asks for.
        run: the run that answers it, if it exists.
        known_runs: all runs of this model's name.
        obstacle: what keeps the run from going on.
        cache: how its weights stand.
        serving: how its servers stand.
        now: the time.
        ignored: objects of its name that cannot be read.
    """
    before = model.status
    verdict = run.status.verdict if run is not None else None
    situation = _situation(model, desired, run, known_runs, obstacle, cache, serving)
    if obstacle is not None and obstacle.reason != situation.reason:
        situation = replace(situation, message=f"{situation.message}; {obstacle.message}")
    if obstacle is None or obstacle.reason != unreadable.UNREADABLE:
        situation = replace(situation, message=situation.message + unreadable.remark(ignored))
    choice: dict[str, object] = {}
    active = None
    match desired.intent:
        case Pinned() | Off():
            choice = {**_NOTHING_MEASURED, "n_spec": fixed_n_spec(desired.intent)}
        case Tune() if run is not None and verdict is not None and verdict.type in CHOICES:
            choice = _chosen(run, verdict)
        case Tune(held=None) if run is not None:
            active = RunReference(name=run.metadata.name)
    conditions = _conditions(model, desired, situation, cache, serving, now)
    after = before.replace(
        observed_generation=model.metadata.generation,
        summary=summary(conditions, run, cache.status, replicas=model.spec.serving.replicas),
        resolved=desired.images,
        weights=cache.status,
        **choice,
        active_tuning_run_ref=active,
        served_n_spec=serving.n_spec,
        url=serving.url,
        replicas=serving.replicas,
        selector=serving.selector,
        conditions=merge_conditions(before.conditions, conditions),
    )
    if after == before:
        return None
    events = model_events(reference(model), before, after, obstacle) + serving_events(
        reference(model), before, after, trouble=serving.trouble
    )
    return StatusUpdate(reference(model), after.to_wire(), events)


_READY: Final = "everything that the spec asks for is in place: see the conditions Tuned and Serving"

_NOTHING_MEASURED: dict[str, object] = {
    "speedup": None,
    "speedup_low": None,
    "speedup_high": None,
    "output_tokens_per_second": None,
    "acceptance_length": None,
    "gpu_product": None,
    "fingerprint": None,
    "tuning_run_ref": None,
}


def _chosen(run: MTPTuningRun, verdict: VerdictStatus) -> dict[str, object]:
    """The short form of what the run found."""
    trials = [
        trial for trial in run.status.trials if trial.state is TrialState.MEASURED and trial.n_spec == verdict.n_spec
    ]
    speeds = [float(trial.output_tokens_per_second) for trial in trials if trial.output_tokens_per_second]
    return {
        "n_spec": verdict.n_spec,
        "speedup": verdict.speedup or "1.00",
        "speedup_low": verdict.speedup_low,
        "speedup_high": verdict.speedup_high,
        "output_tokens_per_second": round(fmean(speeds)) if speeds else None,
        "acceptance_length": trial_conversion.acceptance_length(trials),
        "gpu_product": run.status.observed.gpu_product if run.status.observed else trial_conversion.UNKNOWN,
        "fingerprint": run.status.fingerprint,
        "tuning_run_ref": RunReference(name=run.metadata.name),
    }


def _situation(
    model: MTPModel,
    desired: DesiredState,
    run: MTPTuningRun | None,
    known_runs: Sequence[MTPTuningRun],
    obstacle: Obstacle | None,
    cache: WeightsPlan,
    serving: ServingState,
) -> Situation:
    untuned = ConditionStatus.FALSE
    if not cache.cached and not isinstance(desired.intent, Refused):
        stalled = obstacle is not None and obstacle.needs_a_person
        reason_and_message = (
            (obstacle.reason, obstacle.message) if obstacle is not None else (cache.reason, cache.message)
        )
        return Situation(False, stalled, untuned, *reason_and_message)
    match desired.intent:
        case Refused(why):
            return Situation(False, True, untuned, "InvalidSettings", why)
        case NotYet():
            return Situation(False, False, untuned, cache.reason, cache.message)
        case Pinned(_, why):
            return Situation(True, False, untuned, "Pinned", why)
        case Off(why):
            return Situation(True, False, untuned, "Disabled", f"{why}: n_spec=0")
        case Tune(held=held):
            return _tuning_situation(model, desired, held, run, known_runs, obstacle, serving)


def _tuning_situation(
    model: MTPModel,
    desired: DesiredState,
    held: str | None,
    run: MTPTuningRun | None,
    known_runs: Sequence[MTPTuningRun],
    obstacle: Obstacle | None,
    serving: ServingState,
) -> Situation:
    untuned = ConditionStatus.FALSE
    verdict = run.status.verdict if run is not None else None
    if verdict is not None and verdict.type in CHOICES:
        proved = verdict.type is not VerdictType.INCONCLUSIVE
        return Situation(True, False, ConditionStatus.TRUE if proved else untuned, verdict.type.value, verdict.message)
    if held is not None:
        usable = model.status.n_spec is not None or _is_served_meanwhile(model, desired, serving)
        return Situation(usable, not usable, untuned, "Suspended", held)
    is_tuned = _is_tuned_again(model, desired, known_runs)
    usable = is_tuned or _is_served_meanwhile(model, desired, serving)
    if verdict is not None and verdict.type is VerdictType.FAILED:
        again = ". Fix the cause, then increase spec.tuning.retuneRequest to retry"
        return Situation(usable, not usable, untuned, verdict.reason, verdict.message.rstrip(".") + again)
    tuned = ConditionStatus.TRUE if is_tuned else untuned
    if obstacle is not None:
        return Situation(usable, obstacle.needs_a_person and not usable, tuned, obstacle.reason, obstacle.message)
    message = progress(run, run.status) if run is not None else "Tuning starts"
    return Situation(usable, False, tuned, "Tuning", message)


def _is_served_meanwhile(model: MTPModel, desired: DesiredState, serving: ServingState) -> bool:
    """Whether what the spec asks to be served does not wait for a choice that is still to come.

    A baseline counts once it serves: servers of an earlier spec continue, and only a choice replaces them.
    """
    wanted = model.spec.serving
    if wanted.replicas == 0:
        return False
    is_baseline = wanted.while_tuning is WhileTuning.BASELINE and serving.satisfied
    return fixed_n_spec(desired.intent) is not None or is_baseline


def _is_tuned_again(model: MTPModel, desired: DesiredState, known_runs: Sequence[MTPTuningRun]) -> bool:
    """Whether the choice in use was measured under the same settings, and is only being searched for again."""
    measurement = desired.settings.measurement_hash()
    return model.status.n_spec is not None and any(
        run.spec.measurement_hash() == measurement
        and run.status.verdict is not None
        and run.status.verdict.type in CHOICES
        and run.status.verdict.n_spec == model.status.n_spec
        for run in known_runs
    )


def _conditions(
    model: MTPModel,
    desired: DesiredState,
    situation: Situation,
    cache: WeightsPlan,
    serving: ServingState,
    now: datetime,
) -> tuple[Condition, ...]:
    generation = model.metadata.generation
    message = situation.message
    if desired.newer_image:
        message += f" (a newer default engine image exists: {desired.newer_image})"
    if situation.ready and not serving.satisfied:
        stalled, reason, said = serving.stalled, serving.reason, serving.message
        if serving.reason == "Available":
            reason, said = (
                "OldSettingsServed",
                f"all replicas still have the settings of an earlier spec: {serving.message}",
            )
    elif situation.ready:
        stalled, reason, said = False, situation.reason, _READY
    else:
        stalled, reason, said = situation.stalled, situation.reason, message
    return (
        *summary_conditions(
            generation,
            now,
            ready=situation.ready and serving.satisfied,
            stalled=stalled,
            reason=reason,
            message=said,
        ),
        make_condition(
            ConditionType.WEIGHTS_READY,
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
