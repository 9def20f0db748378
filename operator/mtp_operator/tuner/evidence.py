"""From arms to what the model of the curve takes: which n count, their log speeds, boots, scatter and counters."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

import numpy as np

from mtp_operator.measures import averages

from .beliefs import speedup
from .constraints import Outcome, judged
from .curve import Observations, Posterior, infer
from .tokens_per_step import Array, TokensPerStep, geometric, guessed_tokens_per_step, tokens_per_step
from .tuner_records import Acceptance, Arm, Settings

ASSUMED_WINDOW_NOISE = 0.02
"""Standard deviation of log speed between windows of one boot, where there are too few to tell."""
LEAST_WINDOWS = 4
TRIMMED_VARIANCE = 1.06
"""Variance of the typical window over that of a plain mean, for normal noise (Stigler 1973)."""
MOST_FAILURES = 2
"""A baseline that failed once is tried again; after so many failures it is not."""
NEGLIGIBLE_LOSS = 0.0025
"""Loss in log speed that nobody minds: the smaller n is preferred at it, and no level counts as slower for it."""


@dataclass(frozen=True)
class Evidence:
    """The arms of a run, sorted out; nothing here depends on the order they came in."""

    settings: Settings
    arms: tuple[Arm, ...]
    measured: Mapping[int, tuple[Arm, ...]]
    """Arms with speeds by n, ascending; an n that ever failed is not among them, unless it is the baseline."""
    failed: Mapping[int, str]

    @classmethod
    def of(cls, arms: Sequence[Arm], settings: Settings) -> "Evidence":
        """Sort out the arms.

        Raises:
            ValueError: the arms come from several nodes, are no n of the settings, or lack a level.
        """
        ordered = tuple(sorted(arms, key=lambda arm: (arm.n_spec, arm.boot)))
        _refuse_unfit(ordered, settings)
        failed = {arm.n_spec: arm.failed for arm in ordered if arm.failed is not None}
        measured: dict[int, tuple[Arm, ...]] = {}
        for arm in ordered:
            if arm.failed is None and (arm.n_spec not in failed or arm.n_spec == settings.baseline):
                measured[arm.n_spec] = (*measured.get(arm.n_spec, ()), arm)
        return cls(settings, ordered, measured, failed)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """The n that can still be chosen, ascending; the baseline is the first."""
        return tuple(n for n in sorted(self.settings.n_specs) if n == self.settings.baseline or n not in self.failed)

    def boots(self, n: int) -> int:
        """How often an n was booted with success."""
        return len(self.measured.get(n, ()))

    def attempts(self, n: int) -> int:
        """How often an n was booted, with success or without: the number of its next boot."""
        return sum(arm.n_spec == n for arm in self.arms)

    def failures(self, n: int) -> int:
        """How often an n failed to boot or to pass a gate."""
        return sum(arm.n_spec == n and arm.failed is not None for arm in self.arms)

    @property
    def is_baseline_given_up(self) -> bool:
        """Whether the baseline failed so often that it is not booted again."""
        return self.failures(self.settings.baseline) >= MOST_FAILURES

    def affordable(self) -> bool:
        """Whether the budget allows one more boot that takes as long as the others did on average."""
        if len(self.arms) >= self.settings.max_trials:
            return False
        if self.settings.max_gpu_minutes is None:
            return True
        minutes = [arm.gpu_minutes for arm in self.arms if arm.gpu_minutes is not None]
        return sum(minutes) + (fmean(minutes) if minutes else 0.0) <= self.settings.max_gpu_minutes

    def can_boot(self, n: int) -> float:
        """Probability that an n can be booted: the first n that cannot is anywhere up to the smallest that did not."""
        if n == self.settings.baseline:
            return 0.0 if self.is_baseline_given_up else 1.0
        reached = max(self.measured, default=0)
        limit = min((failed for failed in self.failed if failed > reached), default=None)
        if limit is None or n <= reached:
            return 1.0
        return max(0.05, (limit - n) / (limit - reached))

    def constraints(self, n: int) -> Outcome:
        """Whether an n meets every constraint on latency; not known after two boots counts as not met."""
        outcome = judged(self.settings.constraints, self.measured[n])
        return Outcome.FAIL if outcome is Outcome.UNKNOWN and self.boots(n) > 1 else outcome

    def eligible(self, n: int) -> bool:
        """Whether an n may be chosen as things stand; the baseline always may."""
        return self.sound(n) and n not in self.slower_somewhere

    @cached_property
    def slower_somewhere(self) -> Mapping[int, int]:
        """The n that are not chosen because they are slower than the baseline at some level, and the worst level.

        An n that was measured is one if that is expected of it, an n that was not only if it is as good as certain.
        """
        slower: dict[int, int] = {}
        if self.settings.slower_levels == "Allow" or len(self.settings.levels) == 1:
            return slower
        worst: dict[int, float] = {}
        for concurrency in self.shares:
            posterior = self.only_level(concurrency).posterior()
            for point, n in enumerate(self.grid[1:], start=1):
                believed = speedup(posterior, point)
                gain = believed.estimate if n in self.measured else believed.high
                if gain < worst.get(n, 1 - NEGLIGIBLE_LOSS):
                    worst[n], slower[n] = gain, concurrency
        return slower

    def sound(self, n: int) -> bool:
        """Whether an n is measured, checked and within the limits."""
        return n == self.settings.baseline or (
            n in self.measured
            and all(arm.output_verified for arm in self.measured[n])
            and self.constraints(n) is not Outcome.FAIL
        )

    def log_speed(self, arm: Arm) -> float:
        """Logarithm of the objective: the weighted geometric mean over levels of the typical window."""
        speeds = {level.concurrency: averages.typical(level.windows) for level in arm.levels}
        return averages.log_speed(speeds, self.settings.levels)

    @cached_property
    def shares(self) -> Mapping[int, float]:
        """Weight of each concurrency level in the objective; they sum to 1."""
        total = sum(level.weight for level in self.settings.levels)
        return {level.concurrency: level.weight / total for level in self.settings.levels}

    def only_level(self, concurrency: int) -> "Evidence":
        """The same arms with one level as the whole objective."""
        level = next(level for level in self.settings.levels if level.concurrency == concurrency)
        return Evidence(self.settings.model_copy(update={"levels": (level,)}), self.arms, self.measured, self.failed)

    def posterior(self, baseline_boots: int | None = None) -> Posterior:
        """What is known about log speed relative to the baseline's, over the grid.

        Args:
            baseline_boots: take only that many boots of the baseline into account.
        """
        measured = dict(self.measured)
        baseline = self.settings.baseline
        measured[baseline] = measured[baseline][:baseline_boots]
        logs = {n: np.array([self.log_speed(arm) for arm in arms]) for n, arms in measured.items()}
        # Rounded, so that the last bits of speeds in other units do not decide between equals.
        relative = {n: np.round(values - logs[baseline].mean(), 9) for n, values in logs.items()}
        noise = window_noise(arm for arms in measured.values() for arm in arms)
        seen = Observations(
            index=np.searchsorted(self.grid, list(measured)),
            log_speed=np.array([values.mean() for values in relative.values()]),
            boots=np.array([float(len(values)) for values in relative.values()]),
            scatter=float(sum(np.sum((values - values.mean()) ** 2) for values in relative.values())),
            window_variance=np.array([_window_variance(arms, noise) for arms in measured.values()]),
        )
        return infer(np.array(self.grid, dtype=float), self._tokens_per_step(), seen)

    def _tokens_per_step(self) -> list[TokensPerStep]:
        """Hypotheses about tokens per step: one where every level has counters of some n, else guesses."""
        grid = np.array(self.grid, dtype=float)
        found = {concurrency: self._accepted_shares(concurrency) for concurrency in self.shares}
        if not all(found.values()):
            return guessed_tokens_per_step(grid)
        predictions = [(share, tokens_per_step(grid, found[concurrency])) for concurrency, share in self.shares.items()]
        mean = np.sum([share * one.log_mean for share, one in predictions], axis=0)
        covariance = np.sum([share * one.covariance for share, one in predictions], axis=0)
        return [TokensPerStep(mean, covariance)]

    def _accepted_shares(self, concurrency: int) -> dict[int, Array]:
        """P_i by n at one level, averaged over boots."""
        found: dict[int, Array] = {}
        for n, arms in self.measured.items():
            shares = [
                _positions(level.acceptance, n)
                for arm in arms
                for level in arm.levels
                if n > 0 and level.concurrency == concurrency and level.acceptance is not None
            ]
            known = [one for one in shares if len(one)]
            if known:
                shortest = min(len(one) for one in known)
                found[n] = np.mean([one[:shortest] for one in known], axis=0)
        return found


def _positions(acceptance: Acceptance, n: int) -> Array:
    """P_1..P_n as far as counters tell; a mere rate is spread as constant conditional acceptance would."""
    if acceptance.per_position:
        return np.array(acceptance.per_position[:n])
    return np.empty(0) if acceptance.rate is None else geometric(acceptance.rate, n)


def window_noise(arms: Iterable[Arm]) -> float:
    """Standard deviation of log speed between windows of one boot, by the median absolute deviation over all boots."""
    deviations = []
    for arm in arms:
        for level in arm.levels:
            middle = median(level.windows)
            # Windows lie as far from their own median as n-1 of n would from the truth.
            bias = math.sqrt(len(level.windows) / max(1, len(level.windows) - 1))
            deviations += [bias * abs(window - middle) / middle for window in level.windows]
    return averages.MAD_TO_SD * median(deviations) if len(deviations) >= LEAST_WINDOWS else ASSUMED_WINDOW_NOISE


def _window_variance(arms: Sequence[Arm], noise: float) -> float:
    """Variance that the windows leave in the mean over boots; levels of one boot are not taken as independent."""
    fewest = [min(len(level.windows) for level in arm.levels) for arm in arms]
    return TRIMMED_VARIANCE * noise**2 * sum(1 / count for count in fewest) / len(arms) ** 2


def _refuse_unfit(arms: Sequence[Arm], settings: Settings) -> None:
    nodes = sorted({arm.node for arm in arms if arm.node is not None})
    if len(nodes) > 1:
        raise ValueError(f"arms.node: {', '.join(nodes)}: n_spec is never compared across machines")
    allowed = set(settings.n_specs)
    wanted = {level.concurrency for level in settings.levels}
    for index, arm in enumerate(arms):
        if arm.n_spec not in allowed:
            raise ValueError(f"arms.nSpec: {arm.n_spec} is not in settings.nSpecs {sorted(allowed)}")
        if index and (arms[index - 1].n_spec, arms[index - 1].boot) == (arm.n_spec, arm.boot):
            raise ValueError(f"arms.boot: {arm.boot} of n_spec={arm.n_spec} is given twice")
        missing = wanted - {level.concurrency for level in arm.levels}
        if missing and arm.failed is None:
            raise ValueError(f"arms.levels: n_spec={arm.n_spec} lacks concurrency {min(missing)} of settings.levels")
