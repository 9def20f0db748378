"""No level pays for another one, unless that is asked for."""

import pytest

from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Arm, LevelMeasurement, Measure, Settings, Verdict

ALONE = {0: 50.0, 1: 70.0, 2: 85.0, 3: 95.0, 4: 92.0}
TOGETHER = {0: 400.0, 1: 412.0, 2: 360.0, 3: 330.0, 4: 300.0}
MUCH_SLOWER_TOGETHER = {n: 400.0 * 0.85**n for n in ALONE}
SLIGHTLY_SLOWER_TOGETHER = {n: 400.0 * (1 - 0.0005 * n) for n in ALONE}


def played(together: dict[int, float], slower_levels: str, max_trials: int = 16) -> tuple[list[Arm], Verdict]:
    """The tuner's boots and its verdict, with windows that scatter by 1 % and boots that do not."""
    settings = Settings.model_validate(
        {
            "nSpecs": list(ALONE),
            "maxTrials": max_trials,
            "levels": [{"concurrency": 1}, {"concurrency": 8}],
            "slowerLevels": slower_levels,
        }
    )
    arms: list[Arm] = []
    while isinstance(step := next_step(arms, settings), Measure):
        levels = tuple(
            LevelMeasurement(concurrency=level, windows=tuple(speed * f for f in (0.99, 1.0, 1.0, 1.01)))
            for level, speed in ((1, ALONE[step.n_spec]), (8, together[step.n_spec]))
        )
        arms.append(Arm(n_spec=step.n_spec, boot=step.boot, levels=levels))
    return arms, step


@pytest.mark.parametrize(("slower_levels", "n_spec"), [("Forbid", 1), ("Allow", 3)])
def test_the_best_n_over_all_levels_is_not_chosen_if_some_level_is_slower_with_it(
    slower_levels: str, n_spec: int
) -> None:
    _, verdict = played(TOGETHER, slower_levels)

    assert (verdict.type.value, verdict.n_spec) == ("Selected", n_spec)


def test_the_verdict_says_which_level_forbade_what() -> None:
    _, verdict = played(TOGETHER, "Forbid")

    assert "at concurrency 8, which slowerLevels forbids" in verdict.message
    alone, together = (one.n_spec for one in verdict.best_n_spec_per_level)
    assert (alone > 1, together) == (True, 1)


def test_speculation_is_off_where_every_n_makes_some_level_slower_and_few_boots_tell() -> None:
    arms, verdict = played(MUCH_SLOWER_TOGETHER, "Forbid")

    assert (verdict.type.value, verdict.n_spec) == ("SpeculationOff", 0)
    assert "no n_spec is faster than n_spec=0 at every level" in verdict.message
    assert len(arms) <= 6


def test_an_n_that_is_slower_at_every_level_is_told_by_how_much() -> None:
    _, verdict = played({n: 400.0 * 0.4**n for n in ALONE}, "Forbid")

    assert "no n_spec is faster than n_spec=0; the best other one" in verdict.message


def test_a_loss_that_nobody_minds_forbids_nothing() -> None:
    _, verdict = played(SLIGHTLY_SLOWER_TOGETHER, "Forbid")

    assert verdict.n_spec == 3


def test_one_level_alone_is_the_objective_itself() -> None:
    settings = {"nSpecs": list(ALONE), "maxTrials": 16, "levels": [{"concurrency": 1}]}
    arms: list[Arm] = []
    allowed, forbidden = (Settings.model_validate({**settings, "slowerLevels": one}) for one in ("Allow", "Forbid"))
    while isinstance(step := next_step(arms, forbidden), Measure):
        assert step == next_step(arms, allowed)
        levels = (LevelMeasurement(concurrency=1, windows=(ALONE[step.n_spec],) * 4),)
        arms.append(Arm(n_spec=step.n_spec, boot=step.boot, levels=levels))
    assert step == next_step(arms, allowed)
