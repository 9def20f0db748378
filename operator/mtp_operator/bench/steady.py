"""When a level is warm, and when its throughput is known well enough. Pure arithmetic on passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
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
    """Throughput of the passes that count: those from the first on that agrees with all that follow it.

    It agrees when it differs from their median by less than two standard deviations; two slow passes at the start are
    thus taken back once later ones are faster. Where none agrees within the time that a warm-up may take, the passes
    after that time count.

    Args:
        passes: of one level, in their order.
        level_seconds: time of the level.

    Returns:
        Output tokens per second of each, of the last `MAX_WINDOWS` at most; empty while the level is not warm.
    """
    speeds = tuple(one.tokens_per_second for one in passes)
    elapsed = 0.0
    for index, one in enumerate(passes):
        later = speeds[index + 1 :]
        if elapsed >= WARM_UP_SHARE * level_seconds or (later and _agree(speeds[index], median(later))):
            return speeds[index:][-MAX_WINDOWS:]
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


def _agree(one: float, other: float) -> bool:
    return abs(one - other) < 2 * PASS_NOISE * max(one, other)
