"""`status.summary`: the state of a model in one or two words, for the column STATUS."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.verdicts import VerdictType
from mtp_operator.api.weights_source import WeightsStatus

from .weights import FETCHING

_ROLLOUTS: Final = {
    "Starting": "Starting",
    "RollingOut": "Rolling out",
    "Replacing": "Rolling out",
    "Paused": "Paused for tuning",
    "OldSettingsServed": "Serving old settings",
}
"""Why Ready is False although nothing is in the way -> what the table says."""

_CHOICES: Final[Mapping[str, str]] = {
    VerdictType.SELECTED: "Serving",
    VerdictType.SPECULATION_OFF: "Off",
    VerdictType.INCONCLUSIVE: "Not proven",
    "Disabled": "Off",
    "Pinned": "Pinned",
    "Suspended": "Suspended",
}
"""Why n_spec is what it is -> what the table says once that is served."""


def summary(
    conditions: Sequence[Condition], run: MTPTuningRun | None, weights: WeightsStatus | None, *, replicas: int
) -> str:
    """The words of the column STATUS.

    Args:
        conditions: of the model, as they are to be written.
        run: that answers the spec, if there is one.
        weights: how far the fetch is, if something is fetched.
        replicas: servers that the spec asks for.
    """
    by_type = {one.type: one for one in conditions}
    ready = by_type[ConditionType.READY]
    cached, tuned = by_type[ConditionType.WEIGHTS_READY], by_type[ConditionType.TUNED]
    if stalled := by_type.get(ConditionType.STALLED):
        return f"Blocked: {stalled.reason}"
    if cached.status is not ConditionStatus.TRUE:
        return _fetching(weights) if cached.reason == FETCHING else f"Waiting: {cached.reason}"
    if tuned.reason == "Tuning":
        return _tuning(run)
    if ready.status is not ConditionStatus.TRUE:
        return _ROLLOUTS.get(ready.reason, f"Waiting: {ready.reason}")
    chosen = _CHOICES.get(tuned.reason)
    if chosen is None:
        failed = run is not None and run.status.verdict is not None
        return "Tuning failed" if failed else f"Waiting: {tuned.reason}"
    return "Tuned" if chosen == "Serving" and not replicas else chosen


def _fetching(weights: WeightsStatus | None) -> str:
    if weights is None or not weights.total_bytes or weights.fetched_bytes is None:
        return "Fetching"
    return f"Fetching {100 * weights.fetched_bytes // weights.total_bytes}%"


def _tuning(run: MTPTuningRun | None) -> str:
    """Trials that ended, of how many at the most, and what one takes: when the run ends, it does not know itself."""
    if run is None:
        return "Tuning"
    counters = run.status.counters
    taken = [one.gpu_seconds / run.spec.accelerator.count for one in run.status.trials if one.gpu_seconds]
    each = f", {_duration(fmean(taken))} each" if taken else ""
    return f"Tuning {counters.measured + counters.failed}/{run.spec.budget.max_trials}{each}"


def _duration(seconds: float) -> str:
    """Such as `45s` or `12m`."""
    return f"{seconds:.0f}s" if seconds < 100 else f"{seconds / 60:.0f}m"
