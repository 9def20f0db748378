"""Constraints on latency."""

import pytest

from mtp_operator.measures.quantities import LatencyCount
from mtp_operator.tuner.constraints import Outcome, quantile_within
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Arm, LevelMeasurement, Measure, Settings, Verdict

METRIC = "P95TimeToFirstToken"


@pytest.mark.parametrize(
    ("requests", "exceeding", "outcome"),
    [
        (59, 0, Outcome.UNKNOWN),  # too few, whatever they say
        (60, 0, Outcome.PASS),  # 0.95^60 = 0.046
        (60, 1, Outcome.UNKNOWN),
        (60, 3, Outcome.UNKNOWN),  # as many as a quantile at the limit would have
        (60, 7, Outcome.FAIL),  # P(X >= 7) = 0.03 at 5 %
        (1000, 30, Outcome.PASS),
        (1000, 50, Outcome.UNKNOWN),
        (1000, 70, Outcome.FAIL),
        (1000, 1000, Outcome.FAIL),
    ],
)
def test_the_quantile_is_judged_by_binomial_bounds(requests: int, exceeding: int, outcome: Outcome) -> None:
    assert quantile_within(requests, exceeding, 0.95) is outcome


def arm(n: int, speed: float, requests: int, exceeding: int, boot: int = 0) -> Arm:
    count = LatencyCount(metric=METRIC, max_milliseconds=800, requests=requests, exceeding=exceeding)
    level = LevelMeasurement(concurrency=1, windows=(speed,) * 8, latencies=(count,))
    return Arm(n_spec=n, boot=boot, levels=(level,))


SETTINGS = Settings.model_validate(
    {
        "nSpecs": [0, 2, 4],
        "maxTrials": 6,
        "levels": [{"concurrency": 1}],
        "constraints": [{"metric": METRIC, "concurrency": 1, "maxMilliseconds": 800}],
    }
)


def test_an_n_that_breaks_a_constraint_is_not_selected_though_it_is_fastest() -> None:
    arms = [arm(0, 50, 100, 0), arm(2, 80, 100, 0), arm(4, 120, 100, 40)]

    verdict = next_step(arms, SETTINGS.model_copy(update={"max_trials": 3}))

    assert isinstance(verdict, Verdict)
    assert verdict.n_spec == 2


def test_an_unknown_constraint_is_repeated_once_then_fails() -> None:
    once = [arm(0, 50, 100, 0), arm(2, 51, 100, 0), arm(4, 120, 20, 0)]
    twice = [*once, arm(4, 120, 20, 0, boot=1)]

    again = next_step(once, SETTINGS)
    end = next_step(twice, SETTINGS.model_copy(update={"max_trials": 4}))

    assert isinstance(again, Measure)
    assert (again.n_spec, again.boot) == (4, 1)
    assert isinstance(end, Verdict)
    assert end.n_spec != 4
