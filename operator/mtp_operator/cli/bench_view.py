"""The tables of `mtp bench`: a row for each metric, a column for each concurrency."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from mtp_operator.api.trial_documents import Latencies, LatencySummary, LevelResult
from mtp_operator.bench.request_list import ListResult
from mtp_operator.bench.steady import standard_error
from mtp_operator.measures.averages import typical

from .tables import metrics_table

_Row = tuple[str, Sequence[str]]


def levels_table(levels: Sequence[LevelResult]) -> Table:
    """What was measured at each level."""
    return metrics_table("concurrency", [str(one.concurrency) for one in levels], _level_rows(levels))


def lists_table(results: Sequence[ListResult]) -> Table:
    """What sending a list of requests gave, at each concurrency."""
    return metrics_table("concurrency", [str(one.concurrency) for one in results], _list_rows(results))


def _level_rows(levels: Sequence[LevelResult]) -> Iterator[_Row]:
    yield "output tokens/s", [f"{typical(one.windows):.1f}" if one.windows else "" for one in levels]
    yield "  95% interval", [_interval(one.windows) for one in levels]
    yield "requests", [str(one.requests) for one in levels]
    yield "  failed", [str(one.failed_requests) for one in levels]
    yield "  ended by EOS", [_ended_by_eos(one) for one in levels]
    yield "acceptance length", [_per_draft(1, one.accepted_tokens, one.drafts) for one in levels]
    for index in range(max((len(one.accepted_per_position) for one in levels), default=0)):
        yield f"  accepted at position {index + 1}", [_accepted(one, index) for one in levels]
    yield from _latency_rows([one.latencies for one in levels])
    for name in sorted({name for one in levels for name in one.categories}):
        speeds = [one.categories.get(name) for one in levels]
        yield f"{name} request, tokens/s", ["" if speed is None else f"{speed:.1f}" for speed in speeds]


def _list_rows(results: Sequence[ListResult]) -> Iterator[_Row]:
    yield "output tokens/s", [f"{one.output_tokens_per_second:.1f}" for one in results]
    yield "output tokens", [str(one.output_tokens) for one in results]
    yield (
        "  as the engine counts",
        ["" if one.generated_tokens is None else str(one.generated_tokens) for one in results],
    )
    yield "requests", [str(one.requests) for one in results]
    yield "  failed", [str(one.failed_requests) for one in results]
    yield "seconds", [f"{one.seconds:.2f}" for one in results]
    yield from _latency_rows([one.latencies for one in results])


def _interval(windows: Sequence[float]) -> str:
    return f"±{1.96 * standard_error(windows):.1%}" if len(windows) > 1 else ""


def _ended_by_eos(level: LevelResult) -> str:
    completed = level.requests - level.failed_requests
    return f"{level.ended_by_eos / completed:.0%}" if completed else ""


def _accepted(level: LevelResult, index: int) -> str:
    counts = level.accepted_per_position
    return _per_draft(0, counts[index], level.drafts) if index < len(counts) else ""


def _per_draft(beside: int, accepted: int | None, drafts: int | None) -> str:
    return f"{beside + (accepted or 0) / drafts:.2f}" if drafts else ""


def _latency_rows(latencies: Sequence[Latencies | None]) -> Iterator[_Row]:
    reported = [one or Latencies() for one in latencies]
    yield from _summary_rows("time to first token", [one.time_to_first_token for one in reported])
    yield from _summary_rows("time per output token", [one.time_per_output_token for one in reported])
    yield from _summary_rows("request latency", [one.request_latency for one in reported])


def _summary_rows(name: str, summaries: Sequence[LatencySummary | None]) -> Iterator[_Row]:
    for index, label in enumerate((f"{name}, mean ms", "  P50", "  P95", "  P99")):
        yield label, ["" if one is None else _milliseconds(one[index]) for one in summaries]


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
