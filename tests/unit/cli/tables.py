"""The commands' tables at 80 columns, kept in files so that every cut or moved figure is seen.

python -m tests.unit.cli.tables     (part of `make generate`)
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType

from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.trial_documents import Latencies, LatencySummary, LevelResult
from mtp_operator.bench.request_list import ListResult
from mtp_operator.cli.bench_view import levels_table, lists_table
from mtp_operator.cli.replay_view import curve_table, steps_table, strategies_table
from mtp_operator.cli.tune_view import candidates_table
from mtp_operator.report.extract import report_data
from mtp_operator.tuner.replay import Curve, Run, Summary
from mtp_operator.tuner.tuner_records import Arm, LevelMeasurement, Measure, Speedup, Verdict, VerdictType
from tests.unit.report.runs import RUNS

GOLDEN = Path(__file__).parent / "tables"

COLUMNS = 80
"""Of a terminal as it is opened."""

CURVE = Curve(
    "gemma-4-31b-it-fp8-block-on-an-rtx-pro-6000-blackwell-server-edition-with-vllm",
    {
        n_spec: {1: LevelMeasurement(concurrency=1, windows=(speed,), acceptance=None)}
        for n_spec, speed in {0: 1039.9, 3: 3110.4, 16: 2907.3}.items()
    },
)


def bench() -> RenderableType:
    """Four levels with all that an engine can tell, and one with nothing."""
    return levels_table([_level(concurrency) for concurrency in (1, 64, 1024)] + [_silent()])


def bench_requests() -> RenderableType:
    """A list that was sent at four concurrencies."""
    return lists_table(
        [
            ListResult(
                concurrency=concurrency,
                requests=123_456,
                failed_requests=concurrency,
                seconds=123_456.78 / concurrency,
                output_tokens=98_765_432,
                generated_tokens=98_765_440 if concurrency == 1 else None,
                output_tokens_per_second=12_345.6 * concurrency,
                latencies=_latencies(concurrency),
            )
            for concurrency in (1, 8, 64, 512)
        ]
    )


def replay() -> RenderableType:
    """A curve with a long name, tuned twice, and strategies at their worst."""
    runs = [_run(0, 3, (0, 16, 3)), _run(1, 16, (0, 16, 3, 16, 0, 3, 16, 16, 3, 0, 3, 16))]
    worst = Summary(
        runs=2,
        mean_boots=24.25,
        share_of_double_sweep=1.4712,
        mean_regret=0.01234,
        p99_regret=0.5555,
        worst_regret=0.9999,
        wrongly_on=1,
        interval_coverage=1,
    )
    unknown = worst.model_copy(update={"wrongly_on": None, "interval_coverage": None})
    return Group(curve_table(CURVE, runs), strategies_table({"tuner": worst, "everyValueTwice": unknown}))


def replay_explain() -> RenderableType:
    """Why each boot of a tuning was made."""
    return steps_table(_run(0, 3, (0, 16, 3)))


def tune() -> RenderableType:
    """A curve with failed trials."""
    return candidates_table(report_data(MTPTuningRun.from_wire(RUNS["levels"]())).candidates)


TABLES: Mapping[str, Callable[[], RenderableType]] = {
    "bench": bench,
    "bench-requests": bench_requests,
    "replay": replay,
    "replay-explain": replay_explain,
    "tune": tune,
}


def rendered(name: str, columns: int = COLUMNS) -> str:
    """A table as a terminal of this width shows it, but for its colors and the blanks at the end of lines."""
    file = io.StringIO()
    Console(file=file, width=columns, color_system=None, force_terminal=False).print(TABLES[name]())
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _level(concurrency: int) -> LevelResult:
    windows = tuple(12_345.6 * concurrency + step for step in range(4))
    return LevelResult(
        concurrency=concurrency,
        windows=windows,
        requests=98_765,
        failed_requests=concurrency,
        ended_by_eos=4_321,
        output_tokens=9_876_543,
        drafts=1_000_000,
        draft_tokens=3_000_000,
        accepted_tokens=2_340_000,
        accepted_per_position=(920_000, 810_000, 610_000)[: min(3, concurrency)],
        categories={"Chat": 12_345.6, "Code": 1_234.5, "AsLongAsTheyGet1": 0.5},
        latencies=_latencies(concurrency),
    )


def _silent() -> LevelResult:
    return LevelResult(concurrency=2048, windows=(), requests=12, failed_requests=12, output_tokens=0)


def _latencies(concurrency: int) -> Latencies:
    each = LatencySummary(0.5312 * concurrency, 0.4987 * concurrency, 12.345 * concurrency, 1234.567 * concurrency)
    return Latencies(time_to_first_token=each, time_per_output_token=each, request_latency=each)


def _run(repeat: int, n_spec: int, trace: tuple[int, ...]) -> Run:
    steps = tuple(
        (
            Measure(
                n_spec=n,
                boot=trace[:index].count(n),
                why=f"n_spec={n}: predicted 2.41x (95% CI 2.10-2.83), expected to improve the choice by 1.2%",
                predicted=Speedup(estimate=2.4101, low=2.1002, high=2.8303) if n else None,
            ),
            Arm(n_spec=n, boot=trace[:index].count(n), levels=tuple(CURVE.points[n].values())),
        )
        for index, n in enumerate(trace)
    )
    verdict = Verdict(
        type=VerdictType.SPECULATION_OFF if repeat else VerdictType.SELECTED,
        n_spec=n_spec,
        speedup=Speedup(estimate=12.345, low=11.234, high=13.456),
        message="",
    )
    return Run(CURVE, repeat, n_spec, trace, steps, verdict)


def main() -> None:
    """Rewrites every file."""
    GOLDEN.mkdir(exist_ok=True)
    for name in TABLES:
        (GOLDEN / f"{name}.txt").write_text(rendered(name))


if __name__ == "__main__":
    main()
