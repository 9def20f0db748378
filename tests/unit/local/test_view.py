"""What is shown while a tuning is under way."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from mtp_operator.api.run import MTPTuningRun, TrialState, TrialStatus
from mtp_operator.cli.tune_view import LiveView, PlainView, candidates_table, time_left
from mtp_operator.local.folder import EvidenceFolder
from mtp_operator.local.local_errors import StoppedError
from mtp_operator.reconcile.observed import Kind, Reference
from mtp_operator.reconcile.plan import EventDraft
from mtp_operator.report.extract import report_data
from tests.unit.local.pretended import Desk


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> MTPTuningRun:
    """A run in its second trial."""
    folder = tmp_path_factory.mktemp("view")
    with pytest.raises(StoppedError):
        Desk(folder, stops_after=14).tune()
    kept = EvidenceFolder(folder)
    try:
        run = kept.read()
    finally:
        kept.close()
    assert run is not None
    assert run.status.counters.measured == 1
    return run


def test_the_time_left_follows_from_the_trials_so_far(interrupted: MTPTuningRun) -> None:
    (seconds,) = (trial.gpu_seconds for trial in interrupted.status.trials if trial.state is TrialState.MEASURED)
    assert seconds == 30

    assert time_left(interrupted, 10) == (
        "Trial 2 of at most 24; time left: about 0:20 for this one, at most 11:20 in all; most curves need three to "
        "eight trials"
    )


def test_the_live_view_has_the_curve_what_is_measured_and_the_time(interrupted: MTPTuningRun) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    trial: TrialStatus = interrupted.status.trials[-1]
    with Live(console=console, auto_refresh=False) as live:
        view = LiveView(console, live)
        view.wrote(interrupted, ())
        view.waiting(interrupted, trial, 10)

    shown = file.getvalue()
    assert f"Now: {trial.rationale}"[:60] in shown
    assert "0:10 so far" in " ".join(shown.split())
    assert "Trial 2 of at most 24" in shown


def test_no_digit_is_cut_at_80_columns(tmp_path: Path) -> None:
    run = Desk(tmp_path).tune()
    file = io.StringIO()
    Console(file=file, width=80).print(candidates_table(report_data(run).candidates))

    text = file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for one in report_data(run).candidates:
        if one.speedup is not None:
            assert f"{one.speedup.low:.2f}-{one.speedup.high:.2f}" in text


def test_a_terminal_breaks_sentences_between_words(interrupted: MTPTuningRun) -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, color_system=None, highlight=False)
    message = "n_spec=4: predicted 2.41x (95% CI 2.10-2.83), expected to improve the choice by 1.2%"
    subject = Reference(Kind.MODEL, "default", "gemma", "")
    PlainView(console).wrote(interrupted, (EventDraft(subject, "Normal", "TrialPlanned", message),))

    assert file.getvalue().split()[1:] == message.split()
    assert max(map(len, file.getvalue().splitlines())) <= 40
