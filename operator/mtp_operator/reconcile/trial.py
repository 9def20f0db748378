"""What became of one trial: the order of judgement, and what keeps a trial from going on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import format_time, shorten
from mtp_operator.api.run import ArmState, ArmStatus, RunSettings
from mtp_operator.api.settings import EngineSettings
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
from mtp_operator.engines import telling_lines
from mtp_operator.resources.prompt_volumes import PROMPTS_FIELD
from mtp_operator.resources.weights_volumes import IMAGE_FIELDS

from .gpus import no_node_fits
from .patience import PATIENCE, is_hopeless, is_new
from .records import (
    Container,
    EventsRead,
    FailureReason,
    Job,
    Kind,
    Lane,
    Lookup,
    Observed,
    OperatorSettings,
    Pod,
    Reference,
    Terminated,
)

LOOKUP_AGAIN: Final = timedelta(seconds=60)
"""How long what Events said is believed while a trial still makes no progress."""

ENDS_WITHIN: Final = timedelta(seconds=60)
"""What a pod of an ended trial takes until it is gone."""

INTERRUPTED: Final = "Interrupted"
"""The bench's own word for having been told to stop: somebody else knows why."""

CRASHES_WITHOUT_BENCH: Final = 2
"""Restarts of an engine, about ten seconds, in which its bench may still start: it often knows better why."""

IMAGE_UNAVAILABLE: Final = "ImageUnavailable"

QUEUED: Final = "Queued"

TRIAL_LOST: Final = "TrialLost"

_IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONTAINER_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True)
class Measured:
    """The trial has a result that stands."""

    result: TrialResult


@dataclass(frozen=True)
class Failed:
    """The trial failed by its engine, its bench or its gates: the arm is no candidate."""

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
class MustEnd:
    """The trial has failed for certain while its pod still runs."""

    reason: str
    message: str


@dataclass(frozen=True)
class Broken:
    """No trial of this run can work: the run ends."""

    reason: str
    message: str


@dataclass(frozen=True)
class Going:
    """The trial goes on, or waits for something."""


Judgement = Measured | Failed | Lost | Drifted | MustEnd | Broken | Going


def judge(arm: ArmStatus, job: Job | None, pod: Pod | None) -> Judgement:
    """What became of a trial whose Job has been created, in the order in which the signs are believed."""
    ended = arm.state is ArmState.ENDING
    if job is None or job.deleting:
        return _failed_as_recorded(arm) if ended else Lost("its Job was deleted")
    if pod is None:
        if not job.finished:
            return Going()
        return _failed_as_recorded(arm) if ended else Lost(f"its pod is gone ({job.reason or job.finished})")

    result = _result(arm.n_spec, pod.bench.terminated)
    if result is not None and pod.bench.terminated is not None and pod.bench.terminated.exit_code == 0:
        if result.failure is None and not (result.levels and all(map(_has_speed, result.levels))):
            return Failed("NothingMeasured", "the bench ended well, but a level has no throughput", result)
        if result.failure is None:
            return Measured(result)
        if result.failure.reason == DRIFTING:
            return Drifted(result.failure.message, result)
        return Failed(result.failure.reason, result.failure.message, result)
    if ended:
        return _end_of_ended(arm, pod, result)
    if job.suspended:
        return Going()
    if pod.conditions.get("DisruptionTarget", ("",))[0] == "True":
        return Lost(f"its pod was disrupted ({pod.conditions['DisruptionTarget'][1]})")
    if pod.deleting:
        return Lost("its pod was deleted")
    if pod.reason == "Evicted":
        return Failed("StorageLimit", pod.message or "the pod used more ephemeral storage than it may")
    crash = _engine_crash(pod)
    if crash is not None:
        failure = engine_failure(crash)
        own_words = result.failure if result is not None else None
        if own_words is not None and own_words.reason != INTERRUPTED:
            failure = _explained(failure.reason, _ending(crash), own_words)
        if pod.is_over:
            return failure
        has_bench = pod.bench.running or pod.bench.terminated is not None
        if not has_bench and pod.engine.restart_count < CRASHES_WITHOUT_BENCH:
            return Going()
        return MustEnd(failure.reason, failure.message)
    if result is not None and result.failure is not None and result.failure.reason == PROMPTS_UNUSABLE:
        return Broken(result.failure.reason, result.failure.message)
    if result is not None and result.failure is not None and result.failure.reason != INTERRUPTED:
        return Failed(result.failure.reason, result.failure.message, result)
    if not pod.is_over:
        return Going()
    broken = container_obstacle(pod)
    if broken is not None:
        return Broken(broken.reason, broken.message)
    if "DeadlineExceeded" in (pod.reason, job.reason):
        return Failed("Timeout", "the trial did not end within its time: " + (pod.message or job.message))
    if not pod.bench.terminated:
        return Lost(f"its pod was not let in ({pod.reason}: {pod.message})")
    return Lost("it left no result")


