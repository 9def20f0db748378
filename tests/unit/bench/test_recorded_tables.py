"""Recorded sessions whose means name the wrong winner, replayed as streams through the load, the windows and the tuner.

Both are of one public benchmark (its runs are rebuilt from mean, median, extremes and the mean without the first run):
Gemma 4 31B on vLLM, where the first run of n=2 and n=4 was cold, and Qwen3.6-27B on llama.cpp, where the baseline rose
by a tenth in the middle of its session.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, cycle, islice
from statistics import fmean

import pytest

from mtp_operator.api.spec import PromptCategory
from mtp_operator.bench.gates import disqualification
from mtp_operator.bench.load import Level, LevelRun, run_level
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.measures import quantities
from mtp_operator.measures.averages import typical as typical_speed
from mtp_operator.tuner import tuner_records as tuner
from mtp_operator.tuner.step import next_step
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time

MIX = built_in_mix([PromptCategory.CODE, PromptCategory.CHAT])
PASS_LENGTH = MIX.pass_length(1)

GEMMA = {
    0: (38.28, 39.84, 39.54, 40.90, 39.54, 39.53, 39.60, 39.54, 39.98, 40.10),
    2: (72.26, 96.42, 96.35, 96.49, 96.42, 96.38, 96.45, 96.42, 96.40, 96.42),
    3: (124.48, 124.25, 124.24, 124.13, 124.25, 124.20, 124.31, 124.25, 124.24, 124.28),
    4: (91.77, 134.04, 134.18, 133.90, 134.05, 134.04, 134.00, 134.08, 134.05, 134.05),
    5: (133.90, 126.76, 133.10, 133.05, 133.09, 133.00, 133.10, 133.10, 133.04, 133.10),
}

STEADY_BASELINE = (43.6,) * 10
RISING_BASELINE = (44.08, 44.3, 44.6, 45.4, 48.3, 48.4, 48.4, 48.5, 48.4, 48.4)
QWEN_SPEEDUPS = {2: 2.20, 3: 2.51, 4: 2.62, 5: 2.71}
"""Against the baseline of the same session, so that the state of the GPU drops out."""


def measured(speeds: Sequence[float]) -> LevelRun:
    """One boot whose k-th pass has the k-th speed; after the last the warm ones come again."""
    of_passes = chain(speeds, cycle(speeds[len(speeds) // 2 :]))
    of_requests = [speed for speed in islice(of_passes, 1000) for _ in range(PASS_LENGTH)]
    engine = FakeEngine(tokens_per_second=lambda number: of_requests[number])
    level = Level(1, 512, 120, MIX.level(0), PASS_LENGTH)
    return run_in_virtual_time(engine.run(lambda client: run_level(client, level)))


def arm(n_spec: int, boot: int, windows: Sequence[float]) -> tuner.Arm:
    level = tuner.LevelMeasurement(concurrency=1, windows=tuple(windows))
    return tuner.Arm(n_spec=n_spec, boot=boot, levels=(level,))


def settings(sessions: Mapping[int, Sequence[float]], max_trials: int = 12) -> tuner.Settings:
    return tuner.Settings(n_specs=tuple(sessions), max_trials=max_trials, levels=(quantities.Level(concurrency=1),))


def tuned(sessions: Mapping[int, Sequence[float]]) -> tuple[list[int], int]:
    """The n that the tuner boots, one after the other, and the one that it ends with."""
    arms: list[tuner.Arm] = []
    while True:
        step = next_step(arms, settings(sessions))
        if isinstance(step, tuner.Verdict):
            return [one.n_spec for one in arms], step.n_spec
        run = measured(sessions[step.n_spec])
        assert disqualification(0, [run]) is None
        arms.append(arm(step.n_spec, step.boot, run.windows))


def winner_of_all(windows: Mapping[int, Sequence[float]]) -> int:
    """The winner where every n was booted twice, with the same windows."""
    arms = [arm(n, boot, of_boot) for n, of_boot in windows.items() for boot in range(2)]
    step = next_step(arms, settings(windows, max_trials=len(arms)))
    assert isinstance(step, tuner.Verdict)
    return step.n_spec


def test_a_cold_first_run_does_not_flip_the_winner() -> None:
    means = {n: (fmean(speeds),) * 10 for n, speeds in GEMMA.items()}
    seen = {n: measured(speeds).windows for n, speeds in GEMMA.items()}

    assert winner_of_all(means) == 5
    assert winner_of_all(seen) == 4


def test_a_cold_first_run_changes_nothing_in_what_is_booted_and_chosen() -> None:
    warm = {n: speeds[1:] if n in (2, 4) else speeds for n, speeds in GEMMA.items()}

    assert tuned(GEMMA) == tuned(warm)


@pytest.mark.parametrize("baseline", [STEADY_BASELINE, RISING_BASELINE], ids=["steady", "rising"])
def test_a_drifting_baseline_does_not_flip_the_winner(baseline: tuple[float, ...]) -> None:
    sessions = {0: baseline} | {n: (43.6 * speedup,) * 10 for n, speedup in QWEN_SPEEDUPS.items()}

    assert tuned(sessions)[1] == 5


@pytest.mark.parametrize(("n", "typical"), [(2, 96.42), (4, 134.04)])
def test_windows_are_of_the_warm_engine(n: int, typical: float) -> None:
    assert typical_speed(measured(GEMMA[n]).windows) == pytest.approx(typical, rel=0.001)
