"""The API of the simulated GPU: what clients get, and what goes wrong on order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest

from mtp_operator.bench.draft_counters import read_counters
from mtp_operator.bench.running_server import look_at
from simulated_gpu.language import next_token, tokenized, written
from simulated_gpu.server import Server
from tests.unit.bench.virtual_time import run_in_virtual_time
from tests.unit.simulated_gpu.boot import GEMMA, NAME, VLLM, arguments, booted

Result = TypeVar("Result")

QUESTION = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 20}
SCHEMA = {
    "type": "object",
    "required": ["on", "lamps"],
    "properties": {
        "on": {"type": "boolean"},
        "lamps": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/lamp"}},
    },
    "$defs": {"lamp": {"enum": ["red", "green"]}},
}


def with_boot(use: Callable[[Server, aiohttp.ClientSession], Awaitable[Result]], *started_with: str) -> Result:
    """What comes of using one boot."""

    async def run() -> Result:
        async with booted(started_with or arguments()) as (server, session):
            return await use(server, session)

    return run_in_virtual_time(run())


def posted(path: str, body: dict[str, Any], *started_with: str) -> tuple[int, Any]:
    """Status and document that one request is answered with."""

    async def use(_: Server, session: aiohttp.ClientSession) -> tuple[int, Any]:
        async with session.post(path, json=body) as response:
            return response.status, await response.json(content_type=None)

    return with_boot(use, *started_with)


def streamed(path: str, body: dict[str, Any], *started_with: str) -> list[dict[str, Any]]:
    """The messages of one stream."""

    async def use(_: Server, session: aiohttp.ClientSession) -> str:
        async with session.post(path, json={**body, "stream": True}) as response:
            return await response.text()

    *events, done = with_boot(use, *started_with).strip().split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def scraped(session: aiohttp.ClientSession) -> str:
    async with session.get("/metrics") as response:
        return await response.text()


@pytest.mark.parametrize("text", ["", "a", "Grüße an 東京", '{\n\t"x": 1}\0\0', "🎉" * 5])
def test_tokens_are_their_text(text: str) -> None:
    assert written(tokenized(text)) == text


@pytest.mark.parametrize("n_spec", [0, 3])
def test_a_chat_streams_what_it_answers_in_one_piece(n_spec: int) -> None:
    _, whole = posted("/v1/chat/completions", QUESTION, *arguments(n_spec))
    messages = streamed(
        "/v1/chat/completions", {**QUESTION, "stream_options": {"include_usage": True}}, *arguments(n_spec)
    )

    *parts, end = messages
    text = "".join(part["choices"][0]["delta"]["content"] for part in parts)
    assert text == whole["choices"][0]["message"]["content"]
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + ["length"]
    assert end["choices"] == []
    assert end["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == 20 == len(tokenized(text))
    assert (len(parts) == 20) == (n_spec == 0)


def test_a_stream_says_its_length_only_when_asked() -> None:
    assert all("usage" not in message for message in streamed("/v1/chat/completions", QUESTION))


@pytest.mark.parametrize(
    "sampling", [{"temperature": 0}, {"temperature": 0.7, "seed": 5, "top_p": 0.9, "ignore_eos": True}]
)
def test_text_is_the_target_s_own_whatever_is_drafted(sampling: dict[str, Any]) -> None:
    body = {"prompt": tokenized("Once upon"), "max_tokens": 30, "return_token_ids": True, "cache_salt": "a", **sampling}

    answers = [posted("/v1/completions", body, *arguments(n_spec))[1]["choices"][0] for n_spec in (0, 2, 5)]

    ids = answers[0]["token_ids"]
    assert answers[0]["prompt_token_ids"] == body["prompt"]
    assert ids == [next_token(before) for before in [body["prompt"][-1], *ids[:-1]]]
    assert [one["text"] for one in answers] == [written(ids)] * 3


def test_prompt_logprobs_have_the_target_s_choice_and_the_token() -> None:
    prompt = tokenized("Once upon a time")

    _, answer = posted("/v1/completions", {"prompt": prompt, "max_tokens": 1, "prompt_logprobs": 1})

    first, *others = answer["choices"][0]["prompt_logprobs"]
    assert first is None
    assert len(others) == len(prompt) - 1
    for before, token, told in zip(prompt, prompt[1:], others, strict=False):
        assert {str(next_token(before)), str(token)} == set(told)
        assert told[str(next_token(before))]["rank"] == 1


def test_tokenize_and_detokenize_undo_each_other() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> str:
        async with session.post("/tokenize", json={"model": NAME, "prompt": "Grüße"}) as response:
            tokens = (await response.json())["tokens"]
        async with session.post("/detokenize", json={"model": NAME, "tokens": tokens}) as response:
            return str((await response.json())["prompt"])

    assert with_boot(use) == "Grüße"


def test_a_schema_is_followed() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "lamps", "schema": SCHEMA}}

    _, answer = posted("/v1/chat/completions", {**QUESTION, "max_tokens": 100, "response_format": form})

    assert json.loads(answer["choices"][0]["message"]["content"]) == {"on": True, "lamps": ["red", "red"]}
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_tool_is_called_in_pieces_too() -> None:
    tools = [{"type": "function", "function": {"name": "light", "parameters": SCHEMA}}]
    body = {**QUESTION, "max_tokens": 100, "tools": tools, "tool_choice": "required"}

    _, whole = posted("/v1/chat/completions", body)
    parts = streamed("/v1/chat/completions", body)

    (call,) = whole["choices"][0]["message"]["tool_calls"]
    pieces = [part["choices"][0]["delta"]["tool_calls"][0]["function"] for part in parts]
    assert call["function"]["name"] == pieces[0]["name"] == "light"
    assert "".join(piece["arguments"] for piece in pieces) == call["function"]["arguments"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/chat/completions", {}, 400, "messages must be"),
        ("/v1/chat/completions", {**QUESTION, "max_tokens": 9000}, 400, "maximum context length is 8192"),
        ("/v1/chat/completions", {**QUESTION, "model": "gpt"}, 404, "The model `gpt` does not exist"),
        ("/v1/chat/completions", {**QUESTION, "n": 2}, 400, "only one choice"),
        ("/v1/completions", {"prompt": []}, 400, "only one prompt at a time"),
        ("/v1/completions", {"prompt": [1 << 30]}, 400, "out of vocabulary"),
        ("/detokenize", {"tokens": [-1]}, 400, "out of vocabulary"),
    ],
)
def test_what_is_refused(path: str, body: dict[str, Any], status: int, words: str) -> None:
    answered, document = posted(path, body)

    assert answered == status
    assert words in document["error"]["message"]


def test_it_is_vllm_that_says_it_is_none() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> None:
        server = await look_at(session, "http://engine", None)
        assert (server.name, server.model) == ("VLLM", NAME)
        async with session.get("/version") as response:
            assert (await response.json())["version"].startswith("simulated-gpu ")
        assert f'simulated_gpu_info{{curve="{GEMMA}"}} 1.0\n' in await scraped(session)
        async with session.get("/health") as response:
            assert response.ok

    with_boot(use)


def test_without_speculation_no_counter_speaks_of_it() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> str:
        return await scraped(session)

    assert "spec_decode" not in with_boot(use)
    assert "vllm:spec_decode_num_drafts_total{" in with_boot(use, *arguments(2))


def test_more_requests_than_there_are_places_wait() -> None:
    async def use(server: Server, session: aiohttp.ClientSession) -> float:
        async def ask() -> None:
            async with session.post("/v1/completions", json={"prompt": "a", "max_tokens": 397}) as response:
                await response.read()

        clock = asyncio.get_running_loop().time
        begin = clock()
        asked = [asyncio.ensure_future(ask()) for _ in range(3)]
        await asyncio.sleep(1)
        assert (server.gpu.running, server.gpu.waiting) == (2, 1)
        await asyncio.gather(*asked)
        return clock() - begin

    # 397 tokens take 10 s at 39.685 tokens per second.
    assert with_boot(use, *arguments(max_num_seqs=2)) == pytest.approx(20, rel=0.01)


def test_a_client_that_leaves_frees_its_place() -> None:
    async def use(server: Server, session: aiohttp.ClientSession) -> tuple[int, int]:
        async def ask() -> None:
            async with session.post("/v1/completions", json={"prompt": "a", "max_tokens": 397}) as response:
                await response.read()

        asked = [asyncio.ensure_future(ask()) for _ in range(3)]
        await asyncio.sleep(1)
        asked[0].cancel()
        asked[2].cancel()
        await asyncio.sleep(1)
        return server.gpu.running, server.gpu.waiting

    assert with_boot(use, *arguments(max_num_seqs=2)) == (1, 0)


def test_a_share_of_the_answers_is_aborted() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> list[str]:
        reasons = []
        for _number in range(8):
            async with session.post("/v1/chat/completions", json=QUESTION) as response:
                reasons.append((await response.json())["choices"][0]["finish_reason"])
        assert 'vllm:request_success_total{engine="0",model_name="tiny",finished_reason="abort"} 2.0' in await scraped(
            session
        )
        return reasons

    assert with_boot(use, *arguments(faults={"aborted_share": 0.25})).count("abort") == 2


def test_the_first_scrapes_fail() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> list[int]:
        statuses = []
        for _number in range(3):
            async with session.get("/metrics") as response:
                statuses.append(response.status)
        return statuses

    assert with_boot(use, *arguments(faults={"failed_scrapes": 2})) == [503, 503, 200]


def test_it_hangs_from_a_request_on() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> None:
        async def ask() -> None:
            async with session.post("/v1/chat/completions", json=QUESTION) as response:
                await response.read()

        await ask()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(), 3600)

    with_boot(use, *arguments(faults={"hangs_from_request": 1}))


def test_the_bench_reads_its_counters() -> None:
    async def use(_: Server, session: aiohttp.ClientSession) -> str:
        async with session.post("/v1/chat/completions", json=QUESTION) as response:
            await response.read()
        return await scraped(session)

    counters = read_counters(with_boot(use, *arguments(3)), VLLM.metrics)

    assert counters.generated_tokens == 20
    assert counters.drafting is not None
    assert counters.drafting.draft_tokens == 3 * counters.drafting.drafts
    assert len(counters.drafting.accepted_per_position) == 3
