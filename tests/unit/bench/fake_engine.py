"""An engine on a real socket whose speed, counters and faults are known exactly.

It answers in streams like llama-server, on the clock of the running event loop. What it writes into its socket can be
read at once (a Unix socket passes it on within the write), so that a virtual clock works too.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from mtp_operator.api.spec import EngineType, Sampling
from mtp_operator.bench.engine_client import EngineClient, open_session
from mtp_operator.engines import engine_for

Result = TypeVar("Result")

ARRIVALS = 4
"""Parts in which the text of an answer arrives, evenly over its time."""


def event(message: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **said: Any) -> dict[str, Any]:
    """One message of a streamed chat completion."""
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish_reason}]}


@dataclass
class FakeEngine:
    """Each request has a speed of its own, whatever else is in flight."""

    tokens_per_second: Callable[[int], float] = lambda _: 100.0
    """Of the request with this number, counted from 0."""
    fails: Callable[[int], bool] = lambda _: False
    is_cut: Callable[[int], bool] = lambda _: False
    failure_status: int = 500
    dies_at_request: int | None = None
    start_seconds: float = 0.0
    drafts_per_request: int = 10
    counts_drafts: bool = True
    has_metrics: bool = True
    failing_scrapes: int = 0
    """The first scrapes, which are answered 503."""
    says_usage: bool = True
    says_drafts: bool = False
    arrives_at_once: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    drafts: int = 0
    generated: int = 0

    async def run(self, use: Callable[[EngineClient], Awaitable[Result]], sampling: Sampling | None = None) -> Result:
        """What comes of using a client of this engine."""
        async with served(self._handle) as session:
            return await use(EngineClient(session, engine_for(EngineType.LLAMA_CPP), "tiny", sampling or Sampling()))

    @property
    def is_dead(self) -> bool:
        return self.dies_at_request is not None and len(self.bodies) > self.dies_at_request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.is_dead:
            return _hung_up(request)
        match request.path:
            case "/health":
                return web.Response(status=200 if asyncio.get_running_loop().time() >= self.start_seconds else 503)
            case "/metrics":
                if self.failing_scrapes > 0:
                    self.failing_scrapes -= 1
                    return web.Response(status=503)
                return web.Response(text=self._metrics()) if self.has_metrics else web.Response(status=404)
            case _:
                return await self._complete(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        number = len(self.bodies)
        body = await request.json()
        self.bodies.append(body)
        if self.is_dead:
            return _hung_up(request)
        if self.fails(number):
            await asyncio.sleep(0.001)
            return web.Response(status=self.failure_status, text="broken")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        tokens = body["max_tokens"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in range(ARRIVALS):
            await asyncio.sleep(tokens / self.tokens_per_second(number) / ARRIVALS)
            if self.is_cut(number) and part == 1:
                self.in_flight -= 1
                await response.write_eof()
                return response
            if not self.arrives_at_once:
                await response.write(event(delta(content="word " * 8)))
        if self.arrives_at_once:
            await response.write(event(delta(content="word " * 8 * ARRIVALS)))
        self.in_flight -= 1
        self.drafts += self.drafts_per_request
        self.generated += tokens
        await response.write(event(delta("length")) + event(self._last_message(tokens)) + b"data: [DONE]\n\n")
        return response

    def _last_message(self, tokens: int) -> dict[str, Any]:
        message: dict[str, Any] = {"choices": []}
        if self.says_usage:
            message["usage"] = {"completion_tokens": tokens}
        if self.says_drafts:
            drafts = self.drafts_per_request
            message["timings"] = {"draft_n": 2 * drafts, "draft_n_accepted": self._accepted(drafts, tokens)}
        return message

    def _accepted(self, drafts: int, tokens: int) -> int:
        return max(0, tokens - drafts - 1)

    def _metrics(self) -> str:
        text = f"llamacpp:tokens_predicted_total {self.generated}\n"
        if not self.counts_drafts:
            return text
        name = "llamacpp:spec_decode_num"
        return text + (
            f"{name}_drafts_total {self.drafts}\n"
            f"{name}_draft_tokens_total {2 * self.drafts}\n"
            f"{name}_accepted_tokens_total {self.drafts}\n"
            f'{name}_accepted_tokens_per_pos_total{{position="0"}} {self.drafts}\n'
            f'{name}_accepted_tokens_per_pos_total{{position="1"}} 0\n'
        )


@asynccontextmanager
async def listening(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], socket: Path
) -> AsyncIterator[None]:
    """A server on a Unix socket."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[aiohttp.ClientSession]:
    """The same, and a session that reaches it."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "socket")
        connector = aiohttp.UnixConnector(str(socket), limit=0, force_close=True)
        async with listening(handle, socket), open_session("http://engine", connector) as session:
            yield session


def _hung_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
