"""What became of one trial: the order in which the signs are believed."""

from dataclasses import dataclass
from typing import Final

from mtp_operator.api.conditions import shorten
from mtp_operator.api.run import TrialState, TrialStatus
from mtp_operator.api.trial_documents import (
    DRIFTING,
    IMPLAUSIBLE,
    MODEL_MISSING,
    PROMPTS_UNUSABLE,
    SLOWEST,
    ImplausibleError,
    LevelResult,
    TrialFailure,
    TrialResult,
)
from mtp_operator.engines import root_cause_lines

from .observed import Job, Pod, Terminated
from .obstacles import container_obstacle

INTERRUPTED: Final = "Interrupted"
"""The bench's own word for having been told to stop: somebody else knows why."""

CRASHES_WITHOUT_BENCH: Final = 2
"""Restarts of an engine, about ten seconds, in which its bench may still start: it often knows better why."""

CANNOT_RUN: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of the end of a container whose process never ran: the message is the runtime's."""


@dataclass(frozen=True)
class Measured:
    """The trial has a result that stands."""

    result: TrialResult


@dataclass(frozen=True)
class Failed:
    """The trial failed by its engine, its bench or its gates: its candidate is not chosen."""

    reason: str
    message: str
    result: TrialResult | None = None


@dataclass(frozen=True)
class Lost:
    """The trial ended through no fault of its own: it is repeated and does not count."""

    message: str


@dataclass(frozen=True)
class Drifted:
    """Throughput sank while it was measured: the trial is repeated once, for it may have been the machine."""

    message: str
    result: TrialResult


@dataclass(frozen=True)
class Terminate:
    """The trial has failed for certain while its pod still runs."""

    reason: str
    message: str


@dataclass(frozen=True)
class RunFailed:
    """No trial of this run can work: the run ends."""

    reason: str
    message: str


@dataclass(frozen=True)
class Running:
    """The trial continues, or waits for something."""


Judgment = Measured | Failed | Lost | Drifted | Terminate | RunFailed | Running


def judge(trial: TrialStatus, job: Job | None, pod: Pod | None) -> Judgment:
    """What became of a trial whose Job has been created, in the order in which the signs are believed."""
    ended = trial.state is TrialState.ENDING
    if job is None or job.deleting:
        return _failed_as_recorded(trial) if ended else Lost("its Job was deleted")
    if pod is None:
        if not job.finished:
            return Running()
        return _failed_as_recorded(trial) if ended else Lost(f"its pod is gone ({job.reason or job.finished})")

    result = _result(trial, pod.bench.terminated)
    if result is not None and pod.bench.terminated is not None and pod.bench.terminated.exit_code == 0:
        if result.failure is None and not (result.levels and all(map(_has_speed, result.levels))):
            return Failed("NothingMeasured", "the bench exited with code 0, but a level has no throughput", result)
        if result.failure is None:
            return Measured(result)
        if result.failure.reason == DRIFTING:
            return Drifted(result.failure.message, result)
        return Failed(result.failure.reason, result.failure.message, result)
    if ended:
        return _end_of_ended(trial, pod, result)
    if job.suspended:
        return Running()
    if pod.conditions.get("DisruptionTarget", ("",))[0] == "True":
        return Lost(f"its pod was disrupted ({pod.conditions['DisruptionTarget'][1]})")
    if pod.deleting:
        return Lost("its pod was deleted")
    if pod.reason == "Evicted":
        return Failed("StorageLimit", pod.message or "the pod used more ephemeral storage than its limit")
    crash = _engine_crash(pod)
    if crash is not None:
        failure = engine_failure(crash)
        own_words = result.failure if result is not None else None
        if own_words is not None and own_words.reason != INTERRUPTED:
            failure = _explained(failure.reason, _ending(crash), own_words)
        if pod.is_finished:
            return failure
        has_bench = pod.bench.running or pod.bench.terminated is not None
        if not has_bench and pod.engine.restart_count < CRASHES_WITHOUT_BENCH:
            return Running()
        return Terminate(failure.reason, failure.message)
    if result is not None and result.failure is not None and result.failure.reason == PROMPTS_UNUSABLE:
        return RunFailed(result.failure.reason, result.failure.message)
    if result is not None and result.failure is not None and result.failure.reason != INTERRUPTED:
        return Failed(result.failure.reason, result.failure.message, result)
    if not pod.is_finished:
        return Running()
    broken = container_obstacle(pod)
    if broken is not None:
        return RunFailed(broken.reason, broken.message)
    if "DeadlineExceeded" in (pod.reason, job.reason):
        return Failed("Timeout", "the trial did not end within its time: " + (pod.message or job.message))
    if not pod.bench.terminated:
        return Lost(f"its pod was rejected at admission ({pod.reason}: {pod.message})")
    return Lost(_without_result(pod.bench.terminated))


