"""An engine behind a transport without a network: its speed, its counters and its faults are known exactly."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from mtp_operator.api.spec import EngineType, Sampling
from mtp_operator.bench.client import EngineClient
from mtp_operator.engines import engine_for


@dataclass
class FakeEngine:
    """Answers like llama-server, each request at a speed of its own, whatever else is in flight."""

    tokens_per_second: Callable[[int], float] = lambda _: 100.0
    """Of the request with this number, counted from 0."""
    fails: Callable[[int], bool] = lambda _: False
    failure_status: int = 500
    dies_at_request: int | None = None
    start_seconds: float = 0.0
    drafts_per_request: int = 10
    counts_drafts: bool = True
    bodies: list[dict[str, object]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    drafts: int = 0

    def client(self, sampling: Sampling | None = None) -> EngineClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle), base_url="http://engine")
        return EngineClient(http, engine_for(EngineType.LLAMA_CPP), "tiny", sampling or Sampling())

    @property
    def is_dead(self) -> bool:
        return self.dies_at_request is not None and len(self.bodies) > self.dies_at_request

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if self.is_dead:
            raise httpx.ConnectError("All connection attempts failed")
        match request.url.path:
            case "/health":
                return httpx.Response(200 if asyncio.get_running_loop().time() >= self.start_seconds else 503)
            case "/metrics":
                return httpx.Response(200, text=self._metrics())
            case _:
                return await self._complete(json.loads(request.content))

    async def _complete(self, body: dict[str, object]) -> httpx.Response:
        number = len(self.bodies)
        self.bodies.append(body)
        if self.is_dead:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        if self.fails(number):
            await asyncio.sleep(0.001)
            return httpx.Response(self.failure_status, text="broken")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        tokens = int(str(body["max_tokens"]))
        await asyncio.sleep(tokens / self.tokens_per_second(number))
        self.in_flight -= 1
        self.drafts += self.drafts_per_request
        answer = {"choices": [{"finish_reason": "length"}], "usage": {"completion_tokens": tokens}}
        return httpx.Response(200, json=answer)

    def _metrics(self) -> str:
        if not self.counts_drafts:
            return "llamacpp:prompt_tokens_total 329\n"
        name = "llamacpp:spec_decode_num"
        return (
            f"{name}_drafts_total {self.drafts}\n"
            f"{name}_draft_tokens_total {2 * self.drafts}\n"
            f"{name}_accepted_tokens_total {self.drafts}\n"
            f'{name}_accepted_tokens_per_pos_total{{position="0"}} {self.drafts}\n'
            f'{name}_accepted_tokens_per_pos_total{{position="1"}} 0\n'
        )
