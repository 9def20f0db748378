"""What holds for every curve, every noise and every kind of counters."""

import math

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mtp_operator.tuner.beliefs import speedup
from mtp_operator.tuner.evidence import Evidence
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Arm, Measure, Settings, Verdict, VerdictType

SPEEDS = st.floats(min_value=1, max_value=1e5, allow_nan=False)
SHARES = st.floats(min_value=0, max_value=1, allow_nan=False)
quick = hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def all_settings(draw: st.DrawFn) -> Settings:
    n_specs = draw(st.lists(st.integers(0, 16), min_size=1, max_size=17, unique=True))
    concurrencies = draw(st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True))
    return Settings.model_validate(
        {
            "nSpecs": n_specs,
            "maxTrials": draw(st.integers(0, 8)),
            "maxGPUMinutes": draw(st.none() | st.floats(0, 60)),
            "levels": [{"concurrency": one, "weight": draw(st.floats(0.1, 5))} for one in concurrencies],
        }
    )


@st.composite
def acceptance(draw: st.DrawFn, n: int) -> dict[str, object] | None:
    kind = draw(st.sampled_from(["none", "rate", "perPosition"]))
    if n == 0 or kind == "none":
        return None
    if kind == "rate":
        return {"rate": draw(SHARES)}
    return {"perPosition": draw(st.lists(SHARES, min_size=1, max_size=n))}


@st.composite
def boots(draw: st.DrawFn, given_settings: Settings, n: int, boot: int) -> Arm:
    minutes = draw(st.none() | st.floats(0, 10))
    if draw(st.integers(0, 9)) == 0:
        return Arm(n_spec=n, boot=boot, failed="OOMKilled", gpu_minutes=minutes)
    return Arm.model_validate(
        {
            "nSpec": n,
            "boot": boot,
            "gpuMinutes": minutes,
            "levels": [
                {
                    "concurrency": level.concurrency,
                    "windows": draw(st.lists(SPEEDS, min_size=1, max_size=50)),
                    "acceptance": draw(acceptance(n)),
                }
                for level in given_settings.levels
            ],
        }
    )


@given(st.data())
@quick
def test_a_run_ends_within_its_budget_and_selects_only_what_was_measured(data: st.DataObject) -> None:
    given_settings = data.draw(all_settings())
    arms: list[Arm] = []
    while isinstance(step := next_step(arms, given_settings), Measure):
        assert len(arms) < given_settings.max_trials
        assert step.n_spec in given_settings.n_specs
        assert step.boot == sum(arm.n_spec == step.n_spec for arm in arms)
        arms.append(data.draw(boots(given_settings, step.n_spec, step.boot)))

    assert step.n_spec in given_settings.n_specs
    baseline = min(given_settings.n_specs)
    assert (step.speedup is not None) == (step.n_spec > baseline)
    assert step.n_spec > baseline or step.type is not VerdictType.SELECTED
    assert (step.type is VerdictType.FAILED) == (
        sum(arm.n_spec == baseline and arm.failed is not None for arm in arms) > 1
        and all(arm.failed is not None for arm in arms if arm.n_spec == baseline)
    )
    if step.speedup is not None:
        assert any(arm.n_spec == step.n_spec for arm in arms)
        assert all(arm.failed is None for arm in arms if arm.n_spec == step.n_spec)
        assert 1 < step.speedup.low <= step.speedup.estimate <= step.speedup.high
    if step.type is VerdictType.SPECULATION_OFF:
        assert step.n_spec == 0


