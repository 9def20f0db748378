"""What the tuner does next, and what it concludes."""

import math

import pytest

from mtp_operator.measures.quantities import Level
from mtp_operator.tuner.step import PROOF_Z, _convincing_z, next_step
from mtp_operator.tuner.tuner_records import (
    Acceptance,
    Arm,
    LevelMeasurement,
    Measure,
    Settings,
    Verdict,
    VerdictType,
)

POSITIONS = (0.85, 0.7, 0.56, 0.44, 0.34, 0.26, 0.2, 0.15)
RIPPLE = (0.99, 1.0, 1.01, 1.0)


def settings(n_specs: tuple[int, ...] = tuple(range(9)), max_trials: int = 12, **changes: object) -> Settings:
    return Settings.model_validate(
        {"nSpecs": n_specs, "maxTrials": max_trials, "levels": [{"concurrency": 1}], **changes}
    )


def arm(n: int, speed: float, boot: int = 0, **changes: object) -> Arm:
    level = LevelMeasurement(
        concurrency=1,
        windows=tuple(speed * ripple for ripple in RIPPLE),
        acceptance=Acceptance(per_position=POSITIONS[:n]) if n else None,
    )
    return Arm.model_validate({"n_spec": n, "boot": boot, "levels": (level,), **changes})


def true_speed(n: int) -> float:
    """A healthy drafter: every draft token adds 7 % to the step."""
    return 50 * (1 + sum(POSITIONS[:n])) / (1 + 0.07 * n)


def run(given: Settings, speed: dict[int, float] | None = None) -> tuple[list[Arm], Verdict]:
    """Play until the verdict, without noise between boots."""
    arms: list[Arm] = []
    while isinstance(step := next_step(arms, given), Measure):
        assert len(arms) < given.max_trials
        measured = speed[step.n_spec] if speed else true_speed(step.n_spec)
        arms.append(arm(step.n_spec, measured, step.boot))
    return arms, step


def test_the_baseline_is_measured_first_and_the_largest_n_second() -> None:
    first = next_step([], settings())
    second = next_step([arm(0, 50)], settings())

    assert isinstance(first, Measure)
    assert isinstance(second, Measure)
    assert (first.n_spec, second.n_spec) == (0, 8)


@pytest.mark.parametrize(("first", "opening"), [(3, [0, 3, 8]), (8, [0, 8]), (1, [0, 1, 8])])
def test_the_n_in_use_today_is_compared_with_the_baseline_first(first: int, opening: list[int]) -> None:
    arms, verdict = run(settings(firstNSpec=first))

    assert [one.n_spec for one in arms][: len(opening)] == opening
    assert verdict.n_spec == run(settings())[1].n_spec


def test_the_n_to_compare_first_is_tried_once_although_it_fails() -> None:
    failed = Arm.model_validate({"nSpec": 3, "boot": 0, "failed": "OOMKilled"})

    step = next_step([arm(0, 50), failed], settings(firstNSpec=3))

    assert isinstance(step, Measure)
    assert step.n_spec == 8


def test_an_n_that_may_not_be_booted_cannot_be_compared_first() -> None:
    with pytest.raises(ValueError, match="firstNSpec: 9 is not among nSpecs"):
        settings(firstNSpec=9)


def test_a_healthy_drafter_is_switched_on_at_its_best_n() -> None:
    arms, verdict = run(settings())

    best = max(range(9), key=true_speed)
    assert verdict.type is VerdictType.SELECTED
    assert true_speed(verdict.n_spec) >= 0.995 * true_speed(best)
    assert verdict.speedup is not None
    assert 1 < verdict.speedup.low <= true_speed(verdict.n_spec) / 50 <= verdict.speedup.high
    assert len(arms) <= 7
    assert "as fast as n_spec=0" in verdict.message


def test_a_broken_drafter_is_switched_off() -> None:
    _, verdict = run(settings(), {n: 50 / (1 + 0.1 * n) for n in range(9)})

    assert (verdict.type, verdict.n_spec, verdict.speedup) == (VerdictType.SPECULATION_OFF, 0, None)


def test_a_cliff_between_measured_points_is_found() -> None:
    speed = {n: true_speed(n) / (1.5 if n >= 4 else 1.0) for n in range(9)}

    _, verdict = run(settings(), speed)

    assert verdict.n_spec == 3


def test_an_n_below_the_knee_of_a_roofline_is_found() -> None:
    speed = {n: 50 * (1 + sum(POSITIONS[:n])) / max(1.0, 0.57 * (n + 1)) for n in range(9)}

    _, verdict = run(settings(), speed)

    assert (verdict.type, verdict.n_spec) == (VerdictType.SELECTED, max(speed, key=lambda n: speed[n]))


