"""An answer as it arrives, however the network cuts it."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.spec import EngineType
from mtp_operator.bench.dialect import Dialect, OpenAICompatible
from mtp_operator.bench.stream import AnswerReader, Completion, RequestError
from mtp_operator.engines import RequestDrafts, engine_for
from tests.unit.bench.fake_engine import delta, event

VLLM, LLAMA_CPP = engine_for(EngineType.VLLM), engine_for(EngineType.LLAMA_CPP)

ROLE = event(delta(role="assistant", content=""))
USAGE = event({"choices": [], "usage": {"completion_tokens": 7, "prompt_tokens": 3}})
DONE = b"data: [DONE]\n\n"


def read(*arrivals: tuple[float, bytes], dialect: Dialect = VLLM) -> Completion:
    reader = AnswerReader(dialect)
    for seconds, data in arrivals:
        reader.feed(data, seconds)
    return reader.completion("Code")


def test_times_are_those_of_the_first_token_and_of_the_last_message_with_a_choice() -> None:
    answer = read(
        (0.1, ROLE),
        (0.25, event(delta(content="one"))),
        (0.50, event(delta(content=" two three"))),
        (1.0, event(delta("stop"))),
        (1.5, USAGE + DONE),
    )

    assert answer == Completion(
        output_tokens=7,
        seconds=1.0,
        finish_reason="stop",
        first_token_seconds=0.25,
        last_arrival_share=10 / 13,
        category="Code",
        messages=2,
        first_arrival_share=3 / 13,
        prompt_tokens=3,
    )
    assert answer.seconds_per_output_token == pytest.approx(0.75 / 6)


@pytest.mark.parametrize(
    "said",
    [
        {"content": "a"},
        {"reasoning_content": "a"},
        {"reasoning": "a"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
    ],
)
def test_a_first_token_of_any_kind_counts(said: dict[str, Any]) -> None:
    answer = read((0.1, ROLE), (0.2, event(delta(**said))), (0.3, event(delta("stop", content="b"))), (0.3, USAGE))

    assert answer.first_token_seconds == 0.2


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_engine_aborted_is_cut_although_it_came_with_http_200(reason: str) -> None:
    with pytest.raises(RequestError, match=f"finish_reason {reason}") as caught:
        read((0.2, event(delta(content="a"))), (0.3, event(delta(reason))), (0.3, USAGE + DONE))

    assert caught.value.is_cut


def test_an_answer_without_any_text_has_no_first_token() -> None:
    answer = read((0.1, ROLE), (0.2, event(delta("stop", content=None))), (0.2, USAGE))

    assert answer.first_token_seconds is None
    assert answer.seconds_per_output_token is None


def test_one_token_has_no_time_per_output_token() -> None:
    last = event({"choices": [], "usage": {"completion_tokens": 1}})

    assert read((0.1, event(delta("length", content="a"))), (0.1, last)).seconds_per_output_token is None


def test_what_arrives_together_is_one_arrival() -> None:
    tokens = b"".join(event(delta(content="x")) for _ in range(19))

    lump = read((0.1, event(delta(content="x"))), (0.9, tokens + event(delta("length")) + USAGE + DONE))

    assert lump.last_arrival_share == pytest.approx(0.95)


def test_llama_cpp_tells_drafts_and_tokens_in_its_timings() -> None:
    timings = {"predicted_n": 8, "draft_n": 4, "draft_n_accepted": 3}
    answer = read(
        (0.1, event(delta(content="x"))),
        (0.2, event({**delta("length"), "timings": timings})),
        dialect=LLAMA_CPP,
    )

    assert (answer.output_tokens, answer.drafts) == (8, RequestDrafts(4, 3))


def test_vllm_tells_drafts_beside_usage_if_it_is_told_to() -> None:
    told = {"num_draft_tokens": 6, "num_accepted_draft_tokens": 5}
    last = event({"choices": [], "usage": {"completion_tokens": 8}, "metrics": {"speculative_decoding": told}})

    assert read((0.1, event(delta("length", content="x"))), (0.1, last)).drafts == RequestDrafts(6, 5)


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "function_call"])
def test_a_whole_answer_ends_for_one_of_four_reasons(reason: str) -> None:
    assert read((0.1, event(delta(reason, content="a")) + USAGE)).finish_reason == reason


@pytest.mark.parametrize(
    ("dialect", "last"),
    [
        (VLLM, {"usage": {"completion_tokens": 8, "prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}}),
        (VLLM, {"usage": {"completion_tokens": 8, "prompt_tokens": 9, "prompt_tokens_details": None}}),
        (LLAMA_CPP, {"timings": {"predicted_n": 8, "cache_n": 5}, "usage": {"prompt_tokens": 9}}),
    ],
)
def test_tokens_out_of_a_cache(dialect: Dialect, last: dict[str, Any]) -> None:
    answer = read((0.1, event(delta("length", content="x"))), (0.1, event({"choices": [], **last})), dialect=dialect)

    assert answer.prompt_tokens == 9
    assert answer.cached_tokens == (5 if "5" in json.dumps(last) else None)


def test_any_other_server_is_understood_too() -> None:
    lines = (ROLE + event(delta("stop", content="a")) + USAGE + DONE).replace(b"\n", b"\r\n")

    assert read((0.1, b": ping\r\n\r\n" + lines), dialect=OpenAICompatible()).output_tokens == 7


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "its stream ended before its first token"),
        (ROLE, "its stream ended before its first token"),
        (event(delta(content="four")) + DONE, "its stream ended after 4 characters"),
        (event(delta("abort", content="four")) + DONE, "ended after 4 characters, with finish_reason abort"),
        (event(delta("error")) + DONE, "ended before its first token, with finish_reason error"),
        (event({"error": {"message": "CUDA error", "code": 500}}), "reports an error within its answer.*CUDA error"),
        (b"data: {nonsense\n\n", "not valid JSON: {nonsense"),
        (b"data: [1]\n\n", "not a JSON object"),
    ],
)
def test_what_is_no_whole_answer(data: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read((0.1, data))


@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8),
    st.lists(st.integers(0, 1500), max_size=12),
)
def test_the_networks_cuts_change_nothing_but_times(words: list[str], cuts: list[int]) -> None:
    whole = ROLE + b"".join(event(delta(content=word)) for word in words) + event(delta("stop")) + USAGE + DONE
    places = [0, *sorted(cut % len(whole) for cut in cuts), len(whole)]
    parts = [whole[begin:end] for begin, end in pairwise(places)]

    answer = read(*((index / 10, part) for index, part in enumerate(parts)))

    assert (answer.output_tokens, answer.finish_reason) == (7, "stop")
    assert answer.first_token_seconds is not None
    assert 0 <= answer.first_token_seconds <= answer.seconds <= len(parts) / 10


@pytest.mark.parametrize(
    "message",
    [
        b'{"choices":["x"]}',
        b'{"choices":[],"usage":[1]}',
        b'{"choices":7}',
        b'{"choices":[{"delta":[1]}]}',
        b"[" * 200_000,
    ],
    ids=range(5),
)
def test_a_malformed_answer_is_a_failure_of_its_request_in_words(message: bytes) -> None:
    with pytest.raises(RequestError, match=r"the answer is not|does not follow the API"):
        read((0.1, b"data: " + message + b"\n\n"))


def test_a_line_without_an_end_fills_no_memory() -> None:
    reader = AnswerReader(VLLM)
    for _ in range(128):
        reader.feed(b"x" * 65_536, 0.1)

    with pytest.raises(RequestError, match="a line of more than 8 MiB"):
        reader.feed(b"x", 0.1)
