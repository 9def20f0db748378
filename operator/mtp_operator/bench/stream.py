"""One answer as a stream of server-sent events: pure, fed with what the socket gives and when."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mtp_operator.engines import RequestDrafts, prompt_tokens_in_usage

from .dialect import Dialect

_EXCERPT: Final = 300

_LONGEST_MESSAGE: Final = 8 << 20
"""Bytes of a line of a stream; a whole answer in one has kilobytes."""

_TOKEN_FIELDS: Final = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls")
"""Parts of a delta that hold what the model said; servers differ in the name for its reasoning."""


_ENDS: Final = frozenset({"stop", "length", "tool_calls", "function_call", "content_filter"})
"""Reasons of an answer that is whole. Engines that give a request up end it with others, and HTTP 200."""


class RequestError(Exception):
    """A completion did not come, or not whole; the message says how."""

    def __init__(self, message: str, *, is_refused: bool = False, is_cut: bool = False) -> None:
        super().__init__(message)
        self.is_refused = is_refused
        """Whether the engine said that this request is wrong (4xx): it will say so again."""
        self.is_cut = is_cut
        """Whether the engine began to answer, and gave no whole answer."""


@dataclass(frozen=True)
class Completion:
    """One whole answer. Times are in seconds from the moment at which the request was sent."""

    output_tokens: int | None
    """As the engine counted them; None where it does not say."""
    seconds: float
    """Request latency: until the last token, or the word that there is none."""
    finish_reason: str
    """`stop` where the model ended its text, `length` where the limit did."""
    first_token_seconds: float | None = None
    """Time to first token, of whatever kind: text, reasoning or a tool call; None where none was to be seen."""
    last_arrival_share: float = 0.0
    """Share of the text that arrived together with its end."""
    drafts: RequestDrafts | None = None
    category: str = ""
    """Of the prompt."""
    messages: int = 0
    """Messages of the stream that held text."""
    first_arrival_share: float = 0.0
    """Share of the text that arrived together with its beginning."""
    prompt_tokens: int | None = None
    """As the engine counted them; None where it does not say."""
    cached_tokens: int | None = None
    """Those of them that it had computed before; None where it does not say."""

    @property
    def seconds_per_output_token(self) -> float | None:
        """Time per output token, the first left out; None where there is no second."""
        if self.first_token_seconds is None or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.seconds - self.first_token_seconds) / (self.output_tokens - 1)


class AnswerReader:
    """Reads one stream.

    Args:
        dialect: of the server.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._rest = b""
        self._arrivals: list[int] = []
        self._first: float | None = None
        self._last = 0.0
        self._finish_reason: str | None = None
        self._messages = 0
        self._output_tokens: int | None = None
        self._prompt_tokens: int | None = None
        self._cached_tokens: int | None = None
        self._drafts: RequestDrafts | None = None

    def feed(self, data: bytes, seconds: float) -> None:
        """Take in what has arrived.

        Args:
            data: any part of the stream.
            seconds: when it arrived, after the request was sent.

        Raises:
            RequestError: the server reports an error, or speaks no JSON.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        size = 0
        for line in lines:
            payload = line[5:].strip() if line.startswith(b"data:") else b""
            if payload and payload != b"[DONE]":
                try:
                    size += self._read(_message(payload), seconds)
                except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
                    said = payload[:_EXCERPT].decode(errors="replace")
                    raise RequestError(f"the server's answer does not follow the API: {said}") from error
        if len(self._rest) > _LONGEST_MESSAGE:
            raise RequestError(f"the server's answer has a line of more than {_LONGEST_MESSAGE >> 20} MiB")
        if size:
            self._arrivals.append(size)

    def completion(self, category: str = "") -> Completion:
        """The answer, once the stream has ended.

        Raises:
            RequestError: it is not whole.
        """
        if self._finish_reason not in _ENDS:
            said = "before its first token" if self._first is None else f"after {sum(self._arrivals)} characters"
            reason = f"with finish_reason {self._finish_reason}" if self._finish_reason else "without a finish_reason"
            raise RequestError(f"the answer is cut: its stream ended {said}, {reason}", is_cut=True)
        size = sum(self._arrivals)
        return Completion(
            output_tokens=self._output_tokens,
            seconds=self._last,
            finish_reason=self._finish_reason,
            first_token_seconds=self._first,
            last_arrival_share=self._arrivals[-1] / size if size else 0.0,
            drafts=self._drafts,
            category=category,
            messages=self._messages,
            first_arrival_share=self._arrivals[0] / size if size else 0.0,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
        )

    def _read(self, message: Mapping[str, Any], seconds: float) -> int:
        """Characters of text in one message."""
        if message.get("error"):
            raise RequestError(f"the server reports an error within its answer: {_excerpt(message['error'])}")
        # Nearly every message is a token; the few that count are the last ones.
        if "usage" in message or "timings" in message:
            dialect = self._dialect
            self._output_tokens = _newer(dialect.completion_tokens(message), self._output_tokens)
            self._prompt_tokens = _newer(prompt_tokens_in_usage(message), self._prompt_tokens)
            self._cached_tokens = _newer(dialect.cached_tokens(message), self._cached_tokens)
            self._drafts = dialect.request_drafts(message) or self._drafts
        choices = message.get("choices")
        if not choices:
            return 0
        self._last = seconds
        self._finish_reason = choices[0].get("finish_reason") or self._finish_reason
        size = _size(choices[0].get("delta") or {})
        if size:
            self._messages += 1
            self._first = seconds if self._first is None else self._first
        return size


def _newer(reported: int | None, before: int | None) -> int | None:
    return before if reported is None else reported


def _message(payload: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise RequestError(f"the answer is not valid JSON: {_excerpt(payload.decode(errors='replace'))}") from error
    if not isinstance(message, dict):
        raise RequestError(f"the answer is not a JSON object: {_excerpt(message)}")
    return message


def _size(delta: Mapping[str, Any]) -> int:
    """Characters that a delta adds; what a tool call holds is measured as it is written."""
    size = 0
    for field in _TOKEN_FIELDS:
        value = delta.get(field)
        if value:
            size += len(value) if isinstance(value, str) else len(json.dumps(value))
    return size


def _excerpt(value: object) -> str:
    return str(value)[:_EXCERPT]
