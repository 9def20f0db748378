"""Whose a run is, and what its status says of it."""

from collections.abc import Sequence
from datetime import datetime

from mtp_operator.api.conditions import Condition, format_time, merge_conditions, shorten
from mtp_operator.api.hashing import canonical_hash
from mtp_operator.api.run import MTPTuningRun, MTPTuningRunStatus, RunSettings, TrialState, run_name
from mtp_operator.api.verdicts import CHOICES, VerdictStatus, VerdictType
from mtp_operator.reconcile.observed import Kind, Reference
from mtp_operator.reconcile.obstacles import Obstacle
from mtp_operator.reconcile.plan import EventDraft, StatusUpdate
from mtp_operator.reconcile.summary_conditions import summary_conditions

from .trials import open_trial


def reference(run: MTPTuningRun) -> Reference:
    """The run, by uid."""
    return Reference(Kind.RUN, run.metadata.namespace, run.metadata.name, run.metadata.uid)


def is_ours(run: MTPTuningRun) -> bool:
    """Whether the operator made this run, as far as that can be seen.

    Its name and its hash follow from what it states, which nobody else can choose then. It has an owner until it has
    its verdict. And a choice that it is evidence for was measured.
    """
    spec, verdict = run.spec, run.status.verdict
    if run.metadata.name != run_name(spec.model_name, spec.settings_hash, spec.retune_request, spec.epoch):
        return False
    if spec.settings_hash != spec.settings().request_hash():
        return False
    if verdict is None:
        return bool(run.metadata.owner_references)
    chosen = (verdict.candidate, verdict.n_spec)
    return not verdict.n_spec or any(
        trial.state is TrialState.MEASURED and (trial.candidate, trial.n_spec) == chosen for trial in run.status.trials
    )


def is_as_requested(run: MTPTuningRun, requested: RunSettings) -> bool:
    """Whether the trials of the run would be those that are asked for: images and claims are not in its name."""
    return canonical_hash(run.spec.settings()) == canonical_hash(requested)


def is_finished(run: MTPTuningRun) -> bool:
    """Whether the run has its verdict."""
    return run.status.verdict is not None


def has_planned(run: MTPTuningRun) -> bool:
    """Whether the run has a trial under way, or about to be: what it has taken over may be enough for its verdict."""
    return not is_finished(run) and open_trial(run.status.trials) is not None


def update(run: MTPTuningRun, status: MTPTuningRunStatus, events: Sequence[EventDraft]) -> StatusUpdate | None:
    """The write that brings the run to this status; None where it is there already."""
    if status == run.status:
        return None
    return StatusUpdate(reference(run), status.to_wire(), tuple(events), run.metadata.resource_version)


def with_conditions(
    run: MTPTuningRun, status: MTPTuningRunStatus, obstacle: Obstacle | None, now: datetime
) -> MTPTuningRunStatus:
    """The status with conditions that say how the run stands.

    Args:
        run: the run as it was.
        status: its new status.
        obstacle: what keeps it from making progress.
        now: the time.
    """
    verdict = status.verdict
    if verdict is not None:
        chosen = verdict.type in CHOICES
        return with_summary_conditions(
            run, status, now, ready=chosen, stalled=not chosen, reason=verdict.reason, message=verdict.message
        )
    if obstacle is not None:
        stalled, reason, message = obstacle.needs_a_person, obstacle.reason, obstacle.message
        return with_summary_conditions(run, status, now, ready=False, stalled=stalled, reason=reason, message=message)
    return with_summary_conditions(
        run, status, now, ready=False, stalled=False, reason="Tuning", message=progress(run, status)
    )


def with_summary_conditions(
    run: MTPTuningRun,
    status: MTPTuningRunStatus,
    now: datetime,
    *,
    ready: bool,
    stalled: bool,
    reason: str,
    message: str,
) -> MTPTuningRunStatus:
    """The status with these conditions, of the generation that they describe."""
    generation = run.metadata.generation
    found: Sequence[Condition] = summary_conditions(
        generation, now, ready=ready, stalled=stalled, reason=reason, message=message
    )
    return status.replace(observed_generation=generation, conditions=merge_conditions(run.status.conditions, found))


def with_verdict(status: MTPTuningRunStatus, verdict: VerdictStatus, now: datetime) -> MTPTuningRunStatus:
    """The status of a run that has ended."""
    return status.replace(verdict=verdict, completed_at=format_time(now))


def failure_verdict(reason: str, message: str) -> VerdictStatus:
    """The verdict of a run that could measure nothing."""
    return VerdictStatus(type=VerdictType.FAILED, reason=reason, message=shorten(message))


def progress(run: MTPTuningRun, status: MTPTuningRunStatus) -> str:
    """How far a run is with this status: what has ended, and what is being measured."""
    counters = status.counters
    ended = [f"{counters.measured} of up to {run.spec.budget.max_trials} trials measured"]
    if counters.failed:
        ended.append(f"{counters.failed} failed")
    if adopted := sum(one.adopted_from is not None for one in status.trials):
        ended.append(f"{adopted} reused from other runs")
    trial = open_trial(status.trials)
    return ", ".join(ended) + (f". Now: {trial.rationale}" if trial is not None else "")
