"""When a level is warm, and when its throughput is known well enough. Pure arithmetic on passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from mtp_operator.api.base import MAX_WINDOWS

PASS_NOISE: Final = 0.02
"""Relative standard deviation that one pass of a warm engine is taken to have."""

WARM_UP_SHARE: Final = 0.3
"""Share of a level's time after which passes count whether or not they agree."""

MIN_WINDOWS: Final = 4

PRECISION: Final = 0.01
"""Relative standard error of the mean at which a level is known well enough."""


@dataclass(frozen=True)
class Pass:
    """One pass over the prompts."""

    output_tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Output throughput of the pass."""
        return self.output_tokens / self.seconds


def windows(passes: Sequence[Pass], level_seconds: float) -> tuple[float, ...]:
    """Throughput of the passes that count: those from the first of two on that agree.

    Two consecutive passes agree when they differ by less than two standard deviations. Where none do within the time
    that a warm-up may take, the passes after that time count.

    Args:
        passes: of one level, in their order.
        level_seconds: time of the level.

    Returns:
        Output tokens per second of each; empty while the level is not warm.
    """
    elapsed = 0.0
    for index, one in enumerate(passes):
        if elapsed >= WARM_UP_SHARE * level_seconds:
            return _speeds(passes[index:])
        if index + 1 < len(passes) and _agree(one, passes[index + 1]):
            return _speeds(passes[index:])
        elapsed += one.seconds
    return ()


def is_enough(measured: Sequence[float], elapsed_seconds: float, pass_seconds: float, level_seconds: float) -> bool:
    """Whether a level can end: its mean is known, no more fits into its time, or no more windows are kept.

    Args:
        measured: the windows so far.
        elapsed_seconds: since the level began.
        pass_seconds: how long the last pass took.
        level_seconds: time of the level.
    """
    if len(measured) < MIN_WINDOWS:
        return False
    if len(measured) >= MAX_WINDOWS or elapsed_seconds + pass_seconds > level_seconds:
        return True
    return stdev(measured) / math.sqrt(len(measured)) <= PRECISION * fmean(measured)


def _agree(one: Pass, other: Pass) -> bool:
    larger, smaller = sorted((one.tokens_per_second, other.tokens_per_second), reverse=True)
    return larger - smaller < 2 * PASS_NOISE * larger


def _speeds(passes: Sequence[Pass]) -> tuple[float, ...]:
    return tuple(one.tokens_per_second for one in passes)