def test_every_tile_is_a_cliff() -> None:
    speed = {n: 50 * (1 + sum(POSITIONS[:n])) / (1 + 0.15 * ((n + 1) // 4)) for n in range(9)}

    _, verdict = run(settings(), speed)

    assert speed[verdict.n_spec] >= 0.99 * max(speed.values())


def test_the_fewer_boots_and_the_noisier_the_more_standard_errors_an_advantage_must_have() -> None:
    by_boots = [_convincing_z(1 / boots + 1 / boots, 0.03, 1) for boots in (1, 2, 5, 50)]
    by_noise = [_convincing_z(1.0, noise, 1) for noise in (0.07, 0.03, 0.01, 0.002)]

    assert by_boots == sorted(by_boots, reverse=True)
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_boots[-1] == pytest.approx(PROOF_Z, rel=0.05)
    assert by_noise[-1] == pytest.approx(PROOF_Z, rel=0.05)


def test_the_best_of_many_must_stand_out_more() -> None:
    asked = [_convincing_z(1.0, 0.03, compared) for compared in (1, 2, 5, 12)]

    assert asked == sorted(asked)
    assert asked[0] < asked[-1]


def test_without_n_0_the_lowest_is_the_baseline_and_speculation_is_never_off() -> None:
    _, verdict = run(settings((2, 4)), {2: 100.0, 4: 60.0})

    assert (verdict.type, verdict.n_spec) == (VerdictType.INCONCLUSIVE, 2)


def test_an_n_that_does_not_boot_is_not_selected_and_larger_ones_are_suspect() -> None:
    failed = Arm(n_spec=8, failed="OOMKilled")

    step = next_step([arm(0, 50), failed], settings())

    assert isinstance(step, Measure)
    assert 0 < step.n_spec < 7


FAILED_ONCE = Arm(n_spec=0, failed="EngineFailed")
FAILED_TWICE = (FAILED_ONCE, Arm(n_spec=0, boot=1, failed="OutOfMemory"))


@pytest.mark.parametrize(
    ("arms", "n_spec", "boot"),
    [
        ([FAILED_ONCE], 8, 0),
        ([FAILED_ONCE, arm(8, 80)], 0, 1),
        ([FAILED_ONCE, Arm(n_spec=8, failed="EngineFailed")], 0, 1),
        ([*FAILED_TWICE, arm(0, 50, 2)], 8, 0),
    ],
)
def test_a_baseline_that_failed_once_is_tried_again_later(arms: list[Arm], n_spec: int, boot: int) -> None:
    step = next_step(arms, settings())

    assert isinstance(step, Measure)
    assert (step.n_spec, step.boot) == (n_spec, boot)


def test_a_baseline_that_is_alone_is_tried_again_at_once() -> None:
    step = next_step([FAILED_ONCE], settings((0,)))

    assert isinstance(step, Measure)
    assert (step.n_spec, step.boot) == (0, 1)


@pytest.mark.parametrize("others", [[], [arm(8, 80)], [Arm(n_spec=8, failed="EngineFailed")]])
def test_a_baseline_that_failed_twice_has_failed(others: list[Arm]) -> None:
    verdict = next_step([*FAILED_TWICE, *others], settings())

    assert isinstance(verdict, Verdict)
    assert (verdict.type, verdict.reason) == (VerdictType.FAILED, "OutOfMemory")
    assert "failed 2 times (OutOfMemory)" in verdict.message


def test_a_baseline_that_failed_as_often_as_the_budget_allows_is_inconclusive() -> None:
    verdict = next_step([FAILED_ONCE], settings(max_trials=1))

    assert isinstance(verdict, Verdict)
    assert (verdict.type, verdict.reason) == (VerdictType.INCONCLUSIVE, "BudgetExhausted")


def test_a_baseline_that_cannot_be_booted_again_is_not_booted_for_ever_and_proves_nothing() -> None:
    arms = [arm(0, 50), *(arm(n, 60 - n) for n in range(1, 9)), *(Arm(n_spec=0, boot=b, failed="Lost") for b in (1, 2))]
    while isinstance(step := next_step(arms, settings(max_trials=30)), Measure):
        assert step.n_spec > 0
        arms.append(arm(step.n_spec, 60 - step.n_spec, step.boot))

    assert step.type is VerdictType.INCONCLUSIVE
    assert "has one trial only" in step.message


@pytest.mark.parametrize(
    ("ratio", "baseline_boots"),
    [(1.6, 1), (1.2, 2), (0.95, 2), (0.8, 2), (0.2, 1)],
)
def test_the_baseline_is_booted_twice_unless_no_jump_of_a_machine_explains_the_ratio(
    ratio: float, baseline_boots: int
) -> None:
    arms, verdict = run(settings(), {n: 50 * (ratio if n else 1) * (1 - 0.01 * n) for n in range(9)})

    assert verdict.type is (VerdictType.SELECTED if ratio > 1 else VerdictType.SPECULATION_OFF)
    assert [one.n_spec for one in arms].count(0) == baseline_boots


def played(first_boot: float, later_boots: float, speed: dict[int, float]) -> tuple[list[int], Verdict]:
    """A run in which the first boot of all is so much faster or slower than it should be, and so are all later ones."""
    arms: list[Arm] = []
    while isinstance(step := next_step(arms, settings()), Measure):
        factor = later_boots if arms else first_boot
        # Boots differ by 0.8 % and more; the same whatever came before.
        factor *= 1 + 0.008 * math.sin(7 * step.n_spec + 3 * step.boot)
        arms.append(arm(step.n_spec, speed[step.n_spec] * factor, step.boot))
    return [one.n_spec for one in arms], step


@pytest.mark.parametrize("slow", [0.05, 0.1, 0.15, 0.2])
def test_a_slow_first_boot_makes_no_winner(slow: float) -> None:
    trace, verdict = played(1 - slow, 1.0, {n: 50 * (1 - 0.02 * n) for n in range(9)})

    assert verdict.type is not VerdictType.SELECTED
    assert trace.count(0) > 1


@pytest.mark.parametrize("slower", [0.15, 0.2])
def test_a_machine_that_slows_down_after_its_first_boot_is_no_proof_against_speculation(slower: float) -> None:
    gains = (1, 1.10, 1.15, 1.13, 1.08, 1.0, 0.95, 0.9, 0.85)
    trace, verdict = played(1.0, 1 - slower, {n: 50 * gain for n, gain in enumerate(gains)})

    assert verdict.type is not VerdictType.SPECULATION_OFF
    assert trace.count(0) > 1


def test_two_boots_of_the_baseline_that_disagree_are_followed_by_a_third_and_told() -> None:
    steady = [arm(n, 0.9 * 50, boot) for n in range(1, 9) for boot in (0, 1)]
    two = [arm(0, 50), arm(0, 40, 1), *steady]
    given = settings(max_trials=len(two) + 1)

    third, verdict = next_step(two, given), next_step([*two, arm(0, 40, 2)], given)

    assert isinstance(third, Measure)
    assert (third.n_spec, third.boot) == (0, 2)
    assert isinstance(verdict, Verdict)
    assert verdict.type is VerdictType.INCONCLUSIVE
    assert "drifted by -20" in verdict.message


def test_if_all_but_the_baseline_fail_speculation_is_off() -> None:
    arms = [arm(0, 50), *(Arm(n_spec=n, failed="OOMKilled") for n in (1, 2))]

    verdict = next_step(arms, settings((0, 1, 2)))

    assert isinstance(verdict, Verdict)
    assert verdict.type is VerdictType.SPECULATION_OFF
    assert "OOMKilled" in verdict.message


@pytest.mark.parametrize(
    ("speed_of_8", "max_trials", "n_spec"),
    [
        (47.0, 2, 0),  # Seems slower than n=0; n=3 would be twice as fast.
        (130.0, 2, 8),  # Proven; n=3 would be faster still.
        (60.0, 2, 0),  # Not proven.
    ],
)
def test_a_budget_that_ends_the_search_while_much_is_to_be_gained_leaves_it_open(
    speed_of_8: float, max_trials: int, n_spec: int
) -> None:
    verdict = next_step([arm(0, 50), arm(8, speed_of_8)], settings(max_trials=max_trials))

    assert isinstance(verdict, Verdict)
    assert (verdict.type, verdict.reason, verdict.n_spec) == (VerdictType.INCONCLUSIVE, "BudgetExhausted", n_spec)
    assert (verdict.speedup is not None) == (n_spec > 0)
    assert "Stopped by the budget; next would be" in verdict.message


def test_a_boot_that_would_gain_little_leaves_nothing_open() -> None:
    _, verdict = run(settings(max_trials=6))

    assert (verdict.type, verdict.reason) == (VerdictType.SELECTED, None)


def test_the_last_boots_of_a_budget_are_kept_for_the_proof() -> None:
    """On a noisy machine and without counters five boots could all go to looking further, and none to n=0 again."""
    seen = {0: [50.0, 49.0], 1: [57.2, 58.2], 2: [57.7, 63.4], 8: [34.7]}
    given, arms = settings(max_trials=5), list[Arm]()
    while isinstance(step := next_step(arms, given), Measure):
        speeds = seen[step.n_spec]
        level = LevelMeasurement(
            concurrency=1, windows=tuple(speeds[min(step.boot, len(speeds) - 1)] * ripple for ripple in RIPPLE)
        )
        arms.append(Arm(n_spec=step.n_spec, boot=step.boot, levels=(level,)))

    assert step.speedup is not None
    assert sum(one.n_spec == 0 for one in arms) > 1


@pytest.mark.parametrize("limits", [{"max_trials": 0}, {"max_trials": 5, "maxGPUMinutes": 0}])
def test_no_budget_is_no_error(limits: dict[str, int]) -> None:
    given = settings(**limits)  # type: ignore[arg-type]
    arms: list[Arm] = []
    step = next_step(arms, given)
    if isinstance(step, Measure):
        step = next_step([arm(0, 50, gpu_minutes=5)], given)

    assert isinstance(step, Verdict)
    assert step.n_spec == 0


def test_gpu_minutes_end_a_run_before_the_next_boot_would_exceed_them() -> None:
    arms = [arm(0, 50, gpu_minutes=10), arm(8, 80, gpu_minutes=10)]

    assert isinstance(next_step(arms, settings(maxGPUMinutes=29)), Verdict)
    assert isinstance(next_step(arms, settings(maxGPUMinutes=31)), Measure)


def test_an_unverified_output_is_measured_but_not_selected() -> None:
    arms = [arm(n, true_speed(n), output_verified=n in (0, 8)) for n in range(9)]

    verdict = next_step(arms, settings(max_trials=9))

    assert isinstance(verdict, Verdict)
    assert verdict.n_spec == 8


def test_a_baseline_that_drifts_is_reported_and_widens_the_interval() -> None:
    steady = [arm(n, true_speed(n), boot) for n in range(9) for boot in range(3 if n == 0 else 2)]
    drifting = [
        arm(0, true_speed(0) * factor, boot) if one.n_spec == 0 else one
        for one, (boot, factor) in zip(steady, [(0, 1.0), (1, 1.0), (2, 1.3), *[(0, 1.0)] * 16], strict=True)
    ]
    given = settings(max_trials=len(steady))

    before, after = next_step(steady, given), next_step(drifting, given)

    assert isinstance(before, Verdict)
    assert isinstance(after, Verdict)
    assert "drifted by +30" in after.message
    assert "drifted" not in before.message
    assert after.speedup is None or (
        before.speedup is not None
        and after.speedup.high / after.speedup.low > 1.2 * before.speedup.high / before.speedup.low
    )


def test_levels_are_weighted_and_the_best_n_of_each_is_told() -> None:
    levels = [{"concurrency": 1, "weight": 3}, {"concurrency": 8, "weight": 1}]
    given = settings((0, 2, 4), max_trials=6, levels=levels)
    speeds = {0: (10.0, 80.0), 2: (20.0, 90.0), 4: (25.0, 60.0)}
    arms = [
        Arm(
            n_spec=n,
            boot=boot,
            levels=tuple(
                LevelMeasurement(concurrency=c, windows=(speed,) * 8)
                for c, speed in zip((1, 8), speeds[n], strict=True)
            ),
        )
        for n in (0, 2, 4)
        for boot in (0, 1)
    ]

    verdict = next_step(arms, given)

    assert isinstance(verdict, Verdict)
    expected = max(speeds, key=lambda n: 3 * math.log(speeds[n][0]) + math.log(speeds[n][1]))
    assert verdict.n_spec == expected
    assert [one.n_spec for one in verdict.best_n_spec_per_level] == [4, 2]
    assert "An n_spec of its own for each level" in verdict.message
    assert {(point.n_spec, point.concurrency) for point in verdict.pareto} == {(4, 1), (2, 8)}


def test_arms_of_two_machines_are_refused() -> None:
    with pytest.raises(ValueError, match="never compared across machines"):
        next_step([arm(0, 50, node="a"), arm(8, 80, node="b")], settings())


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([arm(9, 50)], "not in settings.nSpecs"),
        ([arm(0, 50), arm(0, 51)], "given twice"),
        ([Arm(n_spec=0, levels=(LevelMeasurement(concurrency=2, windows=(1.0,)),))], "lacks concurrency 1"),
    ],
)
def test_arms_that_do_not_fit_the_settings_are_refused(arms: list[Arm], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next_step(arms, settings(levels=[Level(concurrency=1).model_dump()]))