def engine_failure(crash: Terminated) -> Failed:
    """An engine that ended although it was not asked to."""
    reason = "OOMKilled" if crash.reason == "OOMKilled" else "EngineCrashed"
    lines = telling_lines(crash.message)
    return Failed(reason, f"{_ending(crash)}: {lines}" if lines else _ending(crash))


def _ending(crash: Terminated) -> str:
    by_memory = " (OOMKilled: it took more memory than it may)" if crash.reason == "OOMKilled" else ""
    return f"the engine exited with code {crash.exit_code}{by_memory}"


def _failed_as_recorded(arm: ArmStatus) -> Failed:
    return Failed(arm.reason or "Ended", arm.message or "the trial was ended")


def _end_of_ended(arm: ArmStatus, pod: Pod, result: TrialResult | None) -> Judgement:
    """A trial that we ended: what was recorded then, in the bench's better words where it left some."""
    # The Job's controller deletes the pod at once, while its bench has the grace period to say what it knows.
    if not pod.is_over and (pod.bench.running or not pod.deleting):
        return Going()
    recorded = _failed_as_recorded(arm)
    if result is None or result.failure is None or result.failure.reason == INTERRUPTED:
        return recorded
    return _explained(recorded.reason, recorded.message.split(": ", 1)[0], result.failure)


def _explained(reason: str, ending: str, own_words: TrialFailure) -> Failed:
    """An engine's end in the bench's words. Whichever of the two notices first that there is no model, that is why."""
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


def _result(n_spec: int, end: Terminated | None) -> TrialResult | None:
    if end is None:
        return None
    try:
        return TrialResult.decode(end.message)
    except ImplausibleError as error:
        return TrialResult(n_spec=n_spec, failure=TrialFailure(reason=IMPLAUSIBLE, message=shorten(str(error))))
    except ValueError:
        return None


# -- what keeps a trial waiting ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Obstacle:
    """Why a trial does not go on."""

    reason: str
    message: str
    needs_a_person: bool


def failure(observed: Observed, lane: Lane) -> Obstacle | None:
    """Why the last write of a lane failed, if it did."""
    seen = observed.failures.get(lane)
    if seen is None:
        return None
    refused = seen.reason is FailureReason.WRITE_REFUSED
    return Obstacle(seen.reason.value, seen.message, needs_a_person=refused and needs_a_person(seen.message))


def in_the_way(pods: Iterable[Pod]) -> Pod | None:
    """A pod of the model that may hold a GPU: the next trial starts when none is left."""
    return next((pod for pod in pods if not pod.is_over), None)


def waits_for(pod: Pod | None, now: datetime) -> Obstacle | None:
    """What to say of it, once it has been there for longer than a pod takes to end."""
    if pod is None or now - pod.created_at < ENDS_WITHIN:
        return None
    message = f"the next trial waits until pod {pod.name} has ended"
    if pod.gone_by is None or now - pod.gone_by < PATIENCE:
        return Obstacle("WaitsForPod", message + (" (it is being deleted)" if pod.deleting else ""), False)
    where = f"node {pod.node}" if pod.node else "its node"
    message += f", which should have been by {format_time(pod.gone_by)}: {where} does not answer; delete the node, or "
    return Obstacle("WaitsForPod", message + "the pod by force once nothing of it runs any more", needs_a_person=True)


def needs_a_person(refusal: str) -> bool:
    """Whether only a person can make the API server accept what it refused; a quota frees itself."""
    return "exceeded quota" not in refusal


def obstacle(
    job: Job | None,
    pod: Pod | None,
    observed: Observed,
    asked: EngineSettings,
    settings: OperatorSettings,
    now: datetime,
) -> Obstacle | None:
    """What keeps a trial from going on, if it does not."""
    if job is None:
        return None
    if pod is None and job.suspended:
        words = f"Job {job.name} is suspended, by a queue such as Kueue or by hand; the trial starts when it is resumed"
        return Obstacle(QUEUED, words, needs_a_person=False)
    if pod is None:
        return _refused(observed.lookups.get(job.uid))
    return pod_obstacle(pod, observed, asked, settings, now)


def pod_obstacle(
    pod: Pod, observed: Observed, asked: EngineSettings, settings: OperatorSettings, now: datetime
) -> Obstacle | None:
    """What keeps a pod, a trial's or a server's, from running all its containers."""
    found = container_obstacle(pod)
    if found is not None:
        certain = found.reason != IMAGE_UNAVAILABLE or is_hopeless(found.message) or not is_new(pod, now)
        return found if certain else replace(found, needs_a_person=False)
    scheduled, reason, message = pod.conditions.get("PodScheduled", ("", "", ""))
    if scheduled == "False" and reason == "Unschedulable":
        overdue = now - pod.created_at >= timedelta(seconds=settings.pending_seconds)
        if "persistentvolumeclaim" in message.lower():
            may_come = "unbound" in message and is_new(pod, now)
            return Obstacle("ClaimUnusable", f"{_claim_field(asked, message)}: {message}", not may_come)
        words = no_node_fits(asked.accelerator, observed, settings, message)
        return Obstacle("NoNodeFits", words, needs_a_person=overdue)
    if reason == "SchedulingGated":
        return Obstacle(QUEUED, f"pod {pod.name} is held back, as queues such as Kueue do: {message}", False)
    if is_starting(pod):
        return _not_started(observed.lookups.get(pod.uid))
    return None


