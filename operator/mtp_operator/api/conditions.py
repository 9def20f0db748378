"""Conditions as kstatus, Argo CD and Helm read them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field

from .base import Schema, Timestamp

MESSAGE_LIMIT: Final = 1024


class ConditionType(StrEnum):
    """What a condition speaks of."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    WEIGHTS_READY = "WeightsReady"
    TUNED = "Tuned"
    SERVING = "Serving"


ONLY_WHILE_TRUE: Final = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that are there only while they are True, as kstatus recommends."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Schema):
    """One observation about the object, in the form of the Kubernetes API conventions."""

    type: Annotated[str, Field(max_length=64, description="What the condition is about.")]
    status: Annotated[ConditionStatus, Field(description="Whether it holds: True, False or Unknown.")]
    reason: Annotated[
        str, Field(max_length=64, pattern=r"^[A-Za-z]([A-Za-z0-9]*)$", description="Why, as one CamelCase word.")
    ]
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT, description="Why, in a sentence.")] = ""
    observed_generation: Annotated[
        int | None, Field(ge=0, description="The generation of the spec that this was observed for.")
    ] = None
    last_transition_time: Annotated[Timestamp, Field(description="When the status of the condition last changed.")]


@lru_cache(maxsize=64)
def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment that an API timestamp names; fractions of a second are kept.

    Raises:
        ValueError: the text is no RFC 3339 time.
    """
    return datetime.fromisoformat(text)


def printable(text: str) -> str:
    """The text without what a terminal obeys or the eye does not see: control characters, marks of direction.

    Engines, hubs, kubelets and API objects say what they like, and `kubectl describe` prints it as it is.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def shorten(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """The message as every status, Event and result holds it: printable, and cut to `limit` characters.

    An ellipsis stands where something is missing.
    """
    message = printable(message)
    return message if len(message) <= limit else message[: limit - 1] + "…"


def make_condition(
    type_: ConditionType, status: ConditionStatus, reason: str, message: str, generation: int, now: datetime
) -> Condition:
    """A condition that changed `now`; `merge_conditions` keeps the older time where nothing changed."""
    return Condition(
        type=type_.value,
        status=status,
        reason=reason,
        message=shorten(message),
        observed_generation=generation,
        last_transition_time=format_time(now),
    )


def merge_conditions(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """`new`, each with the transition time of its older self if its status did not change; sorted by type.

    Conditions that are in `old` only are dropped: one decision states all of them.
    """
    before = {condition.type: condition for condition in old}

    def kept(condition: Condition) -> Condition:
        older = before.get(condition.type)
        if older is None or older.status != condition.status:
            return condition
        return condition.model_copy(update={"last_transition_time": older.last_transition_time})

    return tuple(sorted((kept(condition) for condition in new), key=lambda condition: condition.type))
