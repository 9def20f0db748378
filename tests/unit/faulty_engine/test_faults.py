"""The planted faults themselves: each changes what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faulty_engine.command import parse
from tests.faulty_engine.faults import FAULTS, Break, Engine, TokensReplaced

LLAMACPP = ["--model", "m.gguf", "--host", "10.1.2.3", "--port", "8080", "--log-file", "e.log"]
DRAFTING = [*LLAMACPP, "--spec-type", "draft-mtp", "--spec-draft-n-max", "3"]
VLLM = ["/models/m", "--port=8000", '--speculative-config={"method": "mtp", "num_speculative_tokens": 2}']


@pytest.mark.parametrize(
    ("arguments", "n_spec", "fault"),
    [
        (LLAMACPP, 0, None),
        (DRAFTING, 3, None),
        ([*DRAFTING, "--plant", "Sinking:3"], 3, "Sinking"),
        ([*DRAFTING, "--plant=Sinking:3"], 3, "Sinking"),
        ([*DRAFTING, "--plant", "Sinking:2"], 3, None),
        ([*LLAMACPP, "--plant", "Sinking:0"], 0, "Sinking"),
        ([*VLLM, "--plant=Sinking:2"], 2, "Sinking"),
        ([*DRAFTING, "--plant=Sinking:3", "--plant=TextAltered:2"], 3, "Sinking"),
        ([*DRAFTING, "--plant=TextAltered:2", "--plant=Sinking:3"], 3, "Sinking"),
    ],
)
def test_a_fault_belongs_to_one_n(arguments: list[str], n_spec: int, fault: str | None) -> None:
    command = parse(arguments)

    assert (command.n_spec, command.fault) == (n_spec, fault)
    assert not any("fault" in argument or "Sinking" in argument for argument in command.arguments)


@pytest.mark.parametrize("arguments", [LLAMACPP, VLLM])
def test_the_engine_listens_elsewhere(arguments: list[str]) -> None:
    moved = parse(arguments).on_port(9)

    assert parse(list(moved)).port == 9
    assert "10.1.2.3" not in moved
    assert len(moved) == len(arguments)


@pytest.mark.parametrize("arguments", [["--model", "m"], [*LLAMACPP, "--plant=Sinking"], [*LLAMACPP, "--plant=:1"]])
def test_what_cannot_be_planted_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^--(port|plant) is"):
        parse(arguments)


def test_dropped_speculation_leaves_no_flag_of_it() -> None:
    fault = FAULTS["SpeculationDropped"]()

    assert fault.arguments(tuple(DRAFTING)) == tuple(LLAMACPP)
    assert fault.arguments(tuple(VLLM)) == tuple(VLLM[:2])


def engine() -> Engine:
    def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/detokenize"
        return {"content": " ".join(map(str, body["tokens"]))}

    return Engine(ask, stop=print)


def test_one_token_in_fifty_is_another_one_in_text_and_ids() -> None:
    ids = list(range(1000))
    answer = TokensReplaced().answer(engine(), {"n_predict": 1000}, {"tokens": list(ids), "content": "x"})

    replaced = sum(before != after for before, after in zip(ids, answer["tokens"], strict=True))
    assert 10 <= replaced <= 30
    assert answer["content"] == " ".join(map(str, answer["tokens"]))


@pytest.mark.parametrize("fault", ["TokensReplaced", "TextAltered"])
def test_a_single_token_is_scored_as_it_is(fault: str) -> None:
    answer = {"tokens": [7], "content": "seven"}

    assert FAULTS[fault]().answer(engine(), {"n_predict": 1}, dict(answer)) == answer


def stream(count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        yield {"choices": [{"delta": {"content": f"{index} "}, "finish_reason": None}]}
    yield {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": {"completion_tokens": count}}


def test_bunched_tokens_are_all_there() -> None:
    events = list(FAULTS["TokensBunched"]().events({"max_tokens": 40}, stream(40), number=0))

    texts = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(texts) == "".join(f"{index} " for index in range(40))
    assert len(texts[4]) > 0.9 * len("".join(texts))
    assert events[-1]["usage"] == {"completion_tokens": 40}


def test_a_cut_stream_ends_in_the_middle() -> None:
    events = FAULTS["StreamsCut"]().events({"max_tokens": 40}, stream(40), number=6)

    assert "choices" in next(events)
    with pytest.raises(Break):
        list(events)
    assert len(list(FAULTS["StreamsCut"]().events({"max_tokens": 40}, stream(40), number=7))) == 41


def test_missing_counters_leave_the_others() -> None:
    fault = FAULTS["CountersMissing"]()

    assert fault.metrics("a:tokens_total 5\na:spec_decode_num_drafts_total 3\n") == "a:tokens_total 5\n"
    (event,) = fault.events({}, iter([{"timings": {"predicted_n": 5, "draft_n": 3}}]), number=0)
    assert event == {"timings": {"predicted_n": 5}}
