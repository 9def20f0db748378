"""What may become of a trial: each transition of it, and of the status that holds it, is one function."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.conditions import format_time, parse_time, shorten
from mtp_operator.api.run import MAX_LOSSES, MTPTuningRun, MTPTuningRunStatus, TrialState, TrialStatus, job_name
from mtp_operator.api.trial_documents import TOO_SLOW
from mtp_operator.reconcile.judgment import Failed, Judgment, Lost, Measured, RunFailed, Terminate
from mtp_operator.reconcile.observed import Job, Pod
from mtp_operator.reconcile.obstacles import TRIAL_LOST, Obstacle

LOSS_PAUSES_SECONDS: Final = (10, 60, 300, 900, 1800, 3600)
"""Pauses after the losses of one trial, the last one for all that follow: what takes pods away, such as a device
plugin that restarts or a node pool that shrinks, lasts longer than three attempts in a row."""

LOSSES_TO_LOOK_INTO: Final = 3
"""Losses of one trial after which a person should look."""

OPEN_STATES: Final = frozenset({TrialState.PLANNED, TrialState.RUNNING, TrialState.ENDING})


def open_trial(trials: tuple[TrialStatus, ...]) -> TrialStatus | None:
    """The trial that is under way: there is at most one."""
    return next((trial for trial in trials if trial.state in OPEN_STATES), None)


def same(one: TrialStatus, other: TrialStatus) -> bool:
    """Whether two states are of the same trial."""
    return one.number == other.number


def with_trial(status: MTPTuningRunStatus, trial: TrialStatus) -> MTPTuningRunStatus:
    """The status with the trial in its new state."""
    return status.replace(trials=tuple(trial if same(one, trial) else one for one in status.trials))


# -- one trial ---------------------------------------------------------------------------------------------------------


def planned(run: MTPTuningRun, kept: Sequence[TrialStatus], n_spec: int, rationale: str | None) -> TrialStatus:
    """A new trial, whose Job is about to be created.

    Args:
        run: the run.
        kept: its trials so far.
        n_spec: of the candidate.
        rationale: why it is measured, for a person.
    """
    number = max((trial.number for trial in kept), default=0) + 1
    candidate = candidate_id(run.spec.speculation.method, n_spec)
    return TrialStatus(
        number=number,
        candidate=candidate,
        n_spec=n_spec,
        repeat=sum(trial.candidate == candidate for trial in kept),
        job_name=job_name(run.metadata.name, number, 0),
        state=TrialState.PLANNED,
        rationale=shorten(rationale, 512) if rationale else None,
    )


def running(trial: TrialStatus, job: Job | None, pod: Pod | None, judgment: Judgment) -> TrialStatus:
    """The trial with what its Job and its pod tell; on its way to the end where it must end."""
    seen = trial.replace(
        job_uid=job.uid if job else trial.job_uid,
        state=TrialState.RUNNING if trial.state is TrialState.PLANNED else trial.state,
        retry_after=None,
    )
    if isinstance(judgment, Terminate):
        seen = seen.replace(state=TrialState.ENDING, reason=judgment.reason, message=shorten(judgment.message))
    if pod is not None and pod.node is not None:
        started_at = format_time(pod.started_at) if pod.started_at else trial.started_at
        ended_at = format_time(pod.finished_at) if pod.is_finished and pod.finished_at else None
        seen = seen.replace(node=pod.node, started_at=started_at, ended_at=ended_at)
    return seen


def ended(
    trial: TrialStatus, job: Job | None, pod: Pod | None, judgment: Measured | Failed | RunFailed, seconds: int
) -> TrialStatus:
    """The trial with all that is known at its end.

    Args:
        trial: as it was.
        job: of its last attempt.
        pod: likewise.
        judgment: what became of it.
        seconds: GPU time of the last attempt.
    """
    result = None if isinstance(judgment, RunFailed) else judgment.result
    ready_seconds = result.ready_seconds if result is not None else None
    return running(trial, job, pod, judgment).replace(
        gpu_seconds=(trial.gpu_seconds or 0) + seconds,
        ready_seconds=round(ready_seconds) if ready_seconds is not None else None,
    )


def failed(trial: TrialStatus, reason: str, message: str) -> TrialStatus:
    """The trial, after which its candidate is not chosen."""
    return trial.replace(state=TrialState.FAILED, reason=reason, message=shorten(message))


def again(run_name: str, trial: TrialStatus, reason: str, message: str, *, drifted: int) -> TrialStatus:
    """The trial, planned for another attempt."""
    attempt = trial.attempt + 1
    return trial.replace(
        attempt=attempt,
        drifted=drifted,
        job_name=job_name(run_name, trial.number, attempt),
        job_uid=None,
        state=TrialState.PLANNED,
        reason=reason,
        message=shorten(message),
        node=None,
        started_at=None,
        ended_at=None,
    )


def has_more_time(trial: TrialStatus) -> bool:
    """Whether this trial, which is not over, was too slow before: each of its levels has more time now."""
    return trial.reason == TOO_SLOW


def standing_reason(trial: TrialStatus, reason: str) -> str:
    """Why the trial is tried again; that it was too slow stands, whatever else befalls it."""
    return TOO_SLOW if has_more_time(trial) else reason


# -- the trials of a run -----------------------------------------------------------------------------------------------


def lose(
    run_name: str, status: MTPTuningRunStatus, trial: TrialStatus, lost: Lost, now: datetime
) -> MTPTuningRunStatus:
    """The status after an attempt was lost: the trial is repeated after a pause, unless that has happened too often."""
    status = counted(status, lost=1)
    times = _losses(trial) + 1
    if times >= MAX_LOSSES:
        message = f"the trial was lost {times} times; the last time {lost.message}"
        return counted(with_trial(status, failed(trial, "RetryLimitReached", message)), failed=1)
    message = f"attempt {trial.attempt} was lost: {lost.message}"
    repeated = again(run_name, trial, standing_reason(trial, "Lost"), message, drifted=trial.drifted)
    pause = timedelta(seconds=LOSS_PAUSES_SECONDS[min(times, len(LOSS_PAUSES_SECONDS)) - 1])
    return with_trial(status, repeated.replace(retry_after=format_time(now + pause)))


def _losses(trial: TrialStatus) -> int:
    """How often a trial that is tried again was lost."""
    return trial.attempt - trial.drifted - has_more_time(trial)


def pause_seconds(trial: TrialStatus, now: datetime) -> float:
    """Time until the next attempt of a trial that was lost; not positive where it may begin."""
    left = (parse_time(trial.retry_after) - now).total_seconds() if trial.retry_after else 0.0
    # A longer one than there is was written by another clock.
    return left if left <= LOSS_PAUSES_SECONDS[-1] else 0.0


def pause(trial: TrialStatus, now: datetime) -> Obstacle | None:
    """What to say of a trial that was lost, until its next attempt."""
    if pause_seconds(trial, now) <= 0:
        return None
    times = _losses(trial)
    message = f"{trial.message}; the next attempt begins at {trial.retry_after}"
    if times < LOSSES_TO_LOOK_INTO:
        return Obstacle(TRIAL_LOST, message, needs_a_person=False)
    return Obstacle(TRIAL_LOST, f"the trial was lost {times} times: {message}", needs_a_person=True)


def discard(
    status: MTPTuningRunStatus, concerns: Callable[[TrialStatus], bool], reason: str, message: str
) -> MTPTuningRunStatus:
    """The status with these trials counting no more."""
    return status.replace(
        trials=tuple(
            one.replace(state=TrialState.INVALIDATED, reason=reason, message=shorten(message)) if concerns(one) else one
            for one in status.trials
        )
    )


def counted(status: MTPTuningRunStatus, measured: int = 0, failed: int = 0, lost: int = 0) -> MTPTuningRunStatus:
    """The status with so many more trials that were measured or failed, and attempts that were lost."""
    counters = status.counters
    return status.replace(
        counters=counters.replace(
            measured=counters.measured + measured, failed=counters.failed + failed, lost=counters.lost + lost
        )
    )


def spent(status: MTPTuningRunStatus, seconds: int) -> MTPTuningRunStatus:
    """The status with so much more GPU time, in seconds."""
    return status.replace(counters=status.counters.replace(gpu_seconds=status.counters.gpu_seconds + seconds))