@given(st.data())
@quick
def test_what_one_boot_of_the_baseline_says_is_no_verdict_unless_no_jump_explains_it(data: st.DataObject) -> None:
    given_settings = data.draw(all_settings())
    arms: list[Arm] = []
    while isinstance(step := next_step(arms, given_settings), Measure):
        arms.append(data.draw(boots(given_settings, step.n_spec, step.boot)))
    baseline = min(given_settings.n_specs)
    measured = [arm for arm in arms if arm.failed is None]
    others = {arm.n_spec for arm in measured} - {arm.n_spec for arm in arms if arm.failed is not None} - {baseline}
    if not others or sum(arm.n_spec == baseline for arm in measured) != 1:
        return  # Most runs boot the baseline again: to discard them all would leave few examples.

    if step.type is VerdictType.SELECTED:
        assert step.speedup is not None
        assert step.speedup.estimate > 1.45
    if step.type is VerdictType.SPECULATION_OFF:
        speed = Evidence.of(arms, given_settings).log_speed
        first = next(arm for arm in measured if arm.n_spec == baseline)
        by_n = [[speed(arm) for arm in measured if arm.n_spec == n] for n in others]
        assert all(sum(speeds) / len(speeds) < speed(first) for speeds in by_n)


@given(st.data())
@quick
def test_the_order_of_the_arms_does_not_matter_and_the_answer_is_always_the_same(data: st.DataObject) -> None:
    given_settings, arms = _some_arms(data)
    shuffled = data.draw(st.permutations(arms))

    assert next_step(shuffled, given_settings) == next_step(arms, given_settings)
    assert next_step(arms, given_settings) == next_step(arms, given_settings)


@given(st.data(), st.floats(1e-3, 1e3))
@quick
def test_speeds_in_other_units_change_nothing(data: st.DataObject, factor: float) -> None:
    given_settings, arms = _some_arms(data)

    scaled, plain = next_step([_scaled(arm, factor) for arm in arms], given_settings), next_step(arms, given_settings)

    assert type(scaled) is type(plain)
    assert scaled.n_spec == plain.n_spec
    if isinstance(plain, Verdict) and isinstance(scaled, Verdict):
        assert scaled.type is plain.type
        assert _ends(scaled) == pytest.approx(_ends(plain), rel=1e-4)


@given(st.data(), st.floats(1.5, 10))
@quick
def test_boots_that_scatter_more_never_make_it_surer(data: st.DataObject, factor: float) -> None:
    top = data.draw(st.integers(1, 8))
    boots_each = data.draw(st.integers(2, 4))
    scatter = data.draw(st.lists(st.floats(-0.02, 0.02), min_size=2 * boots_each, max_size=2 * boots_each))
    gain = data.draw(st.floats(-0.5, 1.0))
    centred = [
        value - sum(part) / boots_each for part in (scatter[:boots_each], scatter[boots_each:]) for value in part
    ]
    assume(max(abs(value) for value in centred) > 1e-3)
    given_settings = Settings.model_validate(
        {"nSpecs": [0, top], "maxTrials": 2 * boots_each, "levels": [{"concurrency": 1}]}
    )

    def width(times: float) -> float:
        arms = [
            Arm.model_validate(
                {
                    "nSpec": n,
                    "boot": boot,
                    "levels": [{"concurrency": 1, "windows": [math.exp(mean + times * centred[row + boot])] * 8}],
                }
            )
            for n, mean, row in ((0, 3.0, 0), (top, 3.0 + gain, boots_each))
            for boot in range(boots_each)
        ]
        interval = speedup(Evidence.of(arms, given_settings).posterior(), 1)
        return math.log(interval.high / interval.low)

    assert width(factor) >= width(1.0) * 0.999


def _ends(verdict: Verdict) -> tuple[float, ...]:
    interval = verdict.speedup
    return (interval.low, interval.estimate, interval.high) if interval else ()


def _some_arms(data: st.DataObject) -> tuple[Settings, list[Arm]]:
    given_settings = data.draw(all_settings())
    wanted = data.draw(st.lists(st.sampled_from(given_settings.n_specs), max_size=8))
    arms: list[Arm] = []
    for n in wanted:
        arms.append(data.draw(boots(given_settings, n, sum(arm.n_spec == n for arm in arms))))
    return given_settings, arms


def _scaled(arm: Arm, factor: float) -> Arm:
    levels = tuple(
        level.model_copy(update={"windows": tuple(window * factor for window in level.windows)}) for level in arm.levels
    )
    return arm.model_copy(update={"levels": levels})
