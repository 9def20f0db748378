"""Output of a given form: an answer that a JSON schema constrains, and a tool call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

from mtp_operator.api.trial import StructuredOutput

MAX_TOKENS: Final = 256
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


async def structured_output(http: httpx.AsyncClient, served_name: str) -> Structured:
    """Ask for both forms; an engine that is not set up for one refuses it, and then it is not checked.

    Raises:
        httpx.TransportError: the engine ended.
    """
    schema = Lamps.model_json_schema()
    constrained = {"response_format": {"type": "json_schema", "json_schema": {"name": "lamps", "schema": schema}}}
    function = {"name": "set_lamps", "description": "Sets all lamps of the hall.", "parameters": schema}
    tool = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    return Structured(
        json_schema=_outcome(await _ask(http, served_name, constrained), _content),
        tool_call=_outcome(await _ask(http, served_name, tool), _arguments),
    )


async def _ask(http: httpx.AsyncClient, served_name: str, form: Mapping[str, Any]) -> httpx.Response:
    body = {
        "model": served_name,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "chat_template_kwargs": {"enable_thinking": False},
        **form,
    }
    return await http.post("/v1/chat/completions", json=body)


def _content(message: dict[str, Any]) -> str:
    return str(message["content"])


def _arguments(message: dict[str, Any]) -> str:
    return str(message["tool_calls"][0]["function"]["arguments"])


def _outcome(response: httpx.Response, read: Callable[[dict[str, Any]], str]) -> StructuredOutput:
    if response.is_client_error or response.status_code == httpx.codes.NOT_IMPLEMENTED:
        return StructuredOutput.NOT_CHECKED
    try:
        choice = response.json()["choices"][0]
        if choice["finish_reason"] == "length":
            return StructuredOutput.NOT_CHECKED
        Lamps.model_validate_json(read(choice["message"]))
    except (ValueError, LookupError, TypeError):
        return StructuredOutput.FAILED
    return StructuredOutput.PASSED
