"""A server as a user meets one: it streams a message a step, drafts, counts and caches, and has one fault at a time."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import aiohttp
from aiohttp import web
from typer.testing import CliRunner, Result

from mtp_operator.bench import engine_client
from mtp_operator.cli.main import app

from .fake_engine import delta, event, listening
from .virtual_time import run_in_virtual_time

PROMPT_TOKENS = 9


@dataclass
class SteppingEngine:
    """Right in every way, unless it is told otherwise. Requests are numbered from 0."""

    n_spec: int = 0
    accepted: Callable[[int], int] = lambda _: 0
    """Draft tokens that are accepted in each drafting step of the request with this number."""
    drafts: Callable[[int], bool] = lambda _: True
    """Whether the step with this number, counted over all requests, drafts."""
    step_seconds: float = 0.01
    prefill_seconds: float = 0.02
    owner: str = "vllm"
    answer_tokens: Callable[[int, int], int] = lambda _, asked: asked
    finish_reason: Callable[[int], str] = lambda _: "length"
    hangs: Callable[[int], bool] = lambda _: False
    """Whether a request gets nothing, for ever."""
    shows: Callable[[int], bool] = lambda _: True
    """Whether the token at this place of an answer is streamed."""
    buffer_bytes: int = 0
    """What something between engine and client collects before it passes it on."""
    counts_messages: bool = False
    """Whether `usage` counts messages in place of tokens."""
    claims: int = 1
    """Times the tokens of its answers that `usage` and its counters report."""
    streams: bool = True
    has_prefix_cache: bool = False
    has_metrics: bool = True
    scrape: Callable[[int, str], web.Response] = lambda _, text: web.Response(text=text)
    """The answer to the scrape with this number, given what is right."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    scrapes: int = 0
    steps: int = 0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("generated", "drafts", "accepted", "hits"), 0)
    )
    accepted_at: list[int] = field(default_factory=lambda: [0] * 16)
    cache: set[str] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/v1/models":
                return web.json_response({"data": [{"id": "tiny", "owned_by": self.owner}]})
            case "/metrics":
                return self._scraped() if self.has_metrics else web.Response(status=404)
            case "/v1/chat/completions":
                return await self._complete(request)
            case "/health":
                return web.Response()
        return web.Response(status=404)

    def _scraped(self) -> web.Response:
        number, self.scrapes = self.scrapes, self.scrapes + 1
        return self.scrape(number, self._metrics())

    def _metrics(self) -> str:
        labels = 'engine="0",model_name="tiny"'
        values = {
            "generation_tokens_total": self.counts["generated"],
            "prefix_cache_hits_total": self.counts["hits"],
        }
        if self.n_spec:
            values |= {
                "spec_decode_num_drafts_total": self.counts["drafts"],
                "spec_decode_num_draft_tokens_total": self.n_spec * self.counts["drafts"],
                "spec_decode_num_accepted_tokens_total": self.counts["accepted"],
            }
        lines = [f"vllm:{name}{{{labels}}} {value}" for name, value in values.items()]
        name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
        lines += [f'{name}{{{labels},position="{k}"}} {self.accepted_at[k]}' for k in range(self.n_spec)]
        return "\n".join(lines) + "\n"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        number = len(self.bodies)
        body = await request.json()
        self.bodies.append(body)
        if self.hangs(number):
            await asyncio.Event().wait()
        asked = body["max_tokens"]
        if not self.streams:
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * asked},
                "finish_reason": "length",
            }
            return web.json_response({"choices": [choice], "usage": {"completion_tokens": asked}})
        answer = _Answer(self, number, self.answer_tokens(number, asked), self._cached(body))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        held = b""
        async for data in answer.messages():
            held += data
            if len(held) > self.buffer_bytes:
                await response.write(held)
                held = b""
        await response.write(held)
        return response

    def _cached(self, body: dict[str, Any]) -> int:
        key = json.dumps([body.get("cache_salt"), body["messages"]])
        cached = PROMPT_TOKENS - 1 if self.has_prefix_cache and key in self.cache else 0
        self.cache.add(key)
        self.counts["hits"] += cached
        return cached


class _Answer:
    def __init__(self, engine: SteppingEngine, number: int, tokens: int, cached: int) -> None:
        self._engine = engine
        self._number = number
        self._tokens = tokens
        self._cached = cached

    async def messages(self) -> Any:
        """What is sent, when it is sent."""
        engine = self._engine
        written = sent = 0
        await asyncio.sleep(0 if self._cached else engine.prefill_seconds)
        while written < self._tokens:
            made = 1 if written == 0 else await self._step()
            made = min(made, self._tokens - written)
            shown = sum(engine.shows(place) for place in range(written, written + made))
            written += made
            engine.counts["generated"] += made * engine.claims
            sent += 1
            if shown:
                yield event(delta(content="word " * shown))
        yield event(delta(engine.finish_reason(self._number)))
        usage: dict[str, Any] = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": sent if engine.counts_messages else written * engine.claims,
        }
        if engine.has_prefix_cache:
            usage["prompt_tokens_details"] = {"cached_tokens": self._cached}
        yield event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    async def _step(self) -> int:
        engine = self._engine
        await asyncio.sleep(engine.step_seconds)
        number, engine.steps = engine.steps, engine.steps + 1
        if not engine.n_spec or not engine.drafts(number):
            return 1
        accepted = engine.accepted(self._number)
        engine.counts["drafts"] += 1
        engine.counts["accepted"] += accepted
        for position in range(accepted):
            engine.accepted_at[position] += 1
        return 1 + accepted


@contextmanager
def standing_in(handle: Callable[[web.Request], Any]) -> Iterator[None]:
    """Whatever is measured within, at whatever address, is this server, on a clock that jumps."""
    open_session = engine_client.open_session
    with TemporaryDirectory() as folder:
        socket = Path(folder, "socket")

        def to_socket(url: str) -> aiohttp.ClientSession:
            return open_session(url, aiohttp.UnixConnector(str(socket), limit=0, force_close=True))

        def run(coroutine: Any) -> Any:
            async def beside_the_server() -> Any:
                async with listening(handle, socket):
                    return await coroutine

            return run_in_virtual_time(beside_the_server())

        with (
            patch("mtp_operator.bench.engine_client.open_session", to_socket),
            patch("mtp_operator.bench.trial_program.open_session", to_socket),
            patch("asyncio.run", run),
        ):
            yield


def bench(engine: SteppingEngine, *arguments: str) -> Result:
    """`mtp bench` against this server."""
    with standing_in(engine.handle):
        return CliRunner().invoke(app, ["bench", "--url", "http://127.0.0.1:8000", *arguments])