def lookup_due(
    namespace: str,
    job: Job | None,
    pod: Pod | None,
    lookups: Mapping[str, Lookup],
    settings: OperatorSettings,
    now: datetime,
) -> tuple[EventsRead | None, float | None]:
    """The object whose Events shall be listed now, and the seconds until one may have to be."""
    if job is None or job.finished or (pod is not None and not is_starting(pod)):
        return None, None
    if pod is not None:
        return pod_lookup_due(namespace, pod, lookups, settings, now)
    return _due(Reference(Kind.JOB, namespace, job.name, job.uid), job.created_at, lookups, settings, now)


def pod_lookup_due(
    namespace: str, pod: Pod, lookups: Mapping[str, Lookup], settings: OperatorSettings, now: datetime
) -> tuple[EventsRead | None, float | None]:
    """The same for a pod that has not started."""
    stuck = Reference(Kind.POD, namespace, pod.name, pod.uid)
    return _due(stuck, pod.started_at or pod.created_at, lookups, settings, now)


def _due(
    stuck: Reference, since: datetime, lookups: Mapping[str, Lookup], settings: OperatorSettings, now: datetime
) -> tuple[EventsRead | None, float | None]:
    due = since + timedelta(seconds=settings.lookup_seconds)
    if stuck.uid in lookups:
        due = max(due, lookups[stuck.uid].at + LOOKUP_AGAIN)
    if now >= due:
        return EventsRead(stuck), LOOKUP_AGAIN.total_seconds()
    return None, (due - now).total_seconds()


def is_starting(pod: Pod) -> bool:
    """Whether the pod has a node, but its containers do not run yet."""
    begun = any(one.running or one.terminated for one in (pod.bench, pod.fetch))
    return pod.node is not None and not pod.is_over and not begun


def container_obstacle(pod: Pod) -> Obstacle | None:
    """An image or a container's configuration that does not work."""
    fields: tuple[tuple[str, Container], ...] = (
        ("spec.engine.image", pod.engine),
        ("the operator's image", pod.bench),
        ("the operator's image", pod.fetch),
        ("the operator's image", pod.cache),
    )
    for field, container in fields:
        if container.waiting_reason in _IMAGE_REASONS:
            named = _weights_field(pod, container.waiting_message) or field
            return Obstacle(
                IMAGE_UNAVAILABLE,
                f"{named} cannot be pulled ({container.waiting_reason}): {container.waiting_message}",
                needs_a_person=True,
            )
        if container.waiting_reason in _CONTAINER_REASONS:
            return Obstacle(
                "ContainerNotCreated",
                f"{field} cannot be started ({container.waiting_reason}): {container.waiting_message}",
                needs_a_person=True,
            )
    return None


def _weights_field(pod: Pod, message: str) -> str | None:
    """The field that names the image which kubelet speaks of, where it holds weights.

    Kubelet tells each container that mounts an image volume of its pull, by the same reasons as for its own image.
    """
    for volume, field in IMAGE_FIELDS.items():
        image = pod.image_volumes.get(volume)
        if image is not None and any(f'"{reference}"' in message for reference in (image, f"{image}:latest")):
            return field
    return None


def _claim_field(asked: EngineSettings, message: str) -> str:
    """The field that names the claim which the scheduler speaks of."""
    # A server is asked for nothing: only a run has prompts.
    prompts = asked.workload.prompt_source.pvc if isinstance(asked, RunSettings) else None
    if prompts is not None and f'"{prompts.claim}"' in message:
        return f"{PROMPTS_FIELD}.pvc"
    return "spec.storage" if asked.weights_claim is not None else "spec.model.uri"


def _refused(lookup: Lookup | None) -> Obstacle | None:
    seen = [] if lookup is None else [event for event in lookup.events if event.reason == "FailedCreate"]
    if not seen:
        return None
    message = seen[-1].message
    return Obstacle("TrialRefused", f"the trial's pod is refused: {message}", needs_a_person(message))


def _not_started(lookup: Lookup | None) -> Obstacle | None:
    seen = [] if lookup is None else [event for event in lookup.events if event.reason.startswith("Failed")]
    if not seen:
        return None
    reason, message = seen[-1].reason, seen[-1].message
    if "Multi-Attach" in message:
        why = "a claim that one node at a time may use (ReadWriteOnce) is in use on another node"
        return Obstacle("ClaimOnAnotherNode", f"{why}: use ReadWriteMany, or free it there: {message}", True)
    return Obstacle("PodNotStarted", f"{reason}: {message}", needs_a_person=False)
