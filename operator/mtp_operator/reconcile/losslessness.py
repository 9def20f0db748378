"""Whether a trial's output is still the target model's: its own check held against that of n=0.

n=0 is the control: it has the same kernels, the same arithmetic and the same tokenizer, and nothing drafted. What is
wrong there too is no fault of speculation's.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mtp_operator.api.conditions import shorten
from mtp_operator.api.run import TrialOutput, TrialState, TrialStatus
from mtp_operator.api.trial_documents import OutputStatus, StructuredOutput
from mtp_operator.tuner.tails import hypergeometric_at_least

SIGNIFICANCE: Final = 1e-4
"""Probability at which an equal number of violations in both trials is given up."""

ONE_SIDED_95: Final = 1.645
"""Standard deviations below which a normal variable is with a probability of 5 %."""

SHARE_STEPS: Final = 10_000
"""Detection limits are told in steps of one over this."""

OUTPUT_CHANGED: Final = "OutputChanged"
STRUCTURED_OUTPUT_BROKEN: Final = "StructuredOutputBroken"
OUTPUT_UNVERIFIED: Final = "OutputUnverified"


@dataclass(frozen=True)
class Finding:
    """What the output says of a trial."""

    reason: str
    message: str

    @property
    def disqualifies(self) -> bool:
        """Whether the trial is out; else it is only never chosen by itself."""
        return self.reason != OUTPUT_UNVERIFIED


def verify_outputs(trials: Iterable[TrialStatus]) -> tuple[TrialStatus, ...]:
    """The trials, each with what its output says of it.

    All measured trials are judged again, because another trial of n=0 adds to the control. A failed trial stays failed.
    """
    trials = tuple(trials)
    controls = [
        trial.output_check
        for trial in trials
        if trial.n_spec == 0 and trial.state is TrialState.MEASURED and trial.output_check is not None
    ]
    return tuple(_judged(trial, controls) for trial in trials)


def finding(n_spec: int, check: TrialOutput, controls: Sequence[TrialOutput]) -> Finding | None:
    """What speaks against the output of a trial, if anything does.

    Args:
        n_spec: draft tokens per step of the trial.
        check: what was seen of its output.
        controls: the same of each trial of n=0 that was measured.
    """
    if check.status is OutputStatus.UNVERIFIED:
        return Finding(OUTPUT_UNVERIFIED, f"its output could not be checked: {check.message}")
    if n_spec == 0:
        return None
    scored = [control for control in controls if control.status is OutputStatus.SCORED]
    if not scored:
        return Finding(OUTPUT_UNVERIFIED, "its output was scored, but that of n_spec=0, the control, was not")
    return _altered_texts(check, scored) or _violations(check, scored) or _structured(check, scored)


def _altered_texts(check: TrialOutput, controls: Sequence[TrialOutput]) -> Finding | None:
    if not check.altered_texts:
        return None
    altered = f"{check.altered_texts} of {check.texts} answers are not the text of their own tokens"
    if any(control.altered_texts for control in controls):
        return Finding(OUTPUT_UNVERIFIED, f"{altered}; with n_spec=0 some are not either: {_divergence(check)}")
    return Finding(OUTPUT_CHANGED, f"{altered}, with n_spec=0 all are: {_divergence(check)}")


def _violations(check: TrialOutput, controls: Sequence[TrialOutput]) -> Finding | None:
    positions = sum(control.positions for control in controls)
    violations = sum(control.violations for control in controls)
    p = excess_probability(check.violations, check.positions, violations, positions)
    unmatched = check.large_gaps > 0 and not any(control.large_gaps for control in controls)
    fewer = excess_probability(violations, positions, check.violations, check.positions) < SIGNIFICANCE
    if p >= SIGNIFICANCE and not unmatched and not fewer:
        return None
    if fewer:
        return Finding(
            OUTPUT_CHANGED,
            f"{violations} of {positions} tokens are not the model's own choice with n_spec=0, only "
            f"{check.violations} of "
            f"{check.positions} here: speculation ignores what changes the output without it, such as a penalty",
        )
    numbers = (
        f"{check.violations} of {check.positions} tokens are not what the model says without speculation (more than "
        f"{check.tolerance} nats below its own choice, at worst {check.worst_gap}), with n_spec=0 "
        f"{violations} of {positions}"
    )
    return Finding(OUTPUT_CHANGED, f"{numbers}: {_divergence(check)}")


def _structured(check: TrialOutput, controls: Sequence[TrialOutput]) -> Finding | None:
    forms = (
        ("an answer constrained by a JSON schema does not follow it", "json_schema"),
        ("the arguments of a tool call do not follow the tool's schema", "tool_call"),
    )
    for what, field in forms:
        passed_without = any(getattr(control, field) is StructuredOutput.PASSED for control in controls)
        if getattr(check, field) is StructuredOutput.FAILED and passed_without:
            return Finding(STRUCTURED_OUTPUT_BROKEN, f"{what}, with n_spec=0 it does")
    return None


def excess_probability(violations: int, positions: int, control_violations: int, control_positions: int) -> float:
    """How likely it is that chance puts so many of all violations into the trial: Fisher's exact test, one-sided.

    Given the total of violations V over N + M positions, those among the trial's N are hypergeometric:
    P(X >= v) = sum over k >= v of C(N, k) C(M, V - k) / C(N + M, V). Up to the mean the answer is 1: no excess.

    Args:
        violations: v, of the trial.
        positions: N, of the trial.
        control_violations: of n=0, all its trials together.
        control_positions: M, likewise.
    """
    total = violations + control_violations
    return hypergeometric_at_least(violations, positions, total, positions + control_positions)


def detection_limit(check: TrialOutput, controls: Sequence[TrialOutput]) -> float:
    """The smallest share of wrong tokens that is held against a trial with a probability of 95 %.

    Where n=0 shows no violation, one wrong token is enough, if it is wrong by more than noise can be: 3 / positions.
    Else it takes as many violations as chance does not explain, beside those that n=0 has too.
    """
    violations = sum(control.violations for control in controls)
    positions = sum(control.positions for control in controls)
    if not violations:
        return 3 / check.positions
    expected = check.positions * violations // positions
    counts = range(expected, check.positions + 1)

    def is_excess(count: int) -> bool:
        return excess_probability(count, check.positions, violations, positions) < SIGNIFICANCE

    needed = min(expected + bisect_left(counts, True, key=is_excess), check.positions)
    usual = violations / positions

    def is_found(share: float) -> bool:
        """By the normal approximation of the binomial distribution."""
        wrong = usual + share * (1 - usual)
        spread = math.sqrt(check.positions * wrong * (1 - wrong))
        return check.positions * wrong - ONE_SIDED_95 * spread >= needed

    steps = range(1, SHARE_STEPS + 1)
    return bisect_left(steps, True, key=lambda step: is_found(step / SHARE_STEPS)) / SHARE_STEPS


def _divergence(check: TrialOutput) -> str:
    return check.first_divergence or "the first divergence was not recorded"


def _judged(trial: TrialStatus, controls: Sequence[TrialOutput]) -> TrialStatus:
    check = trial.output_check
    if trial.state is not TrialState.MEASURED or check is None:
        return trial
    scored = [control for control in controls if control.positions]
    if trial.n_spec and check.positions and scored:
        check = check.model_copy(update={"detection_limit": f"{detection_limit(check, scored):.4f}"})
    found = finding(trial.n_spec, check, controls)
    update: dict[str, object] = {"output_check": check}
    if found is not None and found.disqualifies:
        update |= {"state": TrialState.FAILED, "reason": found.reason, "message": shorten(found.message)}
    elif trial.reason in (None, OUTPUT_UNVERIFIED):
        update |= {"reason": found and found.reason, "message": found and shorten(found.message)}
    return trial.model_copy(update=update)
