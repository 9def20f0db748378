"""Output of a given form: an answer that a JSON schema constrains, and a tool call.

Each is asked for in three ways. Alone, with thinking turned off, and not streamed: the plain case. Then with others in
flight and with the model's own thinking, streamed and not: most known faults of speculation in structured output show
only where a parser cuts a stream in the middle of a draft, where a schema begins at the end of thinking, or in company.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import aiohttp
from pydantic import BaseModel, ConfigDict, Field

from mtp_operator.api.trial_documents import StructuredOutput

MAX_TOKENS: Final = 128
"""Many times what the answer takes. One that is not finished by then, as by a model that cannot help but think, was
cut off and proves nothing."""

THINKING_TOKENS: Final = 512
"""The same where the model thinks as it likes."""

MOST_TOGETHER: Final = 8
"""Requests of one form in flight together, every other one streamed, if the engine decodes that many."""

LIMIT_SECONDS: Final = 180.0
"""What both forms may take; what has not come by then is not checked."""

_PROMPT: Final = "The hall is dark and the guests arrive in an hour. Light the lamps in it, green ones, half as bright."


class Lamps(BaseModel):
    """What is asked for: a few words, of every kind that a schema can constrain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    on: bool
    colour: Literal["red", "green"]
    percent: Annotated[int, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Structured:
    """What became of both forms."""

    json_schema: StructuredOutput = StructuredOutput.NOT_CHECKED
    tool_call: StructuredOutput = StructuredOutput.NOT_CHECKED


async def structured_output(
    session: aiohttp.ClientSession,
    served_name: str,
    together: int = MOST_TOGETHER,
    limit_seconds: float = LIMIT_SECONDS,
) -> Structured:
    """Ask for both forms; an engine that is not set up for one refuses it, and then it is not checked.

    Args:
        session: to the engine.
        served_name: the model.
        together: how many requests the engine decodes together: more would wait in line, and show nothing more.
        limit_seconds: how long all this may take.

    Raises:
        aiohttp.ClientError: the engine ended.
    """
    schema = Lamps.model_json_schema()
    constrained = {"response_format": {"type": "json_schema", "json_schema": {"name": "lamps", "schema": schema}}}
    function = {"name": "set_lamps", "description": "Sets all lamps of the hall.", "parameters": schema}
    tool = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    # One of each kind at least: streamed, and not.
    in_flight = max(2, min(MOST_TOGETHER, together))
    return Structured(
        json_schema=await _form(session, served_name, constrained, in_flight, limit_seconds / 2),
        tool_call=await _form(session, served_name, tool, in_flight, limit_seconds / 2),
    )


class _Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"
    CUT = "cut off by max_tokens"
    REFUSED = "refused"


async def _form(
    session: aiohttp.ClientSession, served_name: str, form: Mapping[str, Any], in_flight: int, limit_seconds: float
) -> StructuredOutput:
    """Failed if one answer is broken; Passed if there is a good one of each kind, streamed and not."""
    plain = {**form, "max_tokens": MAX_TOKENS, "chat_template_kwargs": {"enable_thinking": False}}
    thinking = {**form, "max_tokens": THINKING_TOKENS}
    try:
        async with asyncio.timeout(limit_seconds):
            alone = await _outcome(session, served_name, plain, stream=False)
            if alone is _Outcome.REFUSED:
                return StructuredOutput.NOT_CHECKED
            together = await asyncio.gather(
                *(_outcome(session, served_name, thinking, stream=number % 2 == 0) for number in range(in_flight))
            )
    except TimeoutError:
        return StructuredOutput.NOT_CHECKED
    streamed, whole = together[::2], [alone, *together[1::2]]
    if _Outcome.FAILED in (*streamed, *whole):
        return StructuredOutput.FAILED
    if _Outcome.PASSED in streamed and _Outcome.PASSED in whole:
        return StructuredOutput.PASSED
    return StructuredOutput.NOT_CHECKED


async def _outcome(
    session: aiohttp.ClientSession, served_name: str, request_fields: Mapping[str, Any], *, stream: bool
) -> _Outcome:
    body = {
        "model": served_name,
        "messages": [{"role": "user", "content": _PROMPT}],
        "temperature": 0,
        **request_fields,
        **({"stream": True} if stream else {}),
    }
    async with session.post("/v1/chat/completions", json=body) as response:
        if 400 <= response.status < 500 or response.status == HTTPStatus.NOT_IMPLEMENTED:
            return _Outcome.REFUSED
        try:
            choices = (
                _streamed(await response.text()) if stream else (await response.json(content_type=None))["choices"]
            )
            reason, said = _read(choices, "delta" if stream else "message")
            if reason == "length":
                return _Outcome.CUT
            Lamps.model_validate_json(said)
        except (ValueError, LookupError, TypeError, AttributeError):
            return _Outcome.FAILED
    return _Outcome.PASSED


def _streamed(text: str) -> list[Mapping[str, Any]]:
    """The choices of all messages of a stream."""
    payloads = (line[5:].strip() for line in text.splitlines() if line.startswith("data:"))
    messages = [json.loads(payload) for payload in payloads if payload and payload != "[DONE]"]
    return [choice for message in messages for choice in message["choices"]]


def _read(choices: Sequence[Mapping[str, Any]], part: str) -> tuple[str | None, str]:
    """Why an answer ended, and what it says: the arguments of its tool call, if it is one."""
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    parts = [choice[part] for choice in choices if choice.get(part)]
    calls = [call for one in parts for call in one.get("tool_calls") or ()]
    arguments = _joined(call["function"].get("arguments") for call in calls if call.get("function"))
    return (reasons[-1] if reasons else None), arguments if calls else _joined(one.get("content") for one in parts)


def _joined(texts: Iterable[str | None]) -> str:
    return "".join(text or "" for text in texts)
