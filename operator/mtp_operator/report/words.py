"""How figures are written: never with more digits than their interval carries."""

import math

from mtp_operator.measures import digits

from .data import RUNNING, Cost, Interval, Verdict


def ratio(interval: Interval, value: float | None = None) -> str:
    """The estimate alone, such as `2.10x`, or another value with as many digits."""
    return f"{interval.estimate if value is None else value:.{digits.decimals(interval.low, interval.high)}f}x"


def bounds(interval: Interval) -> str:
    """The interval alone, such as `1.82-2.44`."""
    return digits.bounds(interval.low, interval.high)


def speedup(interval: Interval) -> str:
    """Such as `2.10x (95% CI 1.82-2.44)`."""
    return digits.with_interval(interval.estimate, interval.low, interval.high)


def number(value: float, significant: int = 3) -> str:
    """Significant digits: what has no interval of its own varies by a few percent from trial to trial."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{significant}g}")
    places = significant - 1 - math.floor(math.log10(abs(rounded)))
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
