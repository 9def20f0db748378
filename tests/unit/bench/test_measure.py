"""Levels whose throughput sinks, on a clock that jumps."""

from collections.abc import Callable

import pytest

from mtp_operator.api.spec import PromptCategory
from mtp_operator.bench.gates import disqualification, warnings
from mtp_operator.bench.load import Level, LevelRun
from mtp_operator.bench.measure import Findings, measure
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.bench.steady import MIN_WINDOWS
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time

MIX = built_in_mix([PromptCategory.CODE, PromptCategory.CHAT], seed=7)
OUTPUT_TOKENS = 128
LEVEL_SECONDS = 20.0
LONGEST_SECONDS = 8 * LEVEL_SECONDS


def measured(engine: FakeEngine) -> LevelRun:
    """The only level of a measurement: passes of two requests."""
    findings = Findings()
    level = Level(1, OUTPUT_TOKENS, LEVEL_SECONDS, MIX.level(0), MIX.pass_length(1))
    run_in_virtual_time(engine.run(lambda client: measure(client, MIX.probe, [level], 60, findings)))
    (run,) = findings.runs
    return run


def reason(run: LevelRun) -> str | None:
    failure = disqualification(0, [run])
    return failure.reason if failure else None


def warned(run: LevelRun) -> list[str]:
    return [one.reason for one in warnings(0, [run])]


def from_request(change: int, before: float, after: float) -> Callable[[int], float]:
    """A speed that changes once. The first request is the one that finds the engine ready."""
    return lambda number: before if number <= change else after


@pytest.mark.parametrize("change", [2, 3, 4, 6, 7])
def test_what_throttles_is_measured_at_the_speed_that_it_keeps(change: int) -> None:
    engine = FakeEngine(tokens_per_second=from_request(change, 100.0, 60.0))

    run = measured(engine)

    assert reason(run) is None
    assert run.windows == pytest.approx([60.0] * MIN_WINDOWS)
    assert "ThroughputSank" in warned(run)


def test_the_level_has_only_what_was_measured_last() -> None:
    engine = FakeEngine(tokens_per_second=from_request(4, 100.0, 60.0))

    run = measured(engine)

    assert run.requests < len(engine.bodies) - 1
    assert run.counters is not None
    assert run.counters.generated_tokens == run.output_tokens == OUTPUT_TOKENS * run.requests
    prompts = [str(body["messages"]) for body in engine.bodies[1:]]
    assert len(set(prompts)) == len(prompts)


def test_what_sinks_all_the_time_is_given_up_at_the_longest_time() -> None:
    engine = FakeEngine(tokens_per_second=lambda number: 100.0 * 0.97**number)

    run = measured(engine)

    assert reason(run) == "Drifting"
    tokens = OUTPUT_TOKENS * (len(engine.bodies) - 1)
    assert tokens > 2 * run.output_tokens
    assert sum(OUTPUT_TOKENS / (100.0 * 0.97**number) for number in range(len(engine.bodies))) < LONGEST_SECONDS


def test_what_becomes_too_slow_to_be_measured_again_has_sunk() -> None:
    engine = FakeEngine(tokens_per_second=lambda number: 1.0 if number > 12 else from_request(4, 100.0, 60.0)(number))

    run = measured(engine)

    assert reason(run) == "Drifting"
    assert len(engine.bodies) - 1 > run.requests > 2 * MIN_WINDOWS


def test_failed_requests_are_not_measured_away() -> None:
    engine = FakeEngine(tokens_per_second=from_request(4, 100.0, 60.0), fails=lambda number: number == 3)

    run = measured(engine)

    assert reason(run) == "RequestsFailed"
    assert len(engine.bodies) == run.requests + 1


def test_a_steady_level_is_measured_once() -> None:
    engine = FakeEngine()

    run = measured(engine)

    assert run.requests == len(engine.bodies) - 1
    assert "ThroughputSank" not in warned(run)
