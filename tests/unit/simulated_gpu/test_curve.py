"""What is read from recorded figures, and what is taken to lie between them."""

from __future__ import annotations

import pytest

from simulated_gpu.curve import Curve, curve_of, read_curve
from tests.unit.simulated_gpu.boot import CURVES, GEMMA


def row(n_spec: int, speed: float, concurrency: int = 1, rate: str = "", per_position: str = "") -> dict[str, str]:
    return {
        "curve": "c",
        "concurrency": str(concurrency),
        "n_spec": str(n_spec),
        "tokens_per_second": str(speed),
        "acceptance_rate": rate,
        "per_position_acceptance": per_position,
    }


def curve(*rows: dict[str, str]) -> Curve:
    return curve_of("c", rows)


TWO_LEVELS = curve(
    row(0, 100),
    row(2, 200, per_position="0.8;0.6"),
    row(4, 220, per_position="0.8;0.6;0.4;0.2"),
    row(0, 600, concurrency=8),
    row(2, 700, concurrency=8, per_position="0.7;0.5"),
    row(4, 500, concurrency=8, per_position="0.7;0.5;0.3;0.1"),
)


@pytest.mark.parametrize(
    ("n_spec", "batch", "speed"), [(0, 1, 100), (2, 1, 200), (4, 1, 220), (0, 8, 600), (2, 8, 700), (4, 8, 500)]
)
def test_what_was_recorded_is_what_it_says(n_spec: int, batch: int, speed: float) -> None:
    assert TWO_LEVELS.tokens_per_second(n_spec, batch) == pytest.approx(speed)


def test_steps_are_linear_between_what_was_recorded() -> None:
    one, two = TWO_LEVELS.step_seconds(2), TWO_LEVELS.step_seconds(4)

    assert TWO_LEVELS.step_seconds(3) == pytest.approx((one + two) / 2)
    assert TWO_LEVELS.step_seconds(2, 4.5) == pytest.approx((one + TWO_LEVELS.step_seconds(2, 8)) / 2)
    assert TWO_LEVELS.step_seconds(2, 64) == TWO_LEVELS.step_seconds(2, 8)


def test_beyond_the_last_n_a_step_grows_as_it_did() -> None:
    first, last = TWO_LEVELS.step_seconds(0), TWO_LEVELS.step_seconds(4)

    assert TWO_LEVELS.step_seconds(6) == pytest.approx(last + 2 * (last - first) / 4)


def test_acceptance_carries_over_by_position() -> None:
    assert TWO_LEVELS.acceptance(0) == ()
    assert TWO_LEVELS.acceptance(1) == (0.8,)
    assert TWO_LEVELS.acceptance(3, 8) == (0.7, 0.5, 0.3)
    assert TWO_LEVELS.acceptance(6) == pytest.approx((0.8, 0.6, 0.4, 0.2, 0.1, 0.05))


def test_a_rate_is_spread_over_the_positions() -> None:
    shares = curve(row(0, 100), row(3, 150, rate="0.725")).acceptance(3)

    assert sum(shares) / 3 == pytest.approx(0.725, abs=0.001)
    assert list(shares) == sorted(shares, reverse=True)


@pytest.mark.parametrize("name", [GEMMA, "seed-qwen36-27b-fp8-vllm", "seed-qwen36-27b-q8-llamacpp"])
def test_where_no_acceptance_was_recorded_steps_are_plausible(name: str) -> None:
    recorded = read_curve(CURVES, name)
    baseline = recorded.step_seconds(0)

    growth = [recorded.step_seconds(n_spec) / baseline - 1 for n_spec in range(1, 6)]

    assert all(0.02 * n_spec < one < 0.1 * n_spec for n_spec, one in enumerate(growth, start=1)), growth


@pytest.mark.parametrize("n_spec", range(17))
def test_every_n_has_a_speed(n_spec: int) -> None:
    recorded = read_curve(CURVES, GEMMA)

    assert len(recorded.acceptance(n_spec)) == n_spec
    assert recorded.tokens_per_second(n_spec) > 0


def test_a_baseline_alone_accepts_nothing_and_slows_nothing() -> None:
    alone = curve(row(0, 100))

    assert alone.acceptance(2) == (0.0, 0.0)
    assert alone.tokens_per_second(2) == pytest.approx(100)


def test_the_curve_is_chosen_by_its_name() -> None:
    assert read_curve(CURVES, GEMMA).tokens_per_second(5) == pytest.approx(132.524)
    assert read_curve(CURVES / "three-systems.csv", None).name == GEMMA
    with pytest.raises(ValueError, match=r"has no curve nowhere; it has .*seed-qwen36-27b-fp8-vllm"):
        read_curve(CURVES, "nowhere")


@pytest.mark.parametrize("broken", [{"n_spec": "-1"}, {"tokens_per_second": "0"}, {"concurrency": "one"}])
def test_a_wrong_row_is_shown(broken: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="curve c: "):
        curve(row(0, 100) | broken)
