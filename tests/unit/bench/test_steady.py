"""Which passes count, and when there are enough."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_WINDOWS
from mtp_operator.bench.steady import MIN_WINDOWS, WARM_UP_SHARE, Pass, drift, is_enough, windows


def passes(*speeds: float) -> list[Pass]:
    return [Pass(output_tokens=1000, seconds=1000 / speed) for speed in speeds]


@pytest.mark.parametrize(
    ("speeds", "counted"),
    [
        ((), ()),
        ((100,), ()),
        ((100, 101), (100, 101)),
        ((72, 96, 97, 96), (96, 97, 96)),
        ((20, 60, 90, 99, 100), (99, 100)),
        ((100, 90), ()),
        ((20, 20), (20, 20)),
        ((20, 20, 100), ()),
        ((20, 20, 100, 101, 100), (100, 101, 100)),
    ],
)
def test_passes_count_from_the_first_that_agrees_with_the_rest(
    speeds: tuple[float, ...], counted: tuple[float, ...]
) -> None:
    assert windows(passes(*speeds), level_seconds=1000) == pytest.approx(counted)


def test_after_its_share_of_the_time_a_warm_up_is_over() -> None:
    speeds = (100, 50, 100, 50)

    assert windows(passes(*speeds), level_seconds=10 / WARM_UP_SHARE) == pytest.approx(speeds[1:])


@given(st.lists(st.floats(90, 110) | st.floats(1, 1000), max_size=60), st.floats(1, 1000))
def test_windows_are_the_last_passes(speeds: list[float], level_seconds: float) -> None:
    counted = windows(passes(*speeds), level_seconds)

    assert len(counted) <= MAX_WINDOWS
    assert counted == tuple(one.tokens_per_second for one in passes(*speeds)[len(speeds) - len(counted) :])


def test_no_more_windows_than_are_kept() -> None:
    assert len(windows(passes(*[100.0] * 100), level_seconds=1000)) == MAX_WINDOWS


@pytest.mark.parametrize(
    ("measured", "elapsed_seconds", "enough"),
    [
        ([100.0] * (MIN_WINDOWS - 1), 1000, False),
        ([100.0] * MIN_WINDOWS, 1, True),
        ([100.0, 101.0, 99.0, 100.0], 1, True),
        ([100.0, 110.0, 90.0, 100.0], 1, False),
        ([100.0, 110.0, 90.0, 100.0], 95, True),
        ([100.0, 150.0] * (MAX_WINDOWS // 2), 1, True),
    ],
)
def test_enough(measured: list[float], elapsed_seconds: float, *, enough: bool) -> None:
    assert is_enough(measured, elapsed_seconds, pass_seconds=10, level_seconds=100) is enough


@pytest.mark.parametrize(
    ("speeds", "lost_share"),
    [
        ((100, 96, 92, 88, 84, 80), 0.20),
        ((100, 93, 87, 80), 0.20),
        ((50, 70, 100, 96, 92, 88, 84, 80), 0.20),
        ((100, 100, 100, 80, 80, 80, 80, 80), 0.25),
        ((100, 100, 60, 60, 60, 60), 0.42),
        ((100, 60, 60, 60, 60), 0.33),
        ((100, 100, 80, 80), 0.22),
        ((100, 98, 96, 94, 92, 91), None),
        ((100, 100, 100, 100), None),
        ((20, 60, 90, 99, 100, 100), None),
        ((80, 84, 88, 92, 96, 100), None),
        ((100, 50, 100, 50, 100, 50), None),
        ((100, 90, 80), None),
        ((), None),
    ],
)
def test_sinking_throughput_is_drift(speeds: tuple[float, ...], lost_share: float | None) -> None:
    found = drift(passes(*speeds))

    assert (found is None) == (lost_share is None)
    if found is not None and lost_share is not None:
        assert found.lost_share == pytest.approx(lost_share, abs=0.03)
        assert found.lost_share > found.limit >= 0.10


def test_an_engine_that_answers_nothing_does_not_drift() -> None:
    assert drift([Pass(output_tokens=0, seconds=1.0)] * 6) is None


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05, 0.10])
def test_noise_is_seldom_taken_for_drift(noise: float) -> None:
    """Levels end after four windows where passes differ by 2 %, and have more of them the more they differ."""
    dice = random.Random(1)
    shortest = max(MIN_WINDOWS, round((noise / 0.01) ** 2))

    alarms = sum(
        drift(passes(*(100 * (1 + dice.gauss(0, noise)) for _ in range(dice.randint(shortest, 32 + shortest)))))
        is not None
        for _ in range(2000)
    )

    assert alarms <= 2
