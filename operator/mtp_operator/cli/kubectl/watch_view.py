"""`kubectl mtp watch`: the tree of a tuning with its curve, and lines where there is no terminal."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mtp_operator.api.conditions import parse_time
from mtp_operator.measures.digits import duration
from mtp_operator.report.data import Interval, TrialSummary
from mtp_operator.report.words import minutes

from .documents import StatusDocument
from .explain_view import mark_of, outcome
from .status_view import color_of, is_good
from .text import BAD, BUSY, GOOD, QUIET, counted, heading, short_speedup

_CURVE_COLUMNS: Final = 40
_LABELS_COLUMNS: Final = 40
"""Width of the figures to the left of a curve."""


def watch_view(document: StatusDocument, now: datetime, width: int) -> RenderableType:
    """The tree and the curve as they are now.

    Args:
        document: of the model.
        now: the time, for what is under way.
        width: of the terminal, in columns.
    """
    parts: list[RenderableType] = [
        Text.assemble(
            (document.name, "bold"), f"  {document.namespace}  ", (document.summary, f"bold {color_of(document)}")
        )
    ]
    parts += [Text(f"{fact.label}: {fact.value}", style=QUIET) for fact in document.facts[:2]]
    parts.append(Text())
    parts += _tree(document, now)
    if document.candidates and any(one.speedup for one in document.candidates):
        parts += [heading("Speedup over n_spec=0 (● measured, ○ predicted, 95% CI)"), curve(document, width)]
    return Group(*parts)


def _tree(document: StatusDocument, now: datetime) -> Iterator[Text]:
    conditions = {one.type: one for one in document.conditions}
    for type_, label in (("WeightsReady", "Weights"), ("Tuned", "Tuning"), ("Serving", "Serving")):
        one = conditions.get(type_)
        if one is None:
            continue
        mark, color = ("✔", GOOD) if is_good(one) else ("✖", BAD) if one.action else ("◐", BUSY)
        detail = one.reason
        if type_ == "WeightsReady" and document.weights is not None and not is_good(one):
            detail = f"{100 * document.weights.fetched_bytes // document.weights.total_bytes}% downloaded"
        if type_ == "Tuned" and document.run is not None:
            detail = f"{document.run.name}: {effort(document)}"
        if type_ == "Serving" and document.served_n_spec is not None:
            detail = f"{one.reason}, n_spec={document.served_n_spec}"
        yield Text.assemble((mark, color), f" {label:<9}{detail}")
        if type_ == "Tuned":
            yield from (_branch(trial, now) for trial in document.trials)

    stalled = conditions.get("Stalled")
    if stalled is not None and not is_good(stalled):
        yield Text.assemble(("\n✖ ", BAD), (f"{stalled.reason}: ", "bold"), stalled.message)
        yield Text.assemble(("What to do: ", "bold"), stalled.action or "See the message.")


def effort(document: StatusDocument) -> str:
    """How far the run is, what it took, and what it may still take."""
    run = document.run
    if run is None:
        return ""
    took, most = run.effort, run.effort.max_gpu_minutes
    spent = f"{minutes(took.gpu_seconds)} of GPU time" + (f" of at most {most} min" if most else "")
    words = f"{took.ended} of up to {counted(took.max_trials, 'trial')}, {spent}"
    if run.verdict != "Running" or took.seconds_per_trial is None:
        return words
    return f"{words}, about {duration(took.seconds_per_trial)} a trial"


def _branch(trial: TrialSummary, now: datetime) -> Text:
    mark, color = mark_of(trial)
    words = outcome(trial)
    if trial.state in ("Running", "Ending", "Planned"):
        since = f" for {duration((now - parse_time(trial.started_at)).total_seconds())}" if trial.started_at else ""
        words = f"{trial.state.lower()}{since}" + (f": {trial.rationale}" if trial.rationale else "")
    return Text.assemble(
        ("│  ", QUIET), (mark, color), f" n_spec={trial.n_spec:<3} {words}", overflow="ellipsis", no_wrap=True
    )


def curve(document: StatusDocument, width: int) -> Table:
    """One row for each n_spec: its interval as a line, its estimate as a dot."""
    points: dict[int, tuple[Interval, bool]] = {0: (Interval(estimate=1, low=1, high=1), True)}
    points |= {one.n_spec: (one.speedup, True) for one in document.candidates if one.speedup}
    points |= {one.n_spec: (one.speedup, False) for one in document.predictions}
    least = min(interval.low for interval, _ in points.values())
    most = max(interval.high for interval, _ in points.values())
    columns = max(16, min(_CURVE_COLUMNS, width - _LABELS_COLUMNS))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for n_spec, (interval, is_measured) in sorted(points.items()):
        chosen = document.run is not None and document.run.n_spec == n_spec
        figures = "1.00x" if n_spec == 0 else short_speedup(interval)
        line = _line(interval, least, most, columns, "●" if is_measured else "○")
        style = GOOD if chosen else None if is_measured else QUIET
        table.add_row(str(n_spec), figures, line, style=style)
    return table


def _line(interval: Interval, least: float, most: float, columns: int, dot: str) -> str:
    def column(value: float) -> int:
        return round((value - least) / ((most - least) or 1) * (columns - 1))

    first, middle, last = (column(value) for value in (interval.low, interval.estimate, interval.high))
    line = [" "] * columns
    line[first : last + 1] = "─" * (last - first + 1)
    line[middle] = dot
    return "".join(line).rstrip()


def watch_lines(before: StatusDocument | None, after: StatusDocument) -> Iterator[str]:
    """What has newly happened, one line each, for logs and pipes."""
    if before is None or before.summary != after.summary:
        yield f"{after.name}: {after.summary}"
    known = set() if before is None else {(one.n_spec, one.state, one.started_at) for one in before.trials}
    for one in after.trials:
        if (one.n_spec, one.state, one.started_at) not in known:
            yield f"{after.name}: trial of n_spec={one.n_spec}: {outcome(one)}"
    had_verdict = before is not None and before.run is not None and before.run.verdict != "Running"
    if after.run is not None and after.run.verdict != "Running" and not had_verdict:
        yield f"{after.name}: {after.run.verdict}: {after.run.message}"


def is_settled(document: StatusDocument) -> bool:
    """Whether nothing more is about to happen: Ready without a run under way, or blocked."""
    holds = {one.type: one.status == "True" for one in document.conditions}
    is_running = document.run is not None and document.run.verdict == "Running"
    return bool(holds.get("Stalled")) or (bool(holds.get("Ready")) and not is_running)
