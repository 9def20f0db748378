"""What a decision answers: the actions to carry out, lane by lane."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .observed import Kind, Lane, Reference


@dataclass(frozen=True)
class Create:
    """POST of a new object; the one that has its name already is looked at in place of it."""

    kind: Kind
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Ensure:
    """POST of an object that nobody watches and that is never changed; it may be there already.

    The model owns it, so that Kubernetes collects it.
    """

    kind: Kind
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Apply:
    """Server-side apply of an object as it shall be; no request is made where it is like that already."""

    kind: Kind
    body: Mapping[str, Any]


@dataclass(frozen=True)
class EventDraft:
    """An Event to post about an object."""

    subject: Reference
    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True)
class StatusUpdate:
    """A new status, written only because it differs; its Events are posted after the write has succeeded."""

    target: Reference
    status: Mapping[str, Any]
    events: tuple[EventDraft, ...] = ()
    version: str | None = None
    """The `metadata.resourceVersion` that it was decided on: no other version of the object may get it."""


@dataclass(frozen=True)
class StopTrial:
    """Ends a trial early: `spec.activeDeadlineSeconds` of the Job becomes 1; the Job stays."""

    target: Reference


@dataclass(frozen=True)
class Release:
    """Removes the owner references of a finished run: evidence outlives its model."""

    target: Reference


@dataclass(frozen=True)
class Delete:
    """DELETE with the uid as a precondition, `propagationPolicy: Background`."""

    target: Reference


@dataclass(frozen=True)
class EventsRead:
    """A LIST of the Events of an object (a Job, a pod), for the decisions that follow."""

    target: Reference


@dataclass(frozen=True)
class ProgressRead:
    """A question to a fetch's pod, for the decisions that follow: how far it is."""

    uid: str
    address: str
    """Its IP address."""


Action = StatusUpdate | Ensure | Create | Apply | StopTrial | Release | Delete | EventsRead | ProgressRead


@dataclass(frozen=True)
class Plan:
    """What to do: in each lane its actions, in order, until one fails. The other lanes go ahead all the same."""

    lanes: Mapping[Lane, tuple[Action, ...]] = field(default_factory=dict)
    wake_after_seconds: float | None = None

    @classmethod
    def of(cls, lane: Lane, *actions: Action | None, wake_after_seconds: float | None = None) -> Self:
        """A plan of one lane; None stands for nothing to do."""
        return cls({lane: tuple(action for action in actions if action is not None)}, wake_after_seconds)

    @classmethod
    def all(cls, *plans: Self) -> Self:
        """All that the plans say: in each lane the actions of the first plan first; the earliest wake-up counts."""
        wakes = [plan.wake_after_seconds for plan in plans if plan.wake_after_seconds is not None]
        lanes = {lane: tuple(action for plan in plans for action in plan.lanes.get(lane, ())) for lane in Lane}
        return cls({lane: actions for lane, actions in lanes.items() if actions}, min(wakes, default=None))

    @property
    def actions(self) -> tuple[Action, ...]:
        """Everything that is to be done, in the order in which it is carried out."""
        return tuple(action for lane in Lane for action in self.lanes.get(lane, ()))
