"""The closed loop against an engine whose speed is known, on a clock that jumps."""

import pytest

from mtp_operator.api.spec import LatencyConstraint, LatencyMetric, PromptCategory, Sampling, SamplingMode
from mtp_operator.bench.load import (
    MAX_FAILED_REQUESTS,
    EngineGoneError,
    EngineHungError,
    Level,
    LevelRun,
    TooSlowError,
    run_level,
)
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.bench.steady import MIN_WINDOWS
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time

MIX = built_in_mix([PromptCategory.CODE, PromptCategory.CHAT], seed=7)


def measure(
    engine: FakeEngine,
    concurrency: int = 1,
    output_tokens: int = 128,
    level_seconds: float = 60,
    sampling: Sampling | None = None,
    limits: tuple[LatencyConstraint, ...] = (),
    ceiling_seconds: float | None = None,
) -> LevelRun:
    pass_length = MIX.pass_length(concurrency)
    level = Level(concurrency, output_tokens, level_seconds, MIX.level(0), pass_length, limits, ceiling_seconds)
    return run_in_virtual_time(engine.run(lambda client: run_level(client, level), sampling))


def test_a_steady_engine_is_measured_in_the_fewest_passes() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda _: 130.0))

    assert run.windows == pytest.approx([130.0] * MIN_WINDOWS)
    assert run.seconds == pytest.approx(MIN_WINDOWS * 2 * 128 / 130)


def test_cold_passes_do_not_count() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda number: 20.0 if number < 4 else 100.0))

    assert run.windows == pytest.approx([100.0] * MIN_WINDOWS)
    assert len(run.passes) == 2 + MIN_WINDOWS


def test_a_noisy_engine_is_measured_until_its_time_is_up() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda number: 100.0 if number % 4 < 2 else 80.0), level_seconds=60)

    assert MIN_WINDOWS < len(run.windows) < len(run.passes)
    assert 55 < run.seconds <= 60


@pytest.mark.parametrize("concurrency", [1, 2, 3, 8, 16])
def test_exactly_so_many_requests_are_in_flight(concurrency: int) -> None:
    engine = FakeEngine()

    run = measure(engine, concurrency)

    assert engine.most_in_flight == concurrency
    assert sum(run.windows) / len(run.windows) == pytest.approx(100.0 * concurrency, rel=0.01)


def test_requests_of_unlike_speed_leave_no_slot_idle() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda number: 200.0 if number % 2 else 50.0), concurrency=2)

    # A pass that waited for its slowest request would see 2 requests per 128 / 50 s.
    assert sum(run.windows) / len(run.windows) > 1.2 * 2 * 50


def test_every_arm_gets_the_same_prompts_in_the_same_order() -> None:
    slow, fast = FakeEngine(tokens_per_second=lambda _: 40.0), FakeEngine(tokens_per_second=lambda _: 140.0)

    measure(slow)
    measure(fast)

    said = [[body["messages"] for body in engine.bodies] for engine in (slow, fast)]
    assert said[0] == said[1][: len(said[0])]
    assert said[0][0] != said[0][1]


def test_requests_are_greedy_and_never_answered_from_a_cache() -> None:
    engine = FakeEngine()

    measure(engine, sampling=Sampling(mode=SamplingMode.GREEDY))

    for body in engine.bodies:
        assert body["temperature"] == 0
        assert body["top_p"] == body["repeat_penalty"] == 1
        assert body["cache_prompt"] is False
        assert "ignore_eos" not in body


def test_every_request_has_a_seed_of_its_own_which_every_arm_repeats() -> None:
    sampling = Sampling(mode=SamplingMode.CUSTOM, temperature_milli=700)
    engines = [FakeEngine(), FakeEngine()]

    for engine in engines:
        measure(engine, sampling=sampling)

    seeds = [[body["seed"] for body in engine.bodies] for engine in engines]
    assert seeds[0] == seeds[1]
    assert len(set(map(str, seeds[0]))) == len(seeds[0])


def test_counters_belong_to_all_requests_of_the_level() -> None:
    engine = FakeEngine(drafts=1000)

    run = measure(engine, concurrency=4)

    assert run.counters is not None
    assert run.counters.drafting is not None
    assert run.requests == len(engine.bodies)
    assert run.output_tokens == 128 * run.requests
    assert run.counters.drafting.drafts == 10 * run.requests
    assert run.counters.drafting.accepted_per_position == (10 * run.requests, 0)


def test_requests_under_way_at_the_end_are_waited_for_and_counted() -> None:
    engine = FakeEngine(tokens_per_second=lambda number: 50.0 if number == 8 else 100.0)

    run = measure(engine, concurrency=2, level_seconds=3)

    assert run.seconds > 2 * 3
    assert run.requests == len(engine.bodies)
    assert run.counters is not None
    assert run.counters.drafting is not None
    assert run.counters.drafting.drafts == 10 * run.requests


def test_a_request_that_hangs_at_the_end_is_not_waited_for_for_ever() -> None:
    with pytest.raises(EngineHungError, match=r"1 of the last 2 requests .* got no complete answer within 10 s"):
        measure(FakeEngine(tokens_per_second=lambda number: 1e-9 if number == 8 else 100.0), 2, level_seconds=3)


def test_failed_requests_are_counted_and_the_loop_goes_on() -> None:
    run = measure(FakeEngine(fails=lambda number: number == 3))

    assert [str(one) for one in run.failures] == ["HTTP 500: broken"]
    assert len(run.windows) >= MIN_WINDOWS


