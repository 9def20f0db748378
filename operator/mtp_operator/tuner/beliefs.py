"""Questions to a posterior: the speed-up with its interval, the probability of a loss, the worth of one more boot."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from .curve import Posterior
from .tokens_per_step import Array
from .tuner_records import Speedup

TAILS = (0.025, 0.025)
"""Probability that the truth lies below an interval, and above it."""
TAILS_AT_THE_END = (0.012, 0.028)
"""The same, for the interval of a verdict: boots ended once it lay above 1, so it misses more often than it claims,
and chance favoured what was chosen, so the estimate is too high rather than too low (calibrated by
tests/perf/tuner_judge.py --coverage)."""
NODES = 256
"""Imagined outcomes of a boot."""

_ABSCISSAE = np.linspace(-9.0, 9.0, 18001)
_NORMAL = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _ABSCISSAE])
_GOLDEN = (math.sqrt(5) - 1) / 2
_DEVIATES = np.array([NormalDist().inv_cdf(k * _GOLDEN % 1) for k in range(1, NODES + 1)])
"""Standard normal deviates, spread evenly (a Weyl sequence) and in an order that does not follow their size."""


def speedup(posterior: Posterior, point: int, tails: tuple[float, float] = TAILS, widened_by: float = 0.0) -> Speedup:
    """Speed of a point of the grid against the baseline's.

    Args:
        posterior: over the grid.
        point: position in the grid.
        tails: probability that the truth lies below the interval, and above it.
        widened_by: added to the interval of the log on either side.
    """
    gain, sd = _gain(posterior, point)
    low, high = (_quantile(posterior.weights, gain, sd, tail) for tail in (tails[0], 1 - tails[1]))
    return Speedup(
        estimate=math.exp(float(posterior.weights @ gain)),
        low=math.exp(low - widened_by),
        high=math.exp(high + widened_by),
    )


def probability_of_loss(posterior: Posterior, point: int) -> float:
    """Probability that a point is not faster than the baseline."""
    gain, sd = _gain(posterior, point)
    return float(posterior.weights @ np.interp(-gain / sd, _ABSCISSAE, _NORMAL))


def knowledge_gradient(posterior: Posterior, point: int, eligible: Sequence[int]) -> float:
    """By how much one more boot of a point is expected to raise the log speed of what would then be chosen.

    Outcomes are imagined from the posterior; each reweights the hypotheses and moves their means, and the best of what
    is eligible, the new point included, is chosen (Frazier, Powell and Dayanik 2008, "A knowledge-gradient policy for
    sequential information collection", eq. 2.3, here for a mixture).
    """
    pool = sorted({*eligible, point})
    variance = posterior.covariances[:, point, point] + posterior.boot_noise**2
    slope = posterior.covariances[:, pool, point] / variance[:, None]
    expected = posterior.means[:, point]
    source = np.searchsorted(np.cumsum(posterior.weights), (np.arange(NODES) + 0.5) / NODES)
    source = np.minimum(source, len(expected) - 1)
    outcomes = expected[source] + np.sqrt(variance[source]) * _DEVIATES
    surprise = -0.5 * (outcomes[:, None] - expected) ** 2 / variance
    likelihood = posterior.weights / np.sqrt(variance) * np.exp(surprise)
    likelihood /= likelihood.sum(axis=1, keepdims=True)
    after = likelihood @ (posterior.means[:, pool] - slope * expected[:, None])
    after += outcomes[:, None] * (likelihood @ slope)
    now = [column for column, candidate in enumerate(pool) if candidate in eligible]
    return float(np.mean(np.max(after, axis=1)) - np.max(np.mean(after, axis=0)[now]))


def gain_by_proof(posterior: Posterior, point: int, required_z: float, spread: float) -> float:
    """Log speed that a later proof of the advantage of a point is expected to gain.

    The later estimate is normal around today's; where it convinces, it is gained (the "predictive power" of
    Spiegelhalter, Freedman and Blackburn 1986, "Monitoring clinical trials", times what it is worth).

    Args:
        posterior: over the grid.
        point: position in the grid.
        required_z: what convinces then, as a multiple of the noise between boots.
        spread: standard deviation of the later estimate around today's, as a multiple of the same.
    """
    gain, _ = _gain(posterior, point)
    sd = spread * posterior.boot_noise
    surplus = (gain - required_z * posterior.boot_noise) / sd
    density = np.exp(-0.5 * surplus**2) / math.sqrt(2 * math.pi)
    return float(posterior.weights @ (gain * np.interp(surplus, _ABSCISSAE, _NORMAL) + sd * density))


def noise_between_boots(posterior: Posterior) -> float:
    """Standard deviation of log speed between boots: root of the posterior mean of its square."""
    return math.sqrt(float(posterior.weights @ posterior.boot_noise**2))


def _gain(posterior: Posterior, point: int) -> tuple[Array, Array]:
    """Mean and standard deviation of the log of the speed-up, by hypothesis."""
    covariance = posterior.covariances
    variance = covariance[:, point, point] + covariance[:, 0, 0] - 2 * covariance[:, point, 0]
    return posterior.means[:, point] - posterior.means[:, 0], np.sqrt(np.maximum(variance, 1e-12))


def _quantile(weights: Array, mean: Array, sd: Array, probability: float) -> float:
    """Of a mixture of normals, by bisection."""
    low, high = float(np.min(mean - 8 * sd)), float(np.max(mean + 8 * sd))
    while high - low > 1e-6:
        middle = (low + high) / 2
        below = float(weights @ np.interp((middle - mean) / sd, _ABSCISSAE, _NORMAL)) < probability
        low, high = (middle, high) if below else (low, middle)
    return high
