"""The curve of log speed over n as a mixture of Gaussians, one for each hypothesis about its shape and its noise.

log speed(n) = log E_n - log T_n, with E_n tokens per step and T_n the step time. T is linear in n, but for cliffs
(graph sizes, batch limits, tiles of a matrix product), the knee of a roofline, increments that wander and a roughness
of every point; n=0 differs in kind. T is linearised around straight lines between the measured points, so that under
one hypothesis everything is Gaussian and the update is conjugate (Rasmussen and Williams 2006, "Gaussian Processes
for Machine Learning", eq. 2.25-2.26 and 2.30). Hypotheses are enumerated and weighted by prior and evidence, the noise
between boots among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .tokens_per_step import Array, Indices, TokensPerStep

BOOT_NOISE = np.array([0.002, 0.006, 0.012, 0.02, 0.03, 0.045, 0.08])
BOOT_NOISE_PRIOR = np.array([0.10, 0.10, 0.14, 0.20, 0.20, 0.06, 0.20])
"""Standard deviation of log speed between boots of one n: 2-7 % on real hardware, less on quiet machines. Little in the
middle: a machine is quiet or it is noisy, and boots that agree by chance do not rule the noisy one out."""

OFFSET_MEAN, OFFSET_SD = 0.04, 0.06
"""What speculation adds to a step, whatever n; unit: the step time of the baseline."""
SLOPES = np.array([0.06, 0.35])
SLOPE_PRIOR = np.array([0.5, 0.5])
"""What one more draft token adds: as a rule little, much under load. Mean and standard deviation at once."""
WANDER, ROUGHNESS = np.array([0.002, 0.008, 0.025]), np.array([0.002, 0.006, 0.02])
ROUGH_PRIOR = np.array([0.6, 0.32, 0.08])
"""Standard deviations of the wandering of increments and of single points, relative to the step time."""
Sizes = tuple[tuple[float, float, float], ...]
"""Mean, standard deviation and share; unit: the step time of the baseline. Work that is added makes a step longer: no
mean is negative."""
SMOOTH, NO_SIZE = 0.15, ((0.0, 0.0, 1.0),)
ONE_CLIFF, CLIFF_SIZES = 0.27, ((0.1, 0.07, 0.5), (0.4, 0.25, 0.5))
TWO_CLIFFS, TWO_CLIFF_SIZES = 0.18, ((0.2, 0.18, 1.0),)
ROOFLINE, ROOFLINE_SIZES = 0.1, ((1.0, 0.3, 1.0),)
KNEES = np.array([0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
TILED, TILE_STEPS = 0.1, ((0.08, 0.06, 0.6), (0.25, 0.15, 0.4))
TILES = (2, 3, 4, 5)
"""Prior of each kind of step time, and what it adds: nothing, a jump, two, a knee at some n, a jump at every tile."""
LOCATION_VARIANCE = 1.0
MOST_HYPOTHESES = 1200


@dataclass(frozen=True)
class Observations:
    """What was measured: one entry for each n, ascending; the first is the baseline, log speeds are relative to it."""

    index: Indices
    """Position in the grid."""
    log_speed: Array
    """Mean over the boots of this n."""
    boots: Array
    scatter: float
    """Sum over all boots of the squared deviation from the mean of their n."""
    window_variance: Array
    """Variance of the mean that comes from the windows alone."""


@dataclass(frozen=True)
class Posterior:
    """A mixture over hypotheses (H) of Gaussians over the grid (N)."""

    weights: Array
    means: Array
    covariances: Array
    boot_noise: Array

    @property
    def mean(self) -> Array:
        """Posterior mean of log speed at every n."""
        return np.asarray(self.weights @ self.means)


def infer(grid: Array, tokens: Sequence[TokensPerStep], seen: Observations) -> Posterior:
    """Posterior over the grid.

    Args:
        grid: the n that may be chosen, ascending; the first is the baseline.
        tokens: hypotheses about the tokens per step, of equal prior weight.
        seen: the measurements.
    """
    prior = _Prior.of(grid, tokens, seen)
    at = seen.index
    noise = BOOT_NOISE**2
    observed = prior.covariances(at)[..., None] + np.zeros(len(noise))
    diagonal = np.arange(len(at))
    observed[diagonal, diagonal] += (noise / seen.boots[:, None] + seen.window_variance[:, None])[
        :, None, None, None, None
    ]
    residual = seen.log_speed[:, None, None, None] - prior.mean[at]
    log_evidence = _log_evidence(observed, residual[:, :, :, None, :, None])
    spare = float(np.sum(seen.boots - 1))
    log_weight = (
        log_evidence
        + prior.log_weight[..., None]
        + np.log(BOOT_NOISE_PRIOR)
        - 0.5 * (seen.scatter / noise + spare * np.log(noise))
    )
    weight = np.exp(log_weight - log_weight.max())
    weights, chosen = thinned(weight.ravel() / weight.sum(), MOST_HYPOTHESES)
    token, slope, rough, cliff, level = np.unravel_index(chosen, weight.shape)
    mean, covariance = prior.mean[:, token, slope, cliff].T, prior.covariance(token, slope, rough, cliff)
    known = covariance[:, at[:, None], at] + np.eye(len(at)) * (
        noise[level, None, None] / seen.boots + seen.window_variance
    )
    gain = np.linalg.solve(known, covariance[:, at])
    means = mean + np.einsum("hkn,hk->hn", gain, seen.log_speed - mean[:, at])
    covariances = covariance - np.einsum("hkn,hkm->hnm", gain, covariance[:, at])
    return Posterior(weights, means, covariances, BOOT_NOISE[level])


@dataclass(frozen=True)
class _Prior:
    """Before any speed is used, but for the lines that T is linearised around.

    Axes of hypotheses, in this order: tokens per step, slope, roughness, cliffs.
    """

    mean: Array
    """Of log speed: N x tokens x slopes x cliffs."""
    tokens: Array
    """Covariance of log E: N x N x tokens."""
    scale: Array
    """1 / (T_n T_m) at the lines: N x N x tokens."""
    linear: Array
    """Covariance of the linear part of T: N x N x slopes."""
    rough: Array
    """Covariance of log T by wandering and roughness: N x N x roughness."""
    cliffs: Array
    """Covariance of T by cliffs: N x N x cliffs."""
    log_weight: Array

    @classmethod
    def of(cls, grid: Array, tokens: Sequence[TokensPerStep], seen: Observations) -> "_Prior":
        x = grid - grid[0]
        speculative = (x > 0).astype(float)
        kind = speculative * (grid[0] == 0)
        log_tokens = np.array([one.log_mean - one.log_mean[0] for one in tokens]).T
        step_time = np.exp(log_tokens[seen.index] - seen.log_speed[:, None])
        lines = np.array([_line_through(x, seen.index, times) for times in step_time.T]).T
        shapes, cliffs, cliff_prior = _cliffs(tuple(x))
        expected = (1 + OFFSET_MEAN * kind[:, None] + np.outer(x, SLOPES))[:, None, :, None] + shapes[:, None, None]
        linear = OFFSET_SD**2 * np.outer(kind, kind)[..., None] + np.multiply.outer(np.outer(x, x), SLOPES**2)
        rough = np.multiply.outer(np.minimum.outer(x, x), WANDER**2) + np.multiply.outer(
            np.diag(speculative), ROUGHNESS**2
        )
        log_weight = (
            np.log(SLOPE_PRIOR)[:, None, None] + np.log(ROUGH_PRIOR)[:, None] + np.log(cliff_prior)
        ) + np.zeros((len(tokens), 1, 1, 1))
        return cls(
            mean=(log_tokens - np.log(lines) + 1)[:, :, None, None] - expected / lines[:, :, None, None],
            tokens=np.array([one.covariance for one in tokens]).transpose(1, 2, 0) + LOCATION_VARIANCE,
            scale=1 / (lines[:, None] * lines[None]),
            linear=linear,
            rough=rough,
            cliffs=cliffs,
            log_weight=log_weight,
        )

    def covariances(self, at: Indices) -> Array:
        """Of log speed at some points, under every hypothesis."""
        some = np.ix_(at, at)
        step = self.linear[some][:, :, None, :, None, None] + self.cliffs[some][:, :, None, None, None, :]
        return np.asarray(
            self.tokens[some][:, :, :, None, None, None]
            + step * self.scale[some][:, :, :, None, None, None]
            + self.rough[some][:, :, None, None, :, None]
        )

    def covariance(self, token: Indices, slope: Indices, rough: Indices, cliff: Indices) -> Array:
        """Of log speed over the grid, under some hypotheses: H x N x N."""
        step = self.linear[..., slope] + self.cliffs[..., cliff]
        return (self.tokens[..., token] + step * self.scale[..., token] + self.rough[..., rough]).transpose(2, 0, 1)


@lru_cache(maxsize=16)
def _cliffs(x: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """What cliffs may add to the step time: mean (N x hypotheses), covariance (N x N x hypotheses), prior.

    A hypothesis is a sum of shapes of uncertain size. A cliff between two n is as probable as they are far apart. Past
    the knee of a roofline a step computes longer than it streams weights: max(1, (n + 1) / (knee + 1)) (Williams,
    Waterman and Patterson 2009, "Roofline"). Tiles: ceil((n + 1) / size), as a rule aligned with the first token.
    """
    position = np.array(x)
    jumps = (position >= position[1:, None]).astype(float)
    gaps = np.diff(position)
    first, second = np.triu_indices(len(jumps), 1)
    knees = KNEES[position[-1] > KNEES][:, None]
    roofs = np.maximum(0, position - knees) / (1 + knees)
    tiles = [(size, phase) for size in TILES if size <= x[-1] for phase in range(size)]
    kinds: tuple[tuple[float, Sizes, list[Array], Array], ...] = (
        (SMOOTH, NO_SIZE, [np.zeros((1, len(x)))], np.ones(1)),
        (ONE_CLIFF, CLIFF_SIZES, [jump[None] for jump in jumps], gaps),
        (TWO_CLIFFS, TWO_CLIFF_SIZES, list(jumps[np.stack([first, second], axis=1)]), gaps[first] * gaps[second]),
        (ROOFLINE, ROOFLINE_SIZES, [roof[None] for roof in roofs], np.ones(len(roofs))),
        (
            TILED,
            TILE_STEPS,
            [np.floor((position + phase) / size)[None] for size, phase in tiles],
            np.array([1 / size if phase else 1.0 for size, phase in tiles]),
        ),
    )
    means, covariances, priors = [], [], []
    for prior, sizes, shapes, weights in kinds:
        for mean, sd, share in sizes:
            for shape, weight in zip(shapes, weights / weights.sum(), strict=True):
                means.append(mean * shape.sum(axis=0))
                covariances.append(sd**2 * shape.T @ shape)
                priors.append(prior * share * weight)
    return np.stack(means, axis=-1), np.stack(covariances, axis=-1), np.array(priors) / sum(priors)


def _line_through(x: Array, at: Indices, step_time: Array) -> Array:
    """Step time on straight lines between measured points; beyond the last it goes on, but never falls."""
    slope = SLOPES[0]
    if len(at) > 1:
        slope = max(0.0, (step_time[-1] - step_time[-2]) / (x[at[-1]] - x[at[-2]]))
    line = np.interp(x, x[at], step_time) + slope * np.maximum(0.0, x - x[at[-1]])
    return np.asarray(np.maximum(line, 0.05))


def _log_evidence(covariance: Array, residual: Array) -> Array:
    """Logarithm of N(residual; 0, covariance) but for a constant, along the first axes, over all hypotheses at once.

    A Cholesky factorisation whose inner loop runs over hypotheses: thousands of tiny matrices, one pass.
    """
    size = len(covariance)
    factor = np.empty_like(covariance)
    whitened = np.empty_like(covariance[0])
    result = np.zeros(covariance.shape[2:])
    for j in range(size):
        pivot = np.sqrt(covariance[j, j] - np.sum(factor[j, :j] ** 2, axis=0))
        factor[j + 1 :, j] = (covariance[j + 1 :, j] - np.sum(factor[j + 1 :, :j] * factor[j, :j], axis=1)) / pivot
        whitened[j] = (residual[j] - np.sum(factor[j, :j] * whitened[:j], axis=0)) / pivot
        result -= np.log(pivot) + 0.5 * whitened[j] ** 2
    return result


def thinned(weights: Array, most: int) -> tuple[Array, Indices]:
    """At most about `most` of the weighted hypotheses: heavy ones stay, of the rest a systematic sample.

    Weights below the threshold are replaced by the threshold with the probability that keeps every sum unbiased, so
    that unlikely shapes stay represented (Fearnhead and Clifford 2003, "On-line inference for hidden Markov models via
    particle filters", section 3.2); deterministic here.
    """
    threshold = 1 / most
    light = weights < threshold
    passed = np.floor(np.cumsum(np.where(light, weights, 0)) / threshold + 0.5)
    sampled = light & (np.diff(passed, prepend=0.0) > 0)
    chosen = np.flatnonzero(~light | sampled)
    kept = np.where(sampled, threshold, weights)[chosen]
    return kept / kept.sum(), chosen
