"""Which passes count, and when there are enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_WINDOWS
from mtp_operator.bench.steady import MIN_WINDOWS, WARM_UP_SHARE, Pass, is_enough, windows


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
