"""The policy: which boot comes next, or the verdict.

1. The baseline is booted first, then the n that a person wants compared first, then the largest: its counters tell the
   acceptance of every position. A baseline that failed is tried again after that.
2. A boot is worth it while its knowledge gradient exceeds its cost; the worthiest comes first. Repeats of the baseline
   come last, so that drift of the machine shows between its first and its last boot.
3. The smallest n that is expected to lose next to nothing against the best is the choice.
4. The baseline and the choice are repeated, in turn, while the advantage could be noise; with the last boots of a
   budget before anything else, if that gains more.
5. The baseline, which all is divided by, is booted twice before anything is claimed, and a third time if the two boots
   disagree; once is enough only where no jump of a machine explains the ratio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

from mtp_operator.measures import digits

from .beliefs import gain_by_proof, knowledge_gradient, noise_between_boots, probability_of_loss, speedup
from .constraints import Outcome
from .curve import Posterior
from .evidence import NEGLIGIBLE_LOSS, Evidence
from .tuner_records import Arm, Measure, Settings, Verdict
from .verdict import conclude, drift, without_baseline

COST_OF_SWEEP = 0.0095
"""What one boot of every n from the lowest to the highest is taken to cost, in log speed; a boot costs its share."""
PROOF_Z, SCEPTIC_SD = 1.9, 0.05
"""Speculation is switched on only if a sceptic is convinced, whose prior of the advantage in log speed is
N(0, SCEPTIC_SD^2): the z that this takes is high after few noisy boots and falls towards PROOF_Z, so that looking after
every boot does little harm (Spiegelhalter, Freedman and Parmar 1994, "Bayesian approaches to randomized trials"). The
best of several n was picked by chance, too: the probability of a loss that is still accepted is divided by how many
were measured (Bonferroni; Dunn 1961, "Multiple comparisons among means"). Calibrated so that of curves on which
speculation gives nothing 5 % at most are switched on (tests/perf/tuner_judge.py, family `flat`)."""
PROOF_COST = 0.002
"""Cost of one boot in log speed while an advantage is being proven."""
LAST_BOOTS = 2
"""Of a budget: they go to the proof where that is expected to gain more than looking further. One more boot of the
baseline and one of the choice are as a rule what it takes, and an advantage without a proof is lost."""

BEYOND_DOUBT = math.log(1.5)
"""A log ratio that one odd boot of the baseline does not explain: one slow by 20 % (machines were seen to slow down by
15-19 % by their clocks) and, on top, two standard deviations of a ratio of single boots at 7 % noise."""

NORMAL = NormalDist()


def next_step(arms: Sequence[Arm], settings: Settings) -> Measure | Verdict:
    """The next boot that is worth its cost, or the verdict that the arms support.

    Deterministic; the order of the arms does not matter.

    Args:
        arms: every boot of this run so far, failed ones too, all of one node.
        settings: the n allowed, the levels, the budget.

    Raises:
        ValueError: the arms do not fit the settings; the message names the field.
    """
    evidence = Evidence.of(arms, settings)
    opening = _opening(evidence)
    if opening is not None and evidence.affordable():
        return opening
    if settings.baseline not in evidence.measured:
        return without_baseline(evidence)
    state = _State(evidence, evidence.posterior())
    proposal = state.proposal()
    if proposal is not None and evidence.affordable():
        return proposal
    return conclude(
        evidence,
        state.posterior,
        state.choice,
        is_proven=state.is_proven,
        is_confirmed=state.is_confirmed,
        prevented=proposal,
    )


def _opening(evidence: Evidence) -> Measure | None:
    """What every run begins with: the baseline, the n to compare first, the largest, a failed baseline again."""
    baseline, largest = evidence.settings.baseline, max(evidence.settings.n_specs)
    first = evidence.settings.first_n_spec
    first = baseline if first is None else first
    attempts = evidence.attempts(baseline)
    if not attempts:
        return Measure(n_spec=baseline, boot=0, why=f"n_spec={baseline}, the baseline")
    is_missing = baseline not in evidence.measured
    if is_missing and evidence.is_baseline_given_up:
        return None
    if not evidence.attempts(first):
        return Measure(n_spec=first, boot=0, why=f"n_spec={first}, to be compared with the baseline first")
    known = attempts + (evidence.attempts(first) if first != baseline else 0)
    if known == len(evidence.arms) and largest not in (baseline, first):
        return Measure(
            n_spec=largest, boot=0, why=f"n_spec={largest}, the largest: it shows the acceptance at every position"
        )
    if is_missing:
        failed = evidence.failed[baseline]
        return Measure(
            n_spec=baseline, boot=attempts, why=f"n_spec={baseline}, the baseline, again: it failed ({failed})"
        )
    return None


@dataclass(frozen=True)
class _State:
    """What is known, and what follows from it. Points are positions in the grid."""

    evidence: Evidence
    posterior: Posterior

    @cached_property
    def eligible(self) -> list[int]:
        return [point for point, n in enumerate(self.evidence.grid) if self.evidence.eligible(n)]

    @cached_property
    def choice(self) -> int:
        """The smallest eligible n whose expected loss against the best is negligible."""
        mean = self.posterior.mean
        best = max(mean[point] for point in self.eligible)
        return next(point for point in self.eligible if mean[point] >= best - NEGLIGIBLE_LOSS)

    @cached_property
    def is_proven(self) -> bool:
        """Whether the choice is faster than the baseline beyond doubt."""
        convincing = self._required_z(_ratio_variance(self.boots(self.choice), self.boots(0)))
        return probability_of_loss(self.posterior, self.choice) <= NORMAL.cdf(-convincing)

    @cached_property
    def is_confirmed(self) -> bool:
        """Whether what is said of the choice does not hang on a single boot of the baseline."""
        return self.boots(0) > 1 or self._is_beyond_doubt

    @property
    def _is_beyond_doubt(self) -> bool:
        """Whether the choice is so much faster, or all that may be chosen so much slower, that no jump explains it."""
        ahead = self.posterior.mean - self.posterior.mean[0]
        if self.choice:
            return bool(ahead[self.choice] > BEYOND_DOUBT)
        others = [point for point in range(1, len(ahead)) if point in self.eligible or not self.boots(point)]
        return all(ahead[point] < -BEYOND_DOUBT for point in others)

    def boots(self, point: int) -> int:
        return self.evidence.boots(self.evidence.grid[point])

    @property
    def left(self) -> int:
        """Boots that the budget still allows."""
        return self.evidence.settings.max_trials - len(self.evidence.arms)

    def proposal(self) -> Measure | None:
        """The next boot that would be worth it, if the budget allowed."""
        look, proof, again = self._worth_knowing(), self._needs_proof(), self._needs_baseline()
        if look is None:
            return proof or again
        if again is not None and self.left == 1 and len(self.eligible) > 1:
            return again
        gain, point = look
        if proof is not None and self._proves_first(gain):
            return proof
        return self._measure(point, f"expected to improve the choice by {gain:.1%}", gain)

    def _proves_first(self, gain: float) -> bool:
        """Whether the last boots gain more by a proof than by looking further."""
        return not self.is_proven and 0 < self.left <= LAST_BOOTS and self._gain_by_proof(self.left) > gain

    def _worth_knowing(self) -> tuple[float, int] | None:
        """How much log speed the next boot of which point is expected to gain, if that is worth its cost."""
        grid, n_specs = self.evidence.grid, self.evidence.settings.n_specs
        cost = COST_OF_SWEEP / (max(n_specs) - min(n_specs) + 1)
        slower = self.evidence.slower_somewhere
        above = [
            point
            for point in range(1, len(grid))
            if point in self.eligible or not (self.boots(point) or grid[point] in slower)
        ]
        for candidates in (above, [0]):
            gains = {
                point: self.evidence.can_boot(grid[point]) * knowledge_gradient(self.posterior, point, self.eligible)
                for point in candidates
            }
            point = max(gains, key=lambda point: (gains[point], -point), default=0)
            if gains.get(point, 0.0) > cost:
                return gains[point], point
        return None

    def _needs_proof(self) -> Measure | None:
        if self.choice == 0:
            return None
        n, baseline = self.evidence.grid[self.choice], self.evidence.grid[0]
        # The baseline first: of the choice its neighbours tell something, too.
        point = 0 if self.boots(0) <= self.boots(self.choice) else self.choice
        if self.evidence.constraints(n) is Outcome.UNKNOWN:
            return self._measure(self.choice, "too few requests so far to show whether it keeps the latency limits")
        if self.is_proven or self._is_proof_too_dear() or (point == 0 and self.evidence.is_baseline_given_up):
            return None
        return self._measure(point, f"not certain yet whether n_spec={n} is faster than n_spec={baseline}")

    def _needs_baseline(self) -> Measure | None:
        """One more boot of what all is compared with, if any claim would hang on one boot or on two that disagree."""
        if self.evidence.is_baseline_given_up:
            return None
        if not self.is_confirmed:
            return self._measure(0, "every speedup depends on the baseline, which has one trial only")
        if self.boots(0) == 2 and drift(self.evidence):
            return self._measure(0, "the two trials of the baseline differ by more than run-to-run noise explains")
        return None

    def _is_proof_too_dear(self) -> bool:
        """Whether no number of further boots is expected to gain by a proof what they cost.

        Asked once both were repeated: before that the noise between boots is a guess.
        """
        if min(self.boots(self.choice), self.boots(0)) == 1:
            return False
        return all(self._gain_by_proof(more) <= more * PROOF_COST for more in range(1, self.left + 1))

    def _gain_by_proof(self, more: int) -> float:
        """Log speed that a proof after so many boots more, in turn, is expected to gain."""
        ours, theirs = self.boots(self.choice), self.boots(0)
        now = _ratio_variance(ours, theirs)
        for _ in range(more):
            ours, theirs = (ours, theirs + 1) if theirs <= ours else (ours + 1, theirs)
        after = _ratio_variance(ours, theirs)
        required_z = self._required_z(after) * math.sqrt(after)
        return gain_by_proof(self.posterior, self.choice, required_z, math.sqrt(now - after))

    def _required_z(self, ratio_variance: float) -> float:
        """Standard errors by which the choice, the best of all n measured, must be faster to be believed."""
        compared = max(1, len(self.evidence.measured) - 1)
        return _convincing_z(ratio_variance, noise_between_boots(self.posterior), compared)

    def _measure(self, point: int, reason: str, gain: float | None = None) -> Measure:
        n = self.evidence.grid[point]
        boots = self.boots(point)
        predicted = speedup(self.posterior, point) if point else None
        expected = (
            f"predicted {digits.with_interval(predicted.estimate, predicted.low, predicted.high)}, "
            if predicted
            else ""
        )
        return Measure(
            n_spec=n,
            boot=self.evidence.attempts(n),
            why=f"n_spec={n}{' again' if boots else ''}: {expected}{reason}",
            predicted=predicted,
            gain=gain,
        )


def _convincing_z(ratio_variance: float, noise: float, compared: int) -> float:
    """Standard errors that the advantage of the best of so many n must have, at so much noise between boots."""
    sceptical = PROOF_Z * math.sqrt(1 + ratio_variance * (noise / SCEPTIC_SD) ** 2)
    return -NORMAL.inv_cdf(NORMAL.cdf(-sceptical) / compared)


def _ratio_variance(ours: int, theirs: int) -> float:
    """Variance of the log of the ratio of two means over boots; unit: variance of one boot."""
    return 1 / ours + 1 / theirs
