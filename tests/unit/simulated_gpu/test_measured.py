"""The bench measures the simulated GPU and finds what is recorded: speed, acceptance, output. On a clock that jumps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from mtp_operator.api.trial_documents import OutputCheck, OutputStatus, StructuredOutput, TrialResult
from mtp_operator.bench.gates import disqualification
from mtp_operator.bench.load import LevelRun
from simulated_gpu.curve import read_curve
from tests.unit.bench.virtual_time import run_in_virtual_time
from tests.unit.simulated_gpu.boot import CURVES, GEMMA, arguments, measured

ADRIFT = 3
"""Drafts by which the counters of a position may differ from its share, however many drafts there are."""


def trial(
    n_spec: int, concurrencies: Sequence[int] = (1,), output_tokens: int = 96, **options: Any
) -> tuple[TrialResult, list[LevelRun]]:
    return run_in_virtual_time(measured(arguments(n_spec, **options), n_spec, concurrencies, output_tokens))


def checked(result: TrialResult) -> OutputCheck:
    assert result.output_check is not None
    return result.output_check


@pytest.mark.parametrize("n_spec", [0, 1, 2, 4, 5, 16])
def test_a_trial_finds_the_curve(n_spec: int) -> None:
    recorded = read_curve(CURVES, GEMMA)

    result, runs = trial(n_spec)

    (level,) = result.levels
    assert disqualification(n_spec, runs) is None
    assert result.doubt is None
    assert "Simulated" in [warning.reason for warning in result.warnings]
    assert fmean(level.windows) == pytest.approx(recorded.tokens_per_second(n_spec), rel=0.005)
    assert level.failed_requests == level.ended_by_eos == 0
    assert level.output_tokens == 96 * level.requests
    assert checked(result).status is OutputStatus.SCORED
    assert checked(result).positions >= 512
    assert checked(result).violations == checked(result).altered_texts == 0
    assert checked(result).json_schema is checked(result).tool_call is StructuredOutput.PASSED


@pytest.mark.parametrize("n_spec", [1, 2, 5, 16])
def test_its_counters_have_the_acceptance_of_the_curve(n_spec: int) -> None:
    shares = read_curve(CURVES, GEMMA).acceptance(n_spec)

    result, _ = trial(n_spec)

    (level,) = result.levels
    assert level.drafts is not None
    assert level.draft_tokens == n_spec * level.drafts
    assert level.accepted_tokens == sum(level.accepted_per_position)
    assert level.accepted_per_position == pytest.approx([share * level.drafts for share in shares], abs=ADRIFT)
    surplus = level.requests + level.drafts + level.accepted_tokens - level.output_tokens
    assert 0 <= surplus <= n_spec * level.requests


@pytest.mark.parametrize("output_tokens", [1, 7, 64, 257])
def test_answers_of_every_length_have_the_recorded_speed(output_tokens: int) -> None:
    result, _ = trial(4, output_tokens=output_tokens)

    assert fmean(result.levels[0].windows) == pytest.approx(129.816, rel=0.01)


@pytest.mark.parametrize(("concurrency", "speed"), [(1, 132.524), (4, 4 * 132.524)])
def test_requests_of_a_batch_share_its_steps(concurrency: int, speed: float) -> None:
    result, _ = trial(5, [concurrency])

    assert fmean(result.levels[0].windows) == pytest.approx(speed, rel=0.02)


def test_every_level_of_a_curve_is_found(tmp_path: Path) -> None:
    file = tmp_path / "curves.csv"
    rows = ["1,0,100,", "1,2,200,0.8;0.6", "8,0,600,", "8,2,700,0.7;0.5"]
    columns = "curve,concurrency,n_spec,tokens_per_second,per_position_acceptance"
    file.write_text("\n".join([columns, *(f"both,{row}" for row in rows)]))

    result, _ = trial(2, [1, 8], curves=file, curve="both")

    for level, speed, shares in zip(result.levels, (200, 700), ((0.8, 0.6), (0.7, 0.5)), strict=True):
        assert fmean(level.windows) == pytest.approx(speed, rel=0.02)
        assert level.drafts is not None
        # While the first requests arrive, the batch is smaller than the level's.
        expected = [share * level.drafts for share in shares]
        assert level.accepted_per_position == pytest.approx(expected, abs=ADRIFT + 0.01 * level.drafts)


def test_time_can_pass_faster() -> None:
    result, _ = trial(2, speed=8)

    assert fmean(result.levels[0].windows) == pytest.approx(8 * 94.001, rel=0.005)


def test_replaced_tokens_are_found() -> None:
    faults = {"replaced_share": 0.02, "n_specs": [4]}

    found = checked(trial(4, faults=faults)[0])
    clean = checked(trial(5, faults=faults)[0])

    # Each token is replaced by a draw of its own: three standard deviations.
    assert found.violations == found.large_gaps == pytest.approx(0.02 * found.positions, abs=3 * 21**0.5)
    assert clean.violations == 0


def test_acceptance_that_collapses_is_found() -> None:
    result, runs = trial(4, faults={"acceptance_factor": 0.01})

    failure = disqualification(4, runs)
    assert failure is not None
    assert failure.reason == "AcceptanceTooLow"
    assert fmean(result.levels[0].windows) == pytest.approx(129.816 / 3.92, rel=0.02)


def test_answers_that_are_aborted_are_found() -> None:
    _, runs = trial(4, faults={"aborted_share": 0.25})

    failure = disqualification(4, runs)
    assert failure is not None
    assert failure.reason == "StreamsCut"
