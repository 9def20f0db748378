"""Two runs side by side."""

import math
from collections.abc import Callable, Iterator
from typing import Final

from mtp_operator.report.data import Candidate, Interval, ReportData
from mtp_operator.report.words import minutes, number, percent, speedup

from .documents import CompareDocument, ComparisonRow

_Z_95: Final = 1.96
_NOT_COMPARED: Final = frozenset({"Request hash", "Fingerprint"})
"""Facts that differ wherever another one does."""


def compare_document(left: ReportData, right: ReportData) -> CompareDocument:
    """What the second run found against the first.

    Args:
        left: the older or plainer one.
        right: the other.
    """
    return CompareDocument(
        left=left.name,
        right=right.name,
        rows=tuple(_rows(left, right)),
        differences=tuple(_differences(left, right)),
    )


def _rows(left: ReportData, right: ReportData) -> Iterator[ComparisonRow]:
    both = (left, right)

    def row(label: str, words: Callable[[ReportData], str]) -> ComparisonRow:
        return ComparisonRow(label=label, left=words(left), right=words(right))

    yield row("Verdict", lambda data: data.verdict.type)
    yield row("Chosen n_spec", lambda data: _text(data.verdict.n_spec))
    yield row("Speedup", lambda data: speedup(data.verdict.speedup) if data.verdict.speedup else "-")
    chosen = [_candidate(data, data.verdict.n_spec) for data in both]
    yield _speeds("tok/s at the choice", chosen, both)
    yield _speeds("tok/s at n_spec=0", [_candidate(data, 0) for data in both], both)
    yield row("Acceptance length", lambda data: _length(_candidate(data, data.verdict.n_spec)))
    yield row("Acceptance by position", _positions)
    yield row("Trials measured", lambda data: str(data.cost.measured))
    yield row("GPU time", lambda data: minutes(data.cost.gpu_seconds))


def _speeds(label: str, candidates: list[Candidate | None], both: tuple[ReportData, ReportData]) -> ComparisonRow:
    speeds = [one.output_tokens_per_second if one is not None else None for one in candidates]
    words = [number(speed) if speed else "-" for speed in speeds]
    before, after = speeds
    if not before or not after:
        return ComparisonRow(label=label, left=words[0], right=words[1])
    change = _change(before, after, candidates, both)
    return ComparisonRow(
        label=label, left=words[0], right=words[1], change=_percents(change), is_noise=change.low <= 0 <= change.high
    )


def _change(
    before: float, after: float, candidates: list[Candidate | None], both: tuple[ReportData, ReportData]
) -> Interval:
    """The change as a share, with the interval that the noise between trials gives it."""
    variances = [
        (data.noise.share if data.noise else 0.0) ** 2 / max(1, one.trials if one is not None else 1)
        for data, one in zip(both, candidates, strict=True)
    ]
    middle, half = math.log(after / before), _Z_95 * math.sqrt(sum(variances))
    ends = (math.expm1(value) for value in (middle, middle - half, middle + half))
    estimate, low, high = ends
    return Interval(estimate=estimate, low=low, high=high)


def _percents(change: Interval) -> str:
    """No more decimals than the interval carries."""
    digits = 1 if change.high - change.low < 0.1 else 0
    return f"{change.estimate:+.{digits}%} (95% CI {change.low:+.{digits}%} to {change.high:+.{digits}%})"


def _candidate(data: ReportData, n_spec: int | None) -> Candidate | None:
    return next((one for one in data.candidates if one.n_spec == n_spec), None)


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)


def _length(one: Candidate | None) -> str:
    return f"{one.acceptance_length:.2f}" if one is not None and one.acceptance_length else "-"


def _positions(data: ReportData) -> str:
    positions = data.acceptance[0].positions if data.acceptance else ()
    return " ".join(percent(one.share) for one in positions[:4]) or "-"


def _differences(left: ReportData, right: ReportData) -> Iterator[ComparisonRow]:
    """What was measured differently."""
    known = [{fact.label: fact.value for fact in data.provenance} for data in (left, right)]
    for label in dict.fromkeys([*known[0], *known[1]]):
        values = [facts.get(label, "-") for facts in known]
        if values[0] != values[1] and label not in _NOT_COMPARED:
            yield ComparisonRow(label=label, left=values[0], right=values[1])