def test_a_stream_that_is_cut_is_a_failed_request() -> None:
    run = measure(FakeEngine(is_cut=lambda number: number == 3))

    (failure,) = run.failures
    assert str(failure) == "the answer is cut: its stream ended after 40 characters, without a finish_reason"
    assert failure.is_cut


def test_times_of_tokens_are_those_of_the_stream() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda _: 100.0), output_tokens=101)

    for answer in run.completions:
        assert answer.first_token_seconds == pytest.approx(1.01 / 4, abs=1e-6)
        assert answer.seconds == pytest.approx(1.01)
        assert answer.seconds_per_output_token == pytest.approx(1.01 * 3 / 4 / 100)


def test_where_usage_is_missing_the_engines_counter_tells_the_tokens() -> None:
    run = measure(FakeEngine(says_usage=False, generated=5000))

    assert run.windows == pytest.approx([100.0] * MIN_WINDOWS)
    assert run.uncounted == run.requests
    assert run.output_tokens == 128 * run.requests


def test_answers_that_nobody_counts_are_failures() -> None:
    run = measure(FakeEngine(says_usage=False, has_metrics=False))

    assert len(run.failures) == MAX_FAILED_REQUESTS
    assert "usage.completion_tokens" in str(run.failures[0])


def test_a_level_with_a_limit_uses_its_time_for_as_many_requests_as_it_can() -> None:
    limit = LatencyConstraint(metric=LatencyMetric.P95_TTFT, concurrency=1, max_milliseconds=500)

    steady = measure(FakeEngine(), output_tokens=16, limits=(limit,))
    slow = measure(FakeEngine(), limits=(limit,))

    assert 59 < steady.seconds <= 60
    assert len(steady.warm_answers) > 300
    assert 60 < slow.seconds < 120
    assert len(slow.warm_answers) in (60, 61, 62)


def test_a_last_pass_that_is_slower_than_the_one_before_does_not_spoil_a_level_with_a_limit() -> None:
    """Passes of 4 s; the last begins when there is time for one more, and takes twice as long."""
    limit = LatencyConstraint(metric=LatencyMetric.P95_REQUEST_LATENCY, concurrency=1, max_milliseconds=5_000)
    run = measure(
        FakeEngine(tokens_per_second=lambda number: 64.0 if number < 18 else 32.0),
        level_seconds=20,
        limits=(limit,),
        ceiling_seconds=40,
    )

    assert run.seconds == pytest.approx(40)
    assert len(run.windows) == 9
    assert len(run.completions) == 19


def test_an_engine_that_fails_every_request_is_not_asked_for_ever() -> None:
    run = measure(FakeEngine(fails=lambda _: True))

    assert len(run.failures) == MAX_FAILED_REQUESTS
    assert run.windows == ()


@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_engine_that_dies_ends_the_level(concurrency: int) -> None:
    with pytest.raises(EngineGoneError, match="Server disconnected"):
        measure(FakeEngine(dies_at_request=3), concurrency)


def test_an_engine_that_hangs_is_told_from_one_that_is_slow() -> None:
    with pytest.raises(EngineHungError, match=r"no data for 12\d s with 4 of 4 requests.* /health answers 200"):
        measure(FakeEngine(tokens_per_second=lambda number: 100.0 if number < 13 else 1e-9), concurrency=4)


def test_an_engine_that_hangs_within_a_short_level_is_told_at_its_end() -> None:
    with pytest.raises(EngineHungError, match=r"no data for 60 s with 1 of 1 requests"):
        measure(FakeEngine(tokens_per_second=lambda number: 100.0 if number < 3 else 1e-9), level_seconds=8)


def test_a_pause_of_a_moment_at_the_end_of_a_short_level_is_no_hang() -> None:
    slow = FakeEngine(tokens_per_second=lambda number: 1280.0 if number < 3 else 8.0, arrives_at_once=True)
    with pytest.raises(TooSlowError, match="only 0 of the 4 passes needed"):
        measure(slow, output_tokens=32, level_seconds=1, ceiling_seconds=3)


def test_an_engine_that_hangs_from_the_first_request_on_is_not_called_slow() -> None:
    with pytest.raises(EngineHungError, match=r"no data for 64 s with 1 of 1"):
        measure(FakeEngine(tokens_per_second=lambda _: 1e-9), level_seconds=8)


def test_a_slow_engine_gets_the_time_that_it_needs() -> None:
    """A pass takes 17 s, a level 8 s."""
    run = measure(FakeEngine(tokens_per_second=lambda _: 30.0), output_tokens=256, level_seconds=8, ceiling_seconds=200)

    assert run.windows == pytest.approx([30.0] * MIN_WINDOWS)
    assert run.seconds == pytest.approx(MIN_WINDOWS * 2 * 256 / 30)


def test_a_slow_and_noisy_engine_is_measured_for_as_many_passes_as_any_other() -> None:
    run = measure(FakeEngine(tokens_per_second=lambda number: 30.0 if number % 4 < 2 else 24.0), level_seconds=8)

    assert len(run.passes) == 6
    assert run.seconds <= 8 * 8


def test_an_engine_that_is_too_slow_even_for_the_ceiling() -> None:
    words = r"only 0 of the 4 passes needed \(3 answers\) fit into 64 s at concurrency 1: lower outputTokens.*--seconds"
    with pytest.raises(TooSlowError, match=words):
        measure(FakeEngine(tokens_per_second=lambda _: 15.0), output_tokens=256, level_seconds=8)


def test_a_scrape_that_fails_once_is_tried_again() -> None:
    steady, once = measure(FakeEngine()), measure(FakeEngine(failing_scrapes=1))

    assert once.counters is not None
    assert once.counters == steady.counters
