"""The tables of `mtp replay`."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from mtp_operator.tuner.replay import Curve, Run, Summary, log_speed

from .tables import figures_table


def curve_table(curve: Curve, runs: Sequence[Run]) -> Table:
    """The tunings of one curve, beside what was recorded."""
    title = f"{curve.name}: n_spec={curve.best} is the fastest"
    headings = ("chosen n_spec", "verdict", "regret", "speedup", "recorded", "trials")
    table = figures_table(*headings, text=("trials",), title=title)
    for run in runs:
        if run.curve is curve and run.verdict is not None:
            gain = run.verdict.speedup
            table.add_row(
                str(run.n_spec),
                run.verdict.type.value,
                f"{run.regret:.2%}",
                f"{gain.estimate:.2f} ({gain.low:.2f}-{gain.high:.2f})" if gain else "",
                f"{run.true_speedup:.2f}",
                " ".join(str(n) for n in run.trace),
            )
    return table


def strategies_table(summaries: Mapping[str, Summary]) -> Table:
    """All runs of each strategy."""
    headings = (
        "strategy",
        "trials\nper run",
        "of two\nsweeps",
        "mean\nregret",
        "p99",
        "worst",
        "wrongly\non",
        "coverage",
    )
    table = figures_table(*headings, text=("strategy",))
    for name, one in summaries.items():
        table.add_row(
            name,
            f"{one.mean_boots:.2f}",
            f"{one.share_of_double_sweep:.1%}",
            f"{one.mean_regret:.3%}",
            f"{one.p99_regret:.2%}",
            f"{one.worst_regret:.2%}",
            "" if one.wrongly_on is None else f"{one.wrongly_on:.1%}",
            "" if one.interval_coverage is None else f"{one.interval_coverage:.1%}",
        )
    return table


def steps_table(run: Run) -> Table:
    """Each boot of one tuning: what was expected of it, what it showed, and why it was made."""
    headings = ("trial", "n_spec", "predicted speedup", "measured", "recorded", "why")
    table = figures_table(*headings, text=("why",), title=run.curve.name)
    first = log_speed(run.steps[0][1]) if run.steps else 0.0
    for count, (measure, arm) in enumerate(run.steps, start=1):
        expected = measure.predicted
        table.add_row(
            str(count),
            str(measure.n_spec),
            f"{expected.estimate:.3f} ({expected.low:.3f}-{expected.high:.3f})" if expected else "",
            f"{math.exp(log_speed(arm) - first):.3f}",
            f"{run.curve.speed(measure.n_spec) / run.curve.speed(run.curve.baseline):.3f}",
            measure.why,
        )
    return table
