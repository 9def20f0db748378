"""Output of a given form: an answer that a JSON schema constrains, and a tool call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import aiohttp
from pydantic import BaseModel, ConfigDict, Field

from mtp_operator.api.trial import StructuredOutput

MAX_TOKENS: Final = 128
"""Many times what the answer takes. One that is not finished by then, as by a model that cannot help but think, was
cut off and proves nothing."""

_PROMPT: Final = "The hall is dark and the guests arrive in an hour. Light the lamps in it, green ones, half as bright."


class Lamps(BaseModel):
    """What is asked for: a few words, of every kind that a schema can constrain."""

    model_config = ConfigDict(extra="forbid", strict=True)

    on: bool
    colour: Literal["red", "green"]
    percent: Annotated[int, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Structured:
    """What became of both requests."""

    json_schema: StructuredOutput = StructuredOutput.NOT_CHECKED
    tool_call: StructuredOutput = StructuredOutput.NOT_CHECKED


async def structured_output(session: aiohttp.ClientSession, served_name: str) -> Structured:
    """Ask for both forms; an engine that is not set up for one refuses it, and then it is not checked.

    Raises:
        aiohttp.ClientError: the engine ended.
    """
    schema = Lamps.model_json_schema()
    constrained = {"response_format": {"type": "json_schema", "json_schema": {"name": "lamps", "schema": schema}}}
    function = {"name": "set_lamps", "description": "Sets all lamps of the hall.", "parameters": schema}
    tool = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    return Structured(
        json_schema=await _outcome(session, served_name, constrained, _content),
        tool_call=await _outcome(session, served_name, tool, _arguments),
    )


async def _outcome(
    session: aiohttp.ClientSession,
    served_name: str,
    form: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], str],
) -> StructuredOutput:
    body = {
        "model": served_name,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "chat_template_kwargs": {"enable_thinking": False},
        **form,
    }
    async with session.post("/v1/chat/completions", json=body) as response:
        if 400 <= response.status < 500 or response.status == HTTPStatus.NOT_IMPLEMENTED:
            return StructuredOutput.NOT_CHECKED
        try:
            choice = (await response.json(content_type=None))["choices"][0]
            if choice["finish_reason"] == "length":
                return StructuredOutput.NOT_CHECKED
            Lamps.model_validate_json(read(choice["message"]))
        except (ValueError, LookupError, TypeError):
            return StructuredOutput.FAILED
    return StructuredOutput.PASSED


def _content(message: Mapping[str, Any]) -> str:
    return str(message["content"])


def _arguments(message: Mapping[str, Any]) -> str:
    return str(message["tool_calls"][0]["function"]["arguments"])
