"""HTTP to one engine."""

import asyncio
import secrets
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import aiohttp

from mtp_operator.api.spec import Sampling
from mtp_operator.engines import EngineMetrics

from .dialect import Dialect
from .draft_counters import Counters, read_counters
from .prompts import Prompt
from .sampling import sampling_fields
from .stream import AnswerReader, Completion, RequestError

COMPLETIONS_PATH: Final = "/v1/chat/completions"

_EXCERPT: Final = 300

SCRAPE_TRIES: Final = 3
"""Scrapes of /metrics in a row, of which one has to work."""

SCRAPE_PAUSE_SECONDS: Final = 1.0
"""Between two of them."""

_SHORT: Final = aiohttp.ClientTimeout(total=10)


def open_session(url: str, connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """A session for an `EngineClient`; to be closed by the caller.

    A completion takes as long as it takes: whoever asks bounds it. There is no limit on connections and no proxy. Each
    request has a connection of its own: one that the server closes in the moment in which it is used again would look
    like a failed request, and llama-server closes them after five seconds.
    """
    return aiohttp.ClientSession(
        base_url=url,
        connector=connector or aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        trust_env=False,
    )


class MetricsError(Exception):
    """The engine has counters, and they could not be read; the message says why."""


class EngineClient:
    """Talks to one boot of one engine; the running event loop is its clock."""

    def __init__(self, session: aiohttp.ClientSession, dialect: Dialect, served_name: str, sampling: Sampling) -> None:
        self._session = session
        self._dialect = dialect
        self._served_name = served_name
        self._sampling = sampling
        self._requests = 0
        self._salt = secrets.token_hex(8)
        """What no other process has: another one, before this, may have asked the same."""
        self.heard_at = 0.0
        """When the last part of any answer arrived, on the clock of the event loop."""

    @property
    def health_path(self) -> str:
        """What answers 200 while the server is up."""
        return self._dialect.health_path

    async def is_healthy(self) -> bool:
        """Whether the server says that it is up."""
        try:
            async with self._session.get(self._dialect.health_path, timeout=_SHORT) as response:
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def complete(self, prompt: Prompt, output_tokens: int) -> Completion:
        """One completion, computed from the first token of the prompt on, and streamed.

        Args:
            prompt: what is asked.
            output_tokens: most tokens of the answer; the model may end it earlier.

        Raises:
            RequestError: no whole answer came.
        """
        self._requests += 1
        clock = asyncio.get_running_loop().time
        body = {
            "model": self._served_name,
            "messages": prompt.messages,
            "max_tokens": output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **sampling_fields(self._sampling, prompt.seed, self._dialect.neutral_sampling_fields()),
            **self._dialect.cache_breaking_fields(f"{self._salt}-{self._requests}"),
        }
        reader = AnswerReader(self._dialect)
        begin = clock()
        try:
            async with self._session.post(COMPLETIONS_PATH, json=body) as response:
                self.heard_at = clock()
                if not response.ok:
                    message = f"HTTP {response.status}: {(await response.text(errors='replace'))[:_EXCERPT]}"
                    raise RequestError(message, is_refused=400 <= response.status < 500)
                if response.content_type == "application/json":
                    raise RequestError(
                        "the server ignores stream: true, it answers with one JSON document", is_refused=True
                    )
                async for data in response.content.iter_any():
                    self.heard_at = clock()
                    reader.feed(data, self.heard_at - begin)
        except aiohttp.ClientPayloadError as error:
            raise RequestError("the answer is cut: its connection was closed before its end", is_cut=True) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RequestError(f"{type(error).__name__}: {error}") from error
        return reader.completion(prompt.category)

    async def counters(self, tries: int = SCRAPE_TRIES) -> Counters | None:
        """What the engine has counted so far; None where it counts nothing.

        Args:
            tries: scrapes of which one has to work.

        Raises:
            MetricsError: none worked.
        """
        names = self._dialect.metrics
        if names is None:
            return None
        for _ in range(tries - 1):
            with suppress(MetricsError):
                return await self._scraped(names)
            await asyncio.sleep(SCRAPE_PAUSE_SECONDS)
        return await self._scraped(names)

    async def _scraped(self, names: EngineMetrics) -> Counters | None:
        path = self._dialect.metrics_path
        try:
            async with self._session.get(path, timeout=_SHORT) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return None
                if not response.ok:
                    raise MetricsError(f"{path} answers HTTP {response.status}")
                return read_counters(await response.text(), names)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise MetricsError(f"{path} cannot be read ({str(error) or type(error).__name__})") from error
        except ValueError as error:
            raise MetricsError(f"{path} cannot be understood: {error}") from error
