"""The words that the API, the tuner and the bench have in common are the same objects: nothing is converted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mtp_operator.api.run import TrialLevel
from mtp_operator.api.spec import LatencyConstraint, LatencyMetric, Level
from mtp_operator.measures.averages import log_speed, typical
from mtp_operator.measures.quantities import LatencyCount
from mtp_operator.tuner.tuner_records import LevelMeasurement, Settings

COUNT = LatencyCount(metric="P95TimeToFirstToken", max_milliseconds=800, requests=64, exceeding=3)


def test_what_a_user_states_is_what_the_tuner_takes() -> None:
    level = Level(concurrency=8, weight=3)
    limit = LatencyConstraint(metric=LatencyMetric.P95_TTFT, concurrency=8, max_milliseconds=800)

    settings = Settings(n_specs=(0, 1), max_trials=4, levels=(level,), constraints=(limit,))

    assert settings.levels[0] is level
    assert settings.constraints[0] is limit
    assert limit.quantile == 0.95
    assert COUNT.is_of(limit)
    assert not COUNT.is_of(limit.replace(max_milliseconds=801))


def test_a_count_of_a_trial_is_that_of_its_run_and_of_the_tuner() -> None:
    kept = TrialLevel(
        concurrency=1, output_tokens_per_second="9", windows=("9",), requests=64, output_tokens=640, limits=(COUNT,)
    )
    told = LevelMeasurement(concurrency=1, windows=(9.0,), latencies=kept.limits)

    assert told.latencies[0] is kept.limits[0] is COUNT


def test_more_requests_cannot_exceed_a_limit_than_there_were() -> None:
    with pytest.raises(ValidationError, match="exceeding: 65 is more than the 64 requests"):
        LatencyCount(metric="P95TimeToFirstToken", max_milliseconds=800, requests=64, exceeding=65)


def test_the_objective_is_the_weighted_geometric_mean_of_typical_windows() -> None:
    speeds = {1: typical((100.0,) * 7 + (5.0,)), 8: 800.0}

    assert speeds[1] == 100.0
    assert log_speed(speeds, (Level(concurrency=1, weight=2), Level(concurrency=8))) == pytest.approx(
        log_speed({1: 200.0}, (Level(concurrency=1),))
    )