def engine_failure(crash: Terminated) -> Failed:
    """An engine that ended although it was not asked to."""
    reason = "OOMKilled" if crash.reason == "OOMKilled" else "EngineCrashed"
    lines = root_cause_lines(crash.message)
    return Failed(reason, f"{_ending(crash)}: {lines}" if lines else _ending(crash))


def _ending(crash: Terminated) -> str:
    by_memory = " (OOMKilled: it used more memory than its limit)" if crash.reason == "OOMKilled" else ""
    return f"the engine exited with code {crash.exit_code}{by_memory}"


def _without_result(end: Terminated) -> str:
    """How a bench ended that left no result; the container runtime's own words where it never ran."""
    seen = f"the bench exited with code {end.exit_code} and left no result"
    return f"{seen} ({end.reason}: {shorten(end.message)})" if end.reason in CANNOT_RUN else seen


def _failed_as_recorded(trial: TrialStatus) -> Failed:
    return Failed(trial.reason or "Ended", trial.message or "the trial was ended")


def _end_of_ended(trial: TrialStatus, pod: Pod, result: TrialResult | None) -> Judgment:
    """A trial that we ended: what was recorded then, in the bench's better words where it left some."""
    # The Job's controller deletes the pod at once, while its bench has the grace period to say what it knows.
    if not pod.is_finished and (pod.bench.running or not pod.deleting):
        return Running()
    recorded = _failed_as_recorded(trial)
    if result is None or result.failure is None or result.failure.reason == INTERRUPTED:
        return recorded
    return _explained(recorded.reason, recorded.message.split(": ", 1)[0], result.failure)


def _explained(reason: str, ending: str, own_words: TrialFailure) -> Failed:
    """An engine's end in the bench's words. Whichever of the two first finds the model missing, that is the reason."""
    if own_words.reason == MODEL_MISSING:
        return Failed(own_words.reason, own_words.message)
    return Failed(reason, f"{ending}: {own_words.message}")


def _engine_crash(pod: Pod) -> Terminated | None:
    """How the engine ended before the bench did; kubelet stops the sidecar only after the bench's end."""
    engine, bench = pod.engine, pod.bench.terminated
    if engine.last_terminated is not None:
        return engine.last_terminated
    if engine.terminated is None:
        return None
    if bench is None:
        return engine.terminated
    if engine.terminated.finished_at and bench.finished_at and engine.terminated.finished_at < bench.finished_at:
        return engine.terminated
    return None


def _has_speed(level: LevelResult) -> bool:
    return bool(level.windows) and min(level.windows) >= SLOWEST


def _result(trial: TrialStatus, end: Terminated | None) -> TrialResult | None:
    if end is None:
        return None
    try:
        return TrialResult.decode(end.message)
    except ImplausibleError as error:
        failure = TrialFailure(reason=IMPLAUSIBLE, message=shorten(str(error)))
        return TrialResult(candidate=trial.candidate, n_spec=trial.n_spec, failure=failure)
    except ValueError:
        return None
