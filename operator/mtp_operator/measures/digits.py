"""How figures are written: never with more digits than their interval carries, and durations as Kubernetes does."""

import math
from typing import Final

MOST_DECIMALS: Final = 3
"""A run states its speedups with as many."""


def decimals(low: float, high: float) -> int:
    """Two digits of the half-width, but a third decimal only where the half-width has none before it."""
    half = (high - low) / 2
    if half <= 0:
        return 2
    first = -math.floor(math.log10(half))
    return max(0, min(first + 1, 2)) if first <= 2 else MOST_DECIMALS


def bounds(low: float, high: float) -> str:
    """The interval alone, such as `1.82-2.44`."""
    digits = decimals(low, high)
    return f"{low:.{digits}f}-{high:.{digits}f}"


def with_interval(estimate: float, low: float, high: float) -> str:
    """Such as `2.10x (95% CI 1.82-2.44)`."""
    return f"{estimate:.{decimals(low, high)}f}x (95% CI {bounds(low, high)})"


def duration(seconds: float) -> str:
    """Such as `45s`, `12m05s` or `2h03m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
