"""Tokens per step of the target model, predicted from the engine's acceptance counters.

With P_i the share of drafts whose i-th token was accepted, a step at n yields E_n = 1 + P_1 + ... + P_n tokens on
average (Leviathan, Kalman and Matias 2023, "Fast Inference from Transformers via Speculative Decoding", eq. 1, there
for constant acceptance). Counters of one boot are that boot's own: another n drafts in other contexts. The difference
is modelled as a random walk over n that is pinned wherever counters were read (a Brownian bridge).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

WALK_SD = 0.015
"""Prior of the model error of log E, per square root of a position: 2-3 % half way between two boots 8 apart."""
WALK_PRIOR_COUNT = 2.0
"""Weight of that prior, in observed disagreements."""


@dataclass(frozen=True)
class TokensPerStep:
    """log E at each n of a grid: mean and covariance of the model error."""

    log_mean: Array
    covariance: Array


def geometric(rate: float, count: int) -> Array:
    """P_i = a^i whose mean over `count` positions is `rate`: the shape of a constant conditional acceptance."""
    low, high = 0.0, 1.0
    exponents = np.arange(1, count + 1)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(middle**exponents) < rate else (low, middle)
    return np.asarray(low**exponents, dtype=np.float64)


def extended(shares: Array, count: int) -> Array:
    """P_1..P_count: the known ones, then falling on at the mean ratio between known neighbours."""
    known = len(shares)
    if known >= count:
        return shares[:count]
    first, last = (1.0, float(shares[0])) if known == 1 else (float(shares[0]), float(shares[-1]))
    ratio = (last / first) ** (1 / max(1, known - 1)) if last < first else 1.0
    return np.concatenate([shares, last * ratio ** np.arange(1, count - known + 1)])


def tokens_per_step(grid: Array, shares_at: Mapping[int, Array]) -> TokensPerStep:
    """Predict E over the grid of n from the counters of the boots that have some.

    Between two pins the counters of the larger n are used, corrected by what they got wrong at the smaller.
    """
    pins = [0, *sorted(n for n in shares_at if n > 0)]
    top = int(grid[-1])
    sums = {0: np.zeros(top + 1)} | {
        n: np.log1p(np.concatenate([[0.0], np.cumsum(extended(shares_at[n], top))])) for n in pins[1:]
    }
    error = {0: 0.0}
    scaled_errors = []
    for low, pin, high in zip(pins, pins[1:], pins[2:], strict=False):
        error[pin] = float(sums[pin][pin] - sums[high][pin])
        scaled_errors.append(
            (error[pin] - error[low] * (high - pin) / (high - low)) ** 2 * (high - low) / (pin - low) / (high - pin)
        )
    variance = (WALK_PRIOR_COUNT * WALK_SD**2 + sum(scaled_errors)) / (WALK_PRIOR_COUNT + len(scaled_errors))
    positions = grid.astype(int)
    mean = np.zeros(len(grid))
    covariance = np.zeros((len(grid), len(grid)))
    for low, high in pairwise(pins):
        inside = (positions > low) & (positions <= high)
        n = positions[inside]
        mean[inside] = sums[high][n] + error[low] * (high - n) / (high - low)
        covariance[np.ix_(inside, inside)] = np.minimum.outer(n - low, n - low) - np.outer(n - low, n - low) / (
            high - low
        )
    beyond = positions > pins[-1]
    n = positions[beyond]
    mean[beyond] = sums[pins[-1]][n]
    covariance[np.ix_(beyond, beyond)] = np.minimum.outer(n - pins[-1], n - pins[-1])
    return TokensPerStep(mean, variance * covariance)


GUESSES = ((0.0, 0.15, 0.3, 0.45), (0.5, 0.58, 0.66, 0.74), (0.8, 0.86, 0.91, 0.96))
"""Conditional acceptance of the first position where no counters say it: poor, middling, good."""
DECAYS = (1.0, 0.93, 0.86)
"""What it is multiplied by from one position to the next: a drafter knows less the further ahead."""


def guessed_tokens_per_step(grid: Array) -> list[TokensPerStep]:
    """Hypotheses about E without counters: a poor, a middling and a good drafter.

    Each is the mean and covariance of a few curves, P_i = a^i d^(i (i - 1) / 2) for acceptance a and decay d.
    """
    walk = tokens_per_step(grid, {}).covariance
    positions = grid.astype(int)
    steps = np.arange(positions[-1] + 1)
    decayed = np.power.outer(np.array(DECAYS), steps * (steps - 1) / 2)
    hypotheses = []
    for guesses in GUESSES:
        shares = np.power.outer(np.array(guesses), steps)[:, None] * decayed
        curves = np.log(np.cumsum(shares, axis=-1)).reshape(-1, len(steps))[:, positions]
        hypotheses.append(TokensPerStep(curves.mean(axis=0), np.cov(curves, rowvar=False).reshape(walk.shape) + walk))
    return hypotheses
