"""What is told of answers, with definitions checked against numpy's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.spec import LatencyConstraint, LatencyMetric
from mtp_operator.bench.steady import Pass
from mtp_operator.bench.stream import Completion
from mtp_operator.bench.summary import categories, hidden_times, interactivity, latencies, limit_counts


def answer(
    seconds: float = 2.0,
    first: float | None = 0.5,
    tokens: int | None = 101,
    category: str = "Code",
    last_share: float = 0.1,
) -> Completion:
    return Completion(tokens, seconds, "length", first, last_share, None, category)


LUMPS = [answer(last_share=0.95)] * 6 + [answer()] * 94


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=200))
def test_quantiles_are_numpys(times: list[float]) -> None:
    told = latencies([answer(seconds=time, first=None) for time in times])

    assert told.time_to_first_token is None
    assert told.time_per_output_token is None
    assert told.request_latency is not None
    milliseconds = 1000 * np.array(times)
    assert told.request_latency == pytest.approx(
        (milliseconds.mean(), *np.percentile(milliseconds, [50, 95, 99])), rel=1e-9
    )


def test_latencies_are_in_milliseconds() -> None:
    told = latencies([answer()] * 3)

    assert told.time_to_first_token == pytest.approx((500,) * 4)
    assert told.time_per_output_token == pytest.approx((15,) * 4)
    assert told.request_latency == pytest.approx((2000,) * 4)
    assert told.unmeasurable is None


def test_lumps_hide_the_times_of_tokens_but_not_those_of_requests() -> None:
    told = latencies(LUMPS)

    assert told.unmeasurable is not None
    assert "6 of 100 streams delivered 90% of their text" in told.unmeasurable
    assert told.time_to_first_token is None
    assert told.time_per_output_token is None
    assert told.request_latency == pytest.approx((2000,) * 4)
    assert interactivity([Pass(1, 1, tuple(LUMPS))]) == ()


def test_what_a_pause_of_the_machine_bunches_and_short_answers_are_tolerated() -> None:
    assert hidden_times([*LUMPS[1:], answer()], 1.0) is None
    assert hidden_times([answer(last_share=0.95)] + [answer()] * 4, 1.0) is None
    assert hidden_times([answer(last_share=0.95)] * 2 + [answer()] * 4, 1.0) is not None
    assert hidden_times([answer(tokens=17, last_share=1.0)] * 100, 1.0) is None
    assert hidden_times([answer(tokens=None, last_share=1.0)] * 100, 1.0) is not None


@pytest.mark.parametrize(
    ("messages", "first_share", "tokens_per_step", "words"),
    [
        (101, 0.01, 1.0, None),
        (26, 0.03, 1.0, None),
        (25, 0.03, 1.0, "100 of 100 streams delivered a message for more than 4.0 tokens"),
        (25, 0.03, 2.5, None),
        (7, 0.14, None, None),
        (6, 0.14, None, "delivered a message for more than 16.0 tokens"),
        (101, 0.15, 1.0, "delivered 15% of their text or more in the first chunk"),
        (101, 0.15, 4.0, None),
        (101, 0.16, 4.0, "in the first chunk"),
    ],
)
def test_few_messages_of_many_tokens_hide_their_times(
    messages: int, first_share: float, tokens_per_step: float | None, words: str | None
) -> None:
    streams = [replace(answer(), messages=messages, first_arrival_share=first_share)] * 100

    hidden = hidden_times(streams, tokens_per_step)

    assert (hidden is None) == (words is None)
    assert (words or "") in (hidden or "")


@pytest.mark.parametrize("share", [0.2, 0.9, 0.99])
def test_a_bunched_stream_makes_no_engine_look_faster(share: float) -> None:
    """What it has in its first arrival was not made after that, in no time."""
    bunched = replace(answer(seconds=0.5 + 1.5 * (1 - share)), first_arrival_share=share)
    answers = [answer()] * 19 + [bunched]

    told = latencies(answers, 1.0)

    assert told.unmeasurable is None
    assert told.time_per_output_token == pytest.approx((15,) * 4)
    assert interactivity([Pass(1, 1, tuple(answers))], 1.0) == pytest.approx((1000 / 15,))


def test_a_stream_in_one_arrival_has_no_time_per_token() -> None:
    told = latencies([answer()] * 19 + [replace(answer(seconds=0.5), first_arrival_share=1.0)], 1.0)

    assert told.time_per_output_token == pytest.approx((15,) * 4)


def test_uncounted_answers_have_no_time_per_token() -> None:
    told = latencies([answer(tokens=None)] * 3)

    assert told.time_to_first_token == pytest.approx((500,) * 4)
    assert told.time_per_output_token is None
    assert told.unmeasurable is not None
    assert "how many tokens" in told.unmeasurable


def limit(metric: LatencyMetric, most: int) -> LatencyConstraint:
    return LatencyConstraint(metric=metric, concurrency=1, max_milliseconds=most)


def test_requests_beyond_each_limit_are_counted() -> None:
    answers = [answer(first=0.1 * number) for number in range(1, 11)]
    counts = limit_counts(
        answers,
        [
            limit(LatencyMetric.P95_TTFT, 800),
            limit(LatencyMetric.P50_REQUEST_LATENCY, 1999),
            limit(LatencyMetric.P99_TPOT, 19),
        ],
    )

    assert [(one.metric, one.requests, one.exceeding) for one in counts] == [
        ("P95TimeToFirstToken", 10, 2),
        ("P50RequestLatency", 10, 10),
        ("P99TimePerOutputToken", 10, 0),
    ]


def test_nothing_is_counted_of_a_latency_that_cannot_be_measured() -> None:
    counts = limit_counts(
        LUMPS, [limit(LatencyMetric.P95_TTFT, 800), limit(LatencyMetric.P95_TPOT, 10), limit(LatencyMetric.P50_TTFT, 1)]
    )

    assert counts == ()
    assert len(limit_counts(LUMPS, [limit(LatencyMetric.P95_REQUEST_LATENCY, 800)])) == 1


def test_a_categorys_speed_is_tokens_over_latency() -> None:
    answers = [answer(1.0, tokens=100), answer(3.0, tokens=100), answer(2.0, tokens=50, category="Chat")]

    assert categories(answers) == {"Code": 50.0, "Chat": 25.0}


def test_interactivity_is_what_one_request_sees() -> None:
    one, other = answer(first=1.0), answer(first=0.0)

    assert interactivity([Pass(1, 1, (one, other)), Pass(1, 1, (one,))]) == pytest.approx((75.0, 100.0))
    assert interactivity([Pass(1, 1, (one,)), Pass(1, 1, ())]) == ()
