"""HTTP to one engine."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from mtp_operator.api.spec import Sampling
from mtp_operator.engines import Engine

from .counters import Counters, read_counters
from .prompts import Prompt
from .sampling import sampling_fields

_ANSWER_EXCERPT = 300


class RequestError(Exception):
    """A completion did not come, or not whole; the message says how."""

    def __init__(self, message: str, *, is_refused: bool = False) -> None:
        super().__init__(message)
        self.is_refused = is_refused
        """Whether the engine said that this request is wrong (4xx): it will say so again."""


@dataclass(frozen=True)
class Completion:
    """One whole answer."""

    output_tokens: int
    """As the engine counted them."""
    seconds: float
    finish_reason: str
    """`stop` where the model ended its text, `length` where the limit did."""


class EngineClient:
    """Talks to one boot of one engine; the running event loop is its clock."""

    def __init__(self, http: httpx.AsyncClient, engine: Engine, served_name: str, sampling: Sampling) -> None:
        self._http = http
        self._engine = engine
        self._served_name = served_name
        self._sampling = sampling
        self._requests = 0

    async def is_healthy(self) -> bool:
        """Whether the server says that it is up."""
        try:
            return (await self._http.get(self._engine.health_path, timeout=10)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def complete(self, prompt: Prompt, output_tokens: int) -> Completion:
        """One completion, computed from the first token of the prompt on.

        Args:
            prompt: what is asked.
            output_tokens: most tokens of the answer; the model may end it earlier.

        Raises:
            RequestError: no whole answer came.
        """
        self._requests += 1
        clock = asyncio.get_running_loop().time
        begin = clock()
        body = {
            "model": self._served_name,
            "messages": prompt.messages,
            "max_tokens": output_tokens,
            **sampling_fields(self._sampling, prompt.seed),
            **self._engine.cache_breaking_fields(str(self._requests)),
        }
        try:
            response = await self._http.post("/v1/chat/completions", json=body)
            answer = response.json() if response.is_success else None
        except httpx.TransportError as error:
            raise RequestError(f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise RequestError(f"the answer is no JSON: {response.text[:_ANSWER_EXCERPT]}") from error
        if answer is None:
            message = f"HTTP {response.status_code}: {response.text[:_ANSWER_EXCERPT]}"
            raise RequestError(message, is_refused=response.is_client_error)
        return self._read(answer, clock() - begin)

    async def counters(self) -> Counters | None:
        """What the engine has counted so far; None where it shows no such counters."""
        try:
            response = await self._http.get(self._engine.metrics_path, timeout=10)
        except httpx.TransportError:
            return None
        if not response.is_success:
            return None
        try:
            return read_counters(response.text, self._engine.speculation_metrics)
        except ValueError:
            return None

    def _read(self, answer: Any, seconds: float) -> Completion:
        tokens = self._engine.completion_tokens(answer) if isinstance(answer, dict) else None
        if not tokens:
            raise RequestError("the answer does not say how many tokens it has (usage.completion_tokens)")
        reason = answer["choices"][0].get("finish_reason") if answer.get("choices") else None
        if reason is None:
            raise RequestError("the answer is cut: it has no finish_reason")
        return Completion(output_tokens=tokens, seconds=seconds, finish_reason=reason)
