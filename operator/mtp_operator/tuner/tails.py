"""Tails of discrete distributions, in a time that is bounded by their width, not by their counts.

Beyond its mean the terms of a tail fall faster and faster. So they are added up from the one that is asked about, each
from the one before it, until what follows cannot change the sum. The counts come from pods: whatever they are, a
decision with a thousand of these sums takes milliseconds.
"""

import math
from collections.abc import Callable

NEGLIGIBLE = 1e-17
"""Share of a sum below which a falling term cannot change it any more."""


def hypergeometric_at_least(successes: int, draws: int, all_successes: int, population: int) -> float:
    """P(X >= successes) if `draws` are taken out of a population with `all_successes` in it; 1 up to the mean.

    A tail that begins at or below the mean is near a half or above it: whoever asks whether it is small is answered.
    """
    others = population - draws
    if successes * population <= draws * all_successes:
        return 1.0
    if successes > min(draws, all_successes):
        return 0.0
    log_first = (
        _log_ways(draws, successes)
        + _log_ways(others, all_successes - successes)
        - _log_ways(population, all_successes)
    )
    return _falling_sum(
        math.exp(log_first),
        min(draws, all_successes) - successes,
        lambda step: (
            (draws - successes - step)
            * (all_successes - successes - step)
            / ((successes + step + 1) * (others - all_successes + successes + step + 1))
        ),
    )


def binomial_tails(trials: int, successes: int, probability: float) -> tuple[float, float]:
    """P(X <= successes) and P(X >= successes). The smaller one is added up, the other one is what it leaves."""
    at = math.exp(
        _log_ways(trials, successes)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )
    odds = probability / (1 - probability)
    if successes <= trials * probability:
        few = _falling_sum(at, successes, lambda step: (successes - step) / ((trials - successes + step + 1) * odds))
        return few, min(1.0, 1 - few + at)
    many = _falling_sum(
        at, trials - successes, lambda step: (trials - successes - step) * odds / (successes + step + 1)
    )
    return min(1.0, 1 - many + at), many


def _falling_sum(first: float, steps: int, ratio: Callable[[int], float]) -> float:
    """The first term and up to `steps` more, each `ratio(step)` times the one before it."""
    total = term = first
    for step in range(steps):
        term *= ratio(step)
        total += term
        if term <= total * NEGLIGIBLE:
            break
    return min(total, 1.0)


def _log_ways(things: int, chosen: int) -> float:
    return math.lgamma(things + 1) - math.lgamma(chosen + 1) - math.lgamma(things - chosen + 1)
