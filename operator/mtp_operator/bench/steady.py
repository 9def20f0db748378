"""When a level is warm, when its throughput is known well enough, and whether it sank. Pure arithmetic on passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean, linear_regression, median, stdev
from typing import Final

from mtp_operator.api.base import MAX_WINDOWS
from mtp_operator.measures.averages import MAD_TO_SD

from .stream import Completion

PASS_NOISE: Final = 0.02
"""Relative standard deviation that one pass of a warm engine is taken to have."""

ENOUGH_PASSES: Final = 8
"""Passes that an engine gets the time for, however slow it is: a warm-up, and twice the fewest that are needed."""

WARM_UP_SHARE: Final = 0.3
"""Share of a level's time after which passes count whether or not they agree."""

MIN_WINDOWS: Final = 4

PRECISION: Final = 0.01
"""Relative standard error of the mean at which a level is known well enough."""

DRIFT_LIMIT: Final = 0.10
"""Share of its throughput that an engine may lose over a level."""

DRIFT_SIGMAS: Final = 4
"""The same in standard deviations of a pass, where these are larger."""


@dataclass(frozen=True)
class Pass:
    """One pass over the prompts."""

    output_tokens: int
    seconds: float
    answers: tuple[Completion, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Output throughput of the pass."""
        return self.output_tokens / self.seconds


@dataclass(frozen=True)
class Drift:
    """Throughput that sank by more than noise explains."""

    lost_share: float
    limit: float


def level_time(passes: Sequence[Pass], level_seconds: float, ceiling_seconds: float) -> float:
    """The seconds that a level gets: its own, or what `ENOUGH_PASSES` take at the engine's pace, within a ceiling.

    Args:
        passes: of the level so far.
        level_seconds: what it is to get.
        ceiling_seconds: what it gets at most.
    """
    pace = median(one.seconds for one in passes) if passes else 0.0
    return max(level_seconds, min(ENOUGH_PASSES * pace, ceiling_seconds))


def warm_passes(passes: Sequence[Pass], level_seconds: float) -> Sequence[Pass]:
    """The passes that count: those from the first on that agrees with all that follow it.

    It agrees when it differs from their median by less than two standard deviations; two slow passes at the start are
    thus taken back once later ones are faster. Where none agrees within the time that a warm-up may take, the passes
    after that time count.

    Args:
        passes: of one level, in their order.
        level_seconds: time of the level.

    Returns:
        The last passes; none while the level is not warm.
    """
    speeds = tuple(one.tokens_per_second for one in passes)
    elapsed = 0.0
    for index, one in enumerate(passes):
        later = speeds[index + 1 :]
        if elapsed >= WARM_UP_SHARE * level_seconds or (later and _agree(speeds[index], median(later))):
            return passes[index:]
        elapsed += one.seconds
    return ()


def windows(passes: Sequence[Pass], level_seconds: float) -> tuple[float, ...]:
    """Output tokens per second of the passes that count, of the last `MAX_WINDOWS` at most; see `warm_passes`."""
    return tuple(one.tokens_per_second for one in warm_passes(passes, level_seconds)[-MAX_WINDOWS:])


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
    return standard_error(measured) <= PRECISION


def standard_error(measured: Sequence[float]) -> float:
    """Standard error of the mean of windows, as a share of it."""
    return stdev(measured) / math.sqrt(len(measured)) / fmean(measured)


def drift(passes: Sequence[Pass]) -> Drift | None:
    """How far throughput sank over a level, if that is more than its noise explains.

    A straight line is fitted to log throughput over time. Noise is what consecutive passes typically differ by, less
    their common trend. Slow passes at the start are a warm-up, no drift.

    Args:
        passes: all of one level, in their order.
    """
    kept = passes[_first_at_speed(passes) :]
    if len(kept) < MIN_WINDOWS or min(one.output_tokens for one in kept) == 0:
        return None
    ends = list(accumulate(one.seconds for one in kept))
    middles = [end - one.seconds / 2 for end, one in zip(ends, kept, strict=True)]
    logs = [math.log(one.tokens_per_second) for one in kept]
    slope = linear_regression(middles, logs).slope
    lost_share = 1 - math.exp(slope * (middles[-1] - middles[0]))
    limit = max(DRIFT_LIMIT, DRIFT_SIGMAS * _noise([later - earlier for earlier, later in pairwise(logs)]))
    return Drift(lost_share, limit) if lost_share > limit else None


def _noise(steps: Sequence[float]) -> float:
    """Standard deviation of a pass, from what consecutive ones differ by; a single large step is drift, no noise.

    By the median absolute deviation from the median step, which is the common trend, or by what typically goes down and
    comes back, where that is larger: the median of steps that alternate is one of them.
    """
    trend = median(steps)
    spread = median(abs(step - trend) for step in steps)
    reversal = median(min(abs(one), abs(other)) if one * other < 0 else 0.0 for one, other in pairwise(steps))
    return MAD_TO_SD * max(spread, reversal) / math.sqrt(2)


def _first_at_speed(passes: Sequence[Pass]) -> int:
    """Index of the first pass that is not slower than those after it."""
    speeds = [one.tokens_per_second for one in passes]
    for index, speed in enumerate(speeds[:-1]):
        typical = median(speeds[index + 1 :])
        if speed >= typical or _agree(speed, typical):
            return index
    return len(passes)


def _agree(one: float, other: float) -> bool:
    return abs(one - other) < 2 * PASS_NOISE * max(one, other)
