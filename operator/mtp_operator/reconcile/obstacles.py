"""What keeps a trial, a fetch or a server from going on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import format_time
from mtp_operator.api.run import RunSettings
from mtp_operator.api.settings import EngineSettings
from mtp_operator.resources.prompt_volumes import PROMPTS_FIELD
from mtp_operator.resources.weights_volumes import IMAGE_FIELDS

from .gpus import no_node_fits
from .observed import (
    Container,
    EventSnapshot,
    FailureReason,
    Job,
    Kind,
    Lane,
    Observed,
    OperatorSettings,
    Pod,
    Reference,
)
from .patience import PATIENCE, is_hopeless, is_new
from .plan import EventsRead

READ_EVENTS_AGAIN: Final = timedelta(seconds=60)
"""How long what Events said is believed while a trial still makes no progress."""

ENDS_WITHIN: Final = timedelta(seconds=60)
"""What a pod of an ended trial takes until it is gone."""

IMAGE_UNAVAILABLE: Final = "ImageUnavailable"

QUEUED: Final = "Queued"

TRIAL_LOST: Final = "TrialLost"

_IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONTAINER_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


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
    return next((pod for pod in pods if not pod.is_finished), None)


def waits_for(pod: Pod | None, now: datetime) -> Obstacle | None:
    """What to say of it, once it has been there for longer than a pod takes to end."""
    if pod is None or now - pod.created_at < ENDS_WITHIN:
        return None
    message = f"the next trial waits until pod {pod.name} has ended"
    if pod.gone_by is None or now - pod.gone_by < PATIENCE:
        return Obstacle("WaitsForPod", message + (" (it is being deleted)" if pod.deleting else ""), False)
    where = f"node {pod.node}" if pod.node else "its node"
    message += f", expected by {format_time(pod.gone_by)}: {where} does not respond. Delete the node, or "
    return Obstacle(
        "WaitsForPod", message + "force-delete the pod once none of its processes runs", needs_a_person=True
    )


def needs_a_person(refusal: str) -> bool:
    """Whether only a person can make the API server accept what it refused; a quota frees itself."""
    return "exceeded quota" not in refusal


def obstacle(
    job: Job | None,
    pod: Pod | None,
    observed: Observed,
    requested: EngineSettings,
    settings: OperatorSettings,
    now: datetime,
) -> Obstacle | None:
    """What keeps a trial from going on, if it does not."""
    if job is None:
        return None
    if job.suspended:
        words = f"Job {job.name} is suspended, by a queue such as Kueue or by hand; it starts when it is resumed"
        return Obstacle(QUEUED, words, needs_a_person=False)
    if pod is None:
        return _refused(observed.event_snapshots.get(job.uid))
    return pod_obstacle(pod, observed, requested, settings, now)


def pod_obstacle(
    pod: Pod, observed: Observed, requested: EngineSettings, settings: OperatorSettings, now: datetime
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
            return Obstacle("ClaimUnusable", f"{_claim_field(requested, message)}: {message}", not may_come)
        words = no_node_fits(requested.accelerator, observed, settings, message)
        return Obstacle("NoNodeFits", words, needs_a_person=overdue)
    if reason == "SchedulingGated":
        return Obstacle(QUEUED, f"pod {pod.name} is held back, as queues such as Kueue do: {message}", False)
    if is_starting(pod):
        return _not_started(observed.event_snapshots.get(pod.uid))
    return None


def events_read_due(
    namespace: str,
    job: Job | None,
    pod: Pod | None,
    event_snapshots: Mapping[str, EventSnapshot],
    settings: OperatorSettings,
    now: datetime,
) -> tuple[EventsRead | None, float | None]:
    """The object whose Events shall be listed now, and the seconds until one may have to be."""
    if job is None or job.finished or job.suspended or (pod is not None and not is_starting(pod)):
        return None, None
    if pod is not None:
        return pod_events_read_due(namespace, pod, event_snapshots, settings, now)
    return _due(Reference(Kind.JOB, namespace, job.name, job.uid), job.created_at, event_snapshots, settings, now)


def pod_events_read_due(
    namespace: str, pod: Pod, event_snapshots: Mapping[str, EventSnapshot], settings: OperatorSettings, now: datetime
) -> tuple[EventsRead | None, float | None]:
    """The same for a pod that has not started."""
    stuck = Reference(Kind.POD, namespace, pod.name, pod.uid)
    return _due(stuck, pod.started_at or pod.created_at, event_snapshots, settings, now)


def _due(
    stuck: Reference,
    since: datetime,
    event_snapshots: Mapping[str, EventSnapshot],
    settings: OperatorSettings,
    now: datetime,
) -> tuple[EventsRead | None, float | None]:
    due = since + timedelta(seconds=settings.lookup_seconds)
    if stuck.uid in event_snapshots:
        due = max(due, event_snapshots[stuck.uid].at + READ_EVENTS_AGAIN)
    if now >= due:
        return EventsRead(stuck), READ_EVENTS_AGAIN.total_seconds()
    return None, (due - now).total_seconds()


def is_starting(pod: Pod) -> bool:
    """Whether the pod has a node, but its containers do not run yet."""
    begun = any(one.running or one.terminated for one in (pod.bench, pod.fetch))
    return pod.node is not None and not pod.is_finished and not begun


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


def _claim_field(requested: EngineSettings, message: str) -> str:
    """The field that names the claim which the scheduler speaks of."""
    # A server is asked for nothing: only a run has prompts.
    prompts = requested.workload.prompt_source.pvc if isinstance(requested, RunSettings) else None
    if prompts is not None and f'"{prompts.claim}"' in message:
        return f"{PROMPTS_FIELD}.pvc"
    return "spec.storage" if requested.weights_claim is not None else "spec.model.uri"


def _refused(lookup: EventSnapshot | None) -> Obstacle | None:
    seen = [] if lookup is None else [event for event in lookup.events if event.reason == "FailedCreate"]
    if not seen:
        return None
    message = seen[-1].message
    return Obstacle("TrialRefused", f"the trial's pod is refused: {message}", needs_a_person(message))


def _not_started(lookup: EventSnapshot | None) -> Obstacle | None:
    seen = [] if lookup is None else [event for event in lookup.events if event.reason.startswith("Failed")]
    if not seen:
        return None
    reason, message = seen[-1].reason, seen[-1].message
    if "Multi-Attach" in message:
        why = "a ReadWriteOnce PVC is in use on another node"
        return Obstacle("ClaimOnAnotherNode", f"{why}: use ReadWriteMany, or free it there: {message}", True)
    return Obstacle("PodNotStarted", f"{reason}: {message}", needs_a_person=False)
