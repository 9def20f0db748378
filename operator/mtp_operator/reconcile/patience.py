"""What may pass by itself: how long a person is not called for it, and what will not pass whatever one waits."""

from datetime import datetime, timedelta
from typing import Final

from .observed import OperatorSettings, Pod

PATIENCE: Final = timedelta(minutes=5)
"""For a registry that is busy and a volume that is being made: kubelet and scheduler try again within seconds."""

_HOPELESS: Final = (
    "ErrImageNeverPull", "InvalidImageName", "authentication required", "denied", "manifest unknown", "not found",
    "unauthorized",
)  # fmt: skip
"""What kubelet says of an image that no further attempt brings."""

_CLOSED: Final = ("unreachable", "unschedulable", "untolerated taint")
"""What the scheduler says of a node that takes no pods, whatever is free there."""

_FULL: Final = ("Insufficient", "cannot allocate")
"""What it says of one that takes them, but not now."""


def waits_since(pod: Pod) -> datetime:
    """When what the pod waits for now began: its node, or what kubelet needs there."""
    return pod.started_at or pod.created_at


def is_new(pod: Pod, now: datetime) -> bool:
    """Whether what hinders the pod may pass by itself, for all that its age says."""
    return now - waits_since(pod) < PATIENCE


def is_hopeless(message: str) -> bool:
    """Whether kubelet's words about an image say that it cannot come."""
    return any(words in message for words in _HOPELESS)


def is_shut_out(pod: Pod) -> bool:
    """Whether the only node that will do for the pod takes no pods: cordoned, tainted or not to be reached.

    The scheduler names what speaks against each node once. A node that is merely full is said to be that.
    """
    _, _, message = pod.conditions.get("PodScheduled", ("", "", ""))
    return any(words in message for words in _CLOSED) and not any(words in message for words in _FULL)


def next_limit_seconds(pod: Pod, limits: tuple[timedelta, ...], now: datetime) -> float | None:
    """Seconds until the pod has waited for the next of these limits; None where it has for all of them."""
    left = ((waits_since(pod) + limit - now).total_seconds() for limit in limits)
    return min((seconds for seconds in left if seconds > 0), default=None)


def limits(settings: OperatorSettings) -> tuple[timedelta, ...]:
    """Times after which more is said of, or done about, a pod without a node."""
    seconds = (settings.node_gone_seconds, settings.pending_seconds)
    return (PATIENCE, *(timedelta(seconds=one) for one in seconds))
