"""How several figures are made one. Pure arithmetic, without numpy: the bench's pod does it too."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

from .quantities import Level

TRIMMED: Final = 0.125
"""Share of the windows left out on either side."""

MAD_TO_SD: Final = 1.4826
"""Standard deviation over median absolute deviation, for normal noise."""


def typical(windows: Sequence[float]) -> float:
    """Mean without the slowest and the fastest eighth: one cold window cannot move it far, and little is wasted."""
    dropped = round(len(windows) * TRIMMED)
    return fmean(sorted(windows)[dropped : len(windows) - dropped])


def log_speed(speeds: Mapping[int, float], levels: Iterable[Level]) -> float:
    """Logarithm of the objective, which is the weighted geometric mean over the levels.

    Args:
        speeds: concurrency -> output tokens per second.
        levels: of the workload, with their weights.
    """
    levels = tuple(levels)
    total = sum(level.weight for level in levels)
    return sum(level.weight / total * math.log(speeds[level.concurrency]) for level in levels)
