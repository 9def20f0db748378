"""What may become of an arm: each transition of it, and of the status that holds it, is one function."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import format_time, parse_time, shorten
from mtp_operator.api.run import MAX_LOSSES, ArmState, ArmStatus, MTPTuningRunStatus, job_name
from mtp_operator.api.trial_documents import TOO_SLOW
from mtp_operator.reconcile.records import Job, Pod
from mtp_operator.reconcile.trial import TRIAL_LOST, Judgement, Lost, MustEnd, Obstacle

LOSS_PAUSES_SECONDS: Final = (10, 60, 300, 900, 1800, 3600)
"""Pauses after the losses of one arm, the last one for all that follow: what takes trials away, such as a device plugin
that restarts or a node pool that shrinks, lasts longer than three attempts in a row."""

LOSSES_TO_LOOK_INTO: Final = 3
"""Losses of one arm after which a person should look."""

OPEN_STATES: Final = frozenset({ArmState.PLANNED, ArmState.RUNNING, ArmState.ENDING})


def open_arm(arms: tuple[ArmStatus, ...]) -> ArmStatus | None:
    """The arm whose trial is under way: there is at most one."""
    return next((arm for arm in arms if arm.state in OPEN_STATES), None)


def same(one: ArmStatus, other: ArmStatus) -> bool:
    """Whether two states are of the same arm."""
    return (one.n_spec, one.boot) == (other.n_spec, other.boot)


def with_arm(status: MTPTuningRunStatus, arm: ArmStatus) -> MTPTuningRunStatus:
    """The status with the arm in its new state."""
    return status.replace(arms=tuple(arm if same(one, arm) else one for one in status.arms))


# -- one arm -----------------------------------------------------------------------------------------------------------


def planned(run_name: str, n_spec: int, boot: int, why: str) -> ArmStatus:
    """A new arm, whose Job is about to be created."""
    return ArmStatus(
        n_spec=n_spec,
        boot=boot,
        job_name=job_name(run_name, n_spec, boot, 0),
        state=ArmState.PLANNED,
        why=shorten(why, 512),
    )


def running(arm: ArmStatus, job: Job | None, pod: Pod | None, judgement: Judgement) -> ArmStatus:
    """The arm with what its Job and its pod tell; on its way to the end where it must end."""
    seen = arm.replace(
        job_uid=job.uid if job else arm.job_uid,
        state=ArmState.RUNNING if arm.state is ArmState.PLANNED else arm.state,
        retry_after=None,
    )
    if isinstance(judgement, MustEnd):
        seen = seen.replace(state=ArmState.ENDING, reason=judgement.reason, message=shorten(judgement.message))
    if pod is not None and pod.node is not None:
        started_at = format_time(pod.started_at) if pod.started_at else arm.started_at
        ended_at = format_time(pod.finished_at) if pod.is_over and pod.finished_at else None
        seen = seen.replace(node=pod.node, started_at=started_at, ended_at=ended_at)
    return seen


def failed(arm: ArmStatus, reason: str, message: str) -> ArmStatus:
    """The arm as no candidate."""
    return arm.replace(state=ArmState.FAILED, reason=reason, message=shorten(message))


def again(run_name: str, arm: ArmStatus, reason: str, message: str, *, drifted: int) -> ArmStatus:
    """The arm, planned for another attempt."""
    attempt = arm.attempt + 1
    return arm.replace(
        attempt=attempt,
        drifted=drifted,
        job_name=job_name(run_name, arm.n_spec, arm.boot, attempt),
        job_uid=None,
        state=ArmState.PLANNED,
        reason=reason,
        message=shorten(message),
        node=None,
        started_at=None,
        ended_at=None,
    )


def has_more_time(arm: ArmStatus) -> bool:
    """Whether this arm, which is not over, was too slow before: each of its levels has more time now."""
    return arm.reason == TOO_SLOW


def standing_reason(arm: ArmStatus, reason: str) -> str:
    """Why the arm is tried again; that it was too slow stands, whatever else befalls it."""
    return TOO_SLOW if has_more_time(arm) else reason


# -- the arms of a run -------------------------------------------------------------------------------------------------


def lose(run_name: str, status: MTPTuningRunStatus, arm: ArmStatus, lost: Lost, now: datetime) -> MTPTuningRunStatus:
    """The status after the arm's trial was lost: it is repeated after a pause, unless that has happened too often."""
    status = counted(status, lost=1)
    times = _losses(arm) + 1
    if times >= MAX_LOSSES:
        message = f"the trial was lost {times} times; the last time {lost.message}"
        return counted(with_arm(status, failed(arm, "LostTooOften", message)), failed=1)
    message = f"attempt {arm.attempt} was lost: {lost.message}"
    repeated = again(run_name, arm, standing_reason(arm, "Lost"), message, drifted=arm.drifted)
    pause = timedelta(seconds=LOSS_PAUSES_SECONDS[min(times, len(LOSS_PAUSES_SECONDS)) - 1])
    return with_arm(status, repeated.replace(retry_after=format_time(now + pause)))


def _losses(arm: ArmStatus) -> int:
    """How often an arm that is tried again was lost."""
    return arm.attempt - arm.drifted - has_more_time(arm)


def pause_seconds(arm: ArmStatus, now: datetime) -> float:
    """Time until the next attempt of an arm that was lost; not positive where it may begin."""
    return (parse_time(arm.retry_after) - now).total_seconds() if arm.retry_after else 0.0


def pause(arm: ArmStatus, now: datetime) -> Obstacle | None:
    """What to say of an arm that was lost, until its next attempt."""
    if pause_seconds(arm, now) <= 0:
        return None
    times = _losses(arm)
    message = f"{arm.message}; the next attempt begins at {arm.retry_after}"
    if times < LOSSES_TO_LOOK_INTO:
        return Obstacle(TRIAL_LOST, message, needs_a_person=False)
    return Obstacle(TRIAL_LOST, f"the trial was lost {times} times: {message}", needs_a_person=True)


def set_aside(
    status: MTPTuningRunStatus, concerns: Callable[[ArmStatus], bool], reason: str, message: str
) -> MTPTuningRunStatus:
    """The status with these arms counting no more."""
    return status.replace(
        arms=tuple(
            one.replace(state=ArmState.SET_ASIDE, reason=reason, message=shorten(message)) if concerns(one) else one
            for one in status.arms
        )
    )


def counted(status: MTPTuningRunStatus, measured: int = 0, failed: int = 0, lost: int = 0) -> MTPTuningRunStatus:
    """The status with so many more trials of each end."""
    trials = status.trials
    return status.replace(
        trials=trials.replace(
            measured=trials.measured + measured, failed=trials.failed + failed, lost=trials.lost + lost
        )
    )


def spent(status: MTPTuningRunStatus, seconds: int) -> MTPTuningRunStatus:
    """The status with so much more GPU time, in seconds."""
    return status.replace(trials=status.trials.replace(gpu_seconds=status.trials.gpu_seconds + seconds))
