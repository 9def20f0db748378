"""Lanes that failed: when each is tried again, and what decisions are told about it."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mtp_operator.reconcile.observed import Failure, FailureReason, Lane, ModelKey
from mtp_operator.reconcile.plan import Action, Apply, Create, Ensure, Plan, ProgressRead

from .api_client import ApiError, TransientError
from .apply import BeingDeletedError, FailedAction, NameTakenError
from .queue import backoff_seconds

TELL_AFTER_SECONDS: Final = 15.0
"""Time for which something that usually passes may fail before it is told."""

REPORT_AGAIN_SECONDS: Final = 60.0
"""Time between two texts about one lane: each is a write that wakes everybody who watches the model."""

_WORD_WITH_DIGIT: Final = re.compile(r"\S*\d\S*")
"""A request's id, a time, a count: refusals that differ only in these are the same."""


@dataclass
class _Failing:
    """One lane that has not been successful since it first failed."""

    since: float
    generation: int | None = None
    subject: tuple[str, ...] = ()
    failures: int = 0
    due: float = 0.0
    reported: Failure | None = None
    reported_at: float = 0.0


class Lanes:
    """The lanes of all models, as far as they fail."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: dict[ModelKey, dict[Lane, _Failing]] = {}

    def reported(self, key: ModelKey) -> Mapping[Lane, Failure]:
        """What decisions are told."""
        return {lane: one.reported for lane, one in self._failing.get(key, {}).items() if one.reported is not None}

    def due(self, key: ModelKey, plan: Plan, generation: int | None) -> Plan:
        """The plan, each lane only up to what failed there a moment ago; a change of the spec may have fixed it."""
        lanes = dict(plan.lanes)
        for lane, one in self._failing.get(key, {}).items():
            if self._clock() < one.due and generation == one.generation:
                actions = lanes.get(lane, ())
                subjects = [_subject(action) for action in actions]
                if one.subject in subjects:
                    lanes[lane] = actions[: subjects.index(one.subject)]
        return Plan(lanes, plan.wake_after_seconds)

    def note(
        self,
        key: ModelKey,
        decided: Plan,
        attempted: Plan,
        failures: Mapping[Lane, FailedAction],
        generation: int | None,
    ) -> bool:
        """Remembers how the lanes fared. Answers whether decisions are told something else now."""
        before = self.reported(key)
        failing = self._failing.setdefault(key, {})
        for lane in Lane:
            failed = failures.get(lane)
            if failed is not None:
                one = failing.setdefault(lane, _Failing(self._clock()))
                one.generation, one.subject = generation, _subject(failed.action)
                one.due = self._clock() + backoff_seconds(one.failures)
                one.failures += 1
                self._tell(one, failed.error)
            elif decided.lanes.get(lane, ()) == attempted.lanes.get(lane, ()):
                failing.pop(lane, None)
        if not failing:
            del self._failing[key]
        return self.reported(key) != before

    def next_seconds(self, key: ModelKey) -> float | None:
        """Time until a lane is tried again; None where none fails."""
        dues = [one.due for one in self._failing.get(key, {}).values()]
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _tell(self, one: _Failing, error: Exception) -> None:
        now = self._clock()
        passes = isinstance(error, TransientError | BeingDeletedError) and not isinstance(error.__cause__, TimeoutError)
        if passes and now < one.since + TELL_AFTER_SECONDS:
            return
        failure = _failure(error)
        if failure is None:
            return
        if one.reported is None or (
            now >= one.reported_at + REPORT_AGAIN_SECONDS and not _is_same(one.reported, failure)
        ):
            one.reported, one.reported_at = failure, now


def _failure(error: Exception) -> Failure | None:
    """What decisions are told of an error; nothing where the next one knows better by itself."""
    match error:
        case TransientError():
            return Failure(FailureReason.API_SERVER_FAILING, str(error))
        case BeingDeletedError():
            return Failure(FailureReason.NAME_IN_USE, str(error))
        case ApiError() | NameTakenError():
            return Failure(FailureReason.WRITE_REFUSED, str(error))
        case _:
            return None


def _is_same(one: Failure, other: Failure) -> bool:
    texts = {_WORD_WITH_DIGIT.sub("#", failure.message) for failure in (one, other)}
    return one.reason is other.reason and len(texts) == 1


def _subject(action: Action) -> tuple[str, ...]:
    """What is done to which object, whatever its body or status says."""
    what = type(action).__name__
    match action:
        case Create(kind, body) | Ensure(kind, body) | Apply(kind, body):
            return what, kind, str(body["metadata"]["name"])
        case ProgressRead(uid, _):
            return what, uid
        case _:
            return what, action.target.uid
