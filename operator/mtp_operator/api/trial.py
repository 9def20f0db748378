"""The two documents of a trial: the plan that its bench container is started with, and the result that it leaves.

The result travels in the container's termination message, which kubelet cuts at 4,096 bytes; hence its bound, its
short lists and its own statement of length.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from .base import MAX_LEVELS, MAX_N_SPEC, MAX_WINDOWS, Schema
from .conditions import shorten
from .spec import EngineType

RESULT_LIMIT_BYTES: Final = 3000
"""Largest encoded result."""

_MESSAGE_LIMITS: Final = (1024, 512, 256, 128, 64)
"""Lengths that a failure's message is cut to, one after the other, until the result is short enough."""

RESULT_VERSION: Final = 1

LEVEL_OVERTIME: Final = 2
"""A slow engine may take this many times a level's time for the fewest passes that make a measurement."""


class PlannedLevel(Schema):
    """One concurrency level to measure."""

    concurrency: Annotated[int, Field(ge=1)]


class TrialPlan(Schema):
    """What the bench container shall do."""

    engine: EngineType
    url: str
    served_name: str
    n_spec: Annotated[int, Field(ge=0, le=MAX_N_SPEC)]
    output_tokens: Annotated[int, Field(ge=1)]
    levels: Annotated[tuple[PlannedLevel, ...], Field(min_length=1, max_length=MAX_LEVELS)]
    level_seconds: Annotated[float, Field(gt=0)]
    """Time for one level, warm-up included."""
    ready_seconds: Annotated[float, Field(gt=0)]
    """Time that the engine may take until a real completion works."""
    seed: int = 0
    model_path: str | None = None
    """Where the engine finds the model; checked first, so that an empty folder is reported as what it is."""
    engine_log: str | None = None
    """File on a shared volume that the engine logs to, where it can."""

    @property
    def longest_seconds(self) -> float:
        """How long the trial can take from the bench's start on: a level's last requests may take its time again."""
        return self.ready_seconds + len(self.levels) * (LEVEL_OVERTIME + 1) * self.level_seconds


class LevelResult(Schema):
    """What was measured at one level; counters are differences of the engine's own, absent where it has none."""

    concurrency: int
    windows: Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(max_length=MAX_WINDOWS)]
    """Output tokens per second of each pass over the prompts, warm-up left out."""
    requests: int
    """Requests of the whole level, warm-up included, as in the engine's counters."""
    failed_requests: int = 0
    output_tokens: int
    """Of the whole level likewise."""
    drafts: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    accepted_per_position: Annotated[tuple[int, ...], Field(max_length=MAX_N_SPEC)] = ()


class TrialFailure(Schema):
    """Why an arm is disqualified or could not be measured."""

    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    message: Annotated[str, Field(max_length=_MESSAGE_LIMITS[0])]


class TrialResult(Schema):
    """What one trial found. `failure` is set where the arm cannot be believed or could not be measured."""

    version: Literal[1] = 1
    n_spec: int
    levels: Annotated[tuple[LevelResult, ...], Field(max_length=MAX_LEVELS)] = ()
    failure: TrialFailure | None = None

    def encode(self) -> str:
        """One line of ASCII: the length of the JSON document in bytes, a blank, the document.

        Windows are rounded to 4 significant digits. Where the line is still too long, windows are thinned out, evenly
        over each level, and the last resort is to cut the failure's message.

        Raises:
            ValueError: even so the line is longer than `RESULT_LIMIT_BYTES`.
        """
        for result in self._ever_shorter():
            document = json.dumps(result.to_wire(), separators=(",", ":"), ensure_ascii=True)
            line = f"{len(document)} {document}"
            if len(line) <= RESULT_LIMIT_BYTES:
                return line
        raise ValueError(f"the result has {len(line)} bytes at least, {RESULT_LIMIT_BYTES} are allowed")

    def _ever_shorter(self) -> Iterator["TrialResult"]:
        for windows in range(MAX_WINDOWS, 0, -1):
            yield self._shortened(windows, _MESSAGE_LIMITS[0])
        for characters in _MESSAGE_LIMITS[1:]:
            yield self._shortened(1, characters)

    def _shortened(self, windows: int, characters: int) -> "TrialResult":
        levels = tuple(
            level.model_copy(update={"windows": tuple(float(f"{one:.4g}") for one in _thinned(level.windows, windows))})
            for level in self.levels
        )
        failure = self.failure and self.failure.model_copy(
            update={"message": shorten(self.failure.message, characters)}
        )
        return self.model_copy(update={"levels": levels, "failure": failure})

    @classmethod
    def decode(cls, text: str) -> "TrialResult":
        """The result in a termination message.

        Raises:
            ValueError: the message is no complete result of this version.
        """
        length, _, document = text.strip().partition(" ")
        if not length.isdigit() or int(length) != len(document.encode()):
            raise ValueError("the termination message is cut or is no result")
        return cls.model_validate_json(document)


def _thinned(windows: Sequence[float], kept: int) -> Sequence[float]:
    if len(windows) <= kept:
        return windows
    return [windows[index * len(windows) // kept] for index in range(kept)]
