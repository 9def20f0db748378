"""What `mtp tune` shows: a live view in a terminal, plain lines elsewhere, and the conclusion in both."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Final

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mtp_operator.api.run import MTPTuningRun, TrialStatus
from mtp_operator.api.trial_documents import SIMULATED
from mtp_operator.local.tuning import Watch
from mtp_operator.reconcile.plan import EventDraft
from mtp_operator.report.data import Candidate, ReportData
from mtp_operator.report.extract import report_data
from mtp_operator.report.words import headline, number, speedup

from .tables import figures_table

_FILE_WIDTH: Final = 100
"""Columns where the output is not a terminal."""

_BAR_COLUMNS: Final = 24


@contextmanager
def view(run: MTPTuningRun, folder: Path) -> Iterator[Watch]:
    """The view of a tuning that begins, or is continued.

    Args:
        run: as it is now.
        folder: where its evidence gathers.
    """
    console = _console()
    counted = run.status.counters.measured + run.status.counters.failed
    verb = f"Continuing {run.spec.model_name} after {counted} trials" if counted else f"Tuning {run.spec.model_name}"
    _say(console, f"{verb} with {escape(run.spec.engine.image or '')}; evidence: {folder}")
    if not console.is_terminal:
        yield PlainView(console)
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield LiveView(console, live)


class PlainView:
    """One line for each thing that happens."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._begin = clock()

    def wrote(self, run: MTPTuningRun, events: tuple[EventDraft, ...]) -> None:
        """See `Watch.wrote`. The verdict is left to the conclusion."""
        if run.status.verdict is not None:
            events = tuple(event for event in events if event.reason in ("TrialMeasured", "TrialFailed"))
        for event in events:
            seconds = self._clock() - self._begin
            said = escape(event.message)
            mark = "! " if event.type == "Warning" else ""
            _say(self._console, f"{_time(seconds):>6}  {mark}{said}")

    def waiting(self, run: MTPTuningRun, trial: TrialStatus, seconds: float) -> None:
        """See `Watch.waiting`: nothing has happened."""


class LiveView(PlainView):
    """The same lines, and below them the curve so far, what is being measured and why, and the time left."""

    def __init__(self, console: Console, live: Live, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._live = live
        self._curve: RenderableType = ""

    def wrote(self, run: MTPTuningRun, events: tuple[EventDraft, ...]) -> None:
        """See `Watch.wrote`."""
        super().wrote(run, events)
        if events or not self._curve:
            self._curve = candidates_table(report_data(run).candidates)

    def waiting(self, run: MTPTuningRun, trial: TrialStatus, seconds: float) -> None:
        """See `Watch.waiting`."""
        why = f"Now: {trial.rationale}, {_time(seconds)} so far"
        self._live.update(Group(self._curve, escape(why), escape(time_left(run, seconds))), refresh=True)


def time_left(run: MTPTuningRun, seconds: float) -> str:
    """How much longer it may take, in words.

    Args:
        run: as it is now.
        seconds: of the trial under way.
    """
    counters, most = run.status.counters, run.spec.budget.max_trials
    ended = counters.measured + counters.failed
    taken = [trial.gpu_seconds / run.spec.accelerator.count for trial in run.status.trials if trial.gpu_seconds]
    if not taken:
        return f"Trial {ended + 1} of at most {most}"
    each = fmean(taken)
    left = max(0.0, each - seconds)
    longest = left + each * max(0, most - ended - 1)
    return (
        f"Trial {ended + 1} of at most {most}; time left: about {_time(left)} for this one, at most {_time(longest)} "
        "in all; most curves need three to eight trials"
    )


def candidates_table(candidates: tuple[Candidate, ...]) -> Table:
    """The curve so far: one row for each n_spec."""
    table = figures_table("n_spec", "trials", "tok/s", "against n_spec=0", "acc_len", "", text=("",))
    fastest = max((one.output_tokens_per_second or 0 for one in candidates), default=0)
    for one in candidates:
        speed = one.output_tokens_per_second
        table.add_row(
            str(one.n_spec),
            str(one.trials),
            number(speed) if speed else "",
            speedup(one.speedup) if one.speedup else one.failed or ("baseline" if one.n_spec == 0 else ""),
            f"{one.acceptance_length:.2f}" if one.acceptance_length else "",
            Bar(fastest, 0, speed) if speed else "",
        )
    return table


def conclusion(run: MTPTuningRun, data: ReportData, serve: str | None, run_file: Path, report: Path) -> None:
    """Print the end.

    Args:
        run: with its verdict.
        data: what is reported of it.
        serve: the command line that serves the choice; None where there is none.
        run_file: where the run is.
        report: where the report is.
    """
    console = _console()
    if data.candidates:
        console.print(candidates_table(data.candidates))
    verdict = run.status.verdict
    if verdict is not None:
        _say(console, f"[bold]{verdict.type.value}: {escape(headline(data.verdict, data.cost))}[/bold]")
        _say(console, escape(verdict.message))
        if verdict.message.startswith(SIMULATED):
            _say(console, "[bold]These figures are simulated: they say nothing about any GPU.[/bold]")
    if serve is not None:
        console.print("\nServe it on this machine:")
        console.print(f"  {escape(serve)}", soft_wrap=True)
    console.print(f"\nRun:    {run_file}", soft_wrap=True)
    console.print(f"Report: {report}", soft_wrap=True)


def _say(console: Console, text: str) -> None:
    """Print a sentence: a terminal breaks it between words and never within a figure, a file has it in one line."""
    console.print(text, soft_wrap=not console.is_terminal)


def _time(seconds: float) -> str:
    """Such as `1:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _console() -> Console:
    is_terminal = sys.stdout.isatty()
    return Console(width=None if is_terminal else _FILE_WIDTH, highlight=False)
