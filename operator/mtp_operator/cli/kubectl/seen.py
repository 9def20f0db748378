"""What was asked of the cluster beside our own two kinds: an answer, or why there is none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .cluster import ClusterError

Answer = TypeVar("Answer")
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Unseen:
    """Nothing is known, and why."""

    why: str


Bodies = Sequence[Body] | Unseen


def ask(question: Callable[[], Answer]) -> Answer | Unseen:
    """The answer, or why there is none: a right that is missing hides one thing, not all."""
    try:
        return question()
    except ClusterError as error:
        return Unseen(str(error))
