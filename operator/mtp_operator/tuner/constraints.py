"""Constraints on latency, judged by binomial bounds: pass, fail, or not known yet."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from mtp_operator.measures.quantities import LatencyConstraint

from .tails import binomial_tails
from .tuner_records import Arm

CONFIDENCE = 0.95
LEAST_REQUESTS = 60
"""0.95^60 < 0.05: fewer requests cannot show that 95 % stay within a limit, even if all do."""


class Outcome(StrEnum):
    """Whether a constraint is met."""

    PASS = "Pass"  # noqa: S105 (an outcome, no password)
    FAIL = "Fail"
    UNKNOWN = "Unknown"


def quantile_within(requests: int, exceeding: int, quantile: float) -> Outcome:
    """Whether a quantile of a latency lies within its limit.

    The number of requests over the limit is binomial. PASS if so few would exceed with probability <= 5 % were the
    quantile at the limit, FAIL if so many would (one-sided exact bounds: Clopper and Pearson 1934).
    """
    if requests < LEAST_REQUESTS:
        return Outcome.UNKNOWN
    few, many = binomial_tails(requests, exceeding, 1 - quantile)
    if few <= 1 - CONFIDENCE:
        return Outcome.PASS
    return Outcome.FAIL if many <= 1 - CONFIDENCE else Outcome.UNKNOWN


def judged(constraints: Iterable[LatencyConstraint], arms: Sequence[Arm]) -> Outcome:
    """All constraints on the boots of one n together: FAIL if one fails, UNKNOWN if one is not known."""
    outcomes = [_judged_one(constraint, arms) for constraint in constraints]
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL
    return Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes else Outcome.PASS


def _judged_one(constraint: LatencyConstraint, arms: Sequence[Arm]) -> Outcome:
    counts = [
        count
        for arm in arms
        for level in arm.levels
        if level.concurrency == constraint.concurrency
        for count in level.latencies
        if count.is_of(constraint)
    ]
    return quantile_within(
        sum(count.requests for count in counts), sum(count.exceeding for count in counts), constraint.quantile
    )
