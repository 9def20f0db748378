"""How figures are written: never with more digits than their interval carries."""

import math
from typing import Final

from .data import RUNNING, Cost, Interval, Verdict

_MOST_DECIMALS: Final = 3
"""A run states its speed-ups with as many."""


def decimals(interval: Interval) -> int:
    """Two digits of the half-width, but a third decimal only where the half-width has none before it."""
    half = (interval.high - interval.low) / 2
    if half <= 0:
        return 2
    first = -math.floor(math.log10(half))
    return max(0, min(first + 1, 2)) if first <= 2 else _MOST_DECIMALS


def ratio(interval: Interval, value: float | None = None) -> str:
    """The estimate alone, such as `2.10x`, or another value with as many digits."""
    return f"{interval.estimate if value is None else value:.{decimals(interval)}f}x"


def bounds(interval: Interval) -> str:
    """The interval alone, such as `1.82-2.44`."""
    digits = decimals(interval)
    return f"{interval.low:.{digits}f}-{interval.high:.{digits}f}"


def speedup(interval: Interval) -> str:
    """Such as `2.10x (95% CI 1.82-2.44)`."""
    return f"{ratio(interval)} (95% CI {bounds(interval)})"


def number(value: float, digits: int = 3) -> str:
    """Significant digits: what has no interval of its own varies by a few percent from trial to trial."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def percent(share: float) -> str:
    """Such as `91%`."""
    return f"{share:.0%}"


def small_percent(share: float) -> str:
    """Such as `0.6%`."""
    return f"{share:.1%}"


def minutes(seconds: float) -> str:
    """GPU time, such as `32 min`."""
    return f"{number(seconds / 60, 2) if seconds < 600 else format(seconds / 60, ',.0f')} min"


def headline(verdict: Verdict, cost: Cost) -> str:
    """The verdict in one sentence."""
    match verdict.type:
        case "Selected" if verdict.speedup is not None:
            return f"n_spec={verdict.n_spec} is {speedup(verdict.speedup)} as fast as no speculation"
        case "Selected":
            return f"n_spec={verdict.n_spec} is faster than no speculation"
        case "SpeculationOff":
            return "Speculation is off: no other n_spec is faster than n_spec=0"
        case "Inconclusive":
            return f"Not proven: n_spec={verdict.n_spec} stays"
        case "Failed":
            return f"Tuning failed: {verdict.reason}"
        case "Superseded":
            return "Superseded: the model's spec changed during the run"
        case _ if verdict.type == RUNNING:
            return f"Tuning: {cost.measured} of up to {cost.max_trials} trials measured"
        case other:
            return other
