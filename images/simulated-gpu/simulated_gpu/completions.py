"""What a completion is asked for, and the tokens that it is answered with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .faults import Faults, falls_to
from .forms import least_document
from .language import LEAST_ID, MOST_IDS, conversation, greedy_text, next_token, other_token, tokenized

Document = Mapping[str, Any]


class RefusedError(Exception):
    """The request is wrong; the message says why, as vLLM would."""


@dataclass(frozen=True)
class Answer:
    """All of an answer, before the first token of it is sent."""

    tokens: Sequence[int]
    finish_reason: str
    tool: str | None = None
    """The name of the tool whose arguments the tokens are."""


def chat_prompt(body: Document) -> list[int]:
    """The tokens of a chat's prompt."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise RefusedError("messages must be a list of objects with a role and a content")
    return conversation(messages)


def text_prompt(body: Document) -> list[int]:
    """The tokens of a prompt that is a text, or tokens."""
    prompt = body.get("prompt")
    if isinstance(prompt, str) and prompt:
        return tokenized(prompt)
    return token_ids(prompt)


def token_ids(stated: object) -> list[int]:
    """Tokens that a client sent."""
    if not isinstance(stated, list) or not stated:
        raise RefusedError("a text or a list of token ids is needed, and only one prompt at a time")
    if not all(isinstance(one, int) and LEAST_ID <= one < MOST_IDS for one in stated):
        raise RefusedError("a token id is out of vocabulary")
    return stated


def most_tokens(body: Document, prompt_tokens: int, max_model_len: int, default: int | None) -> int:
    """How long the answer may be.

    Args:
        body: the request.
        prompt_tokens: of it.
        max_model_len: most tokens of prompt and answer together.
        default: where the request does not say; None: as many as there is room for.
    """
    room = max_model_len - prompt_tokens
    stated = body.get("max_completion_tokens") or body.get("max_tokens") or default or room
    if not isinstance(stated, int) or not 0 < stated <= room:
        raise RefusedError(
            f"This model's maximum context length is {max_model_len} tokens. The prompt has {prompt_tokens} tokens, "
            f"and {stated} more were asked for."
        )
    return stated


def planned_answer(
    body: Document, prompt: Sequence[int], most: int, n_spec: int, number: int, faults: Faults
) -> Answer:
    """What the model says: what a schema asks for, else its text, up to the last token that it may have.

    Args:
        body: the request.
        prompt: its tokens.
        most: tokens that the answer may have.
        n_spec: draft tokens per step; only speculation replaces tokens.
        number: completions before this one.
        faults: that are ordered.
    """
    tool, schema = _asked_form(body)
    if schema is not None:
        tokens = tokenized(json.dumps(least_document(schema)))
        return Answer(tokens[:most], "stop" if len(tokens) <= most else "length", tool)
    replaced_share = faults.replaced_share if n_spec else 0.0
    tokens = list(islice(greedy_text(prompt), most)) if not replaced_share else _altered(prompt, most, replaced_share)
    if falls_to(faults.aborted_share, number):
        return Answer(tokens[: max(1, most // 2)], "abort")
    return Answer(tokens, "length")


def _altered(prompt: Sequence[int], most: int, share: float) -> list[int]:
    """The model's text, but for a share of it, from which it goes on."""
    tokens = [prompt[-1]]
    for position in range(most):
        says = other_token if falls_to(share, position) else next_token
        tokens.append(says(tokens[-1]))
    return tokens[1:]


def _asked_form(body: Document) -> tuple[str | None, Document | None]:
    """The tool that has to be called, if one has to, and the schema of what is to be written, if there is one."""
    choice = body.get("tool_choice")
    functions = [tool["function"] for tool in body.get("tools") or ()]
    if isinstance(choice, dict):
        functions = [one for one in functions if one["name"] == choice["function"]["name"]]
    if functions and (choice == "required" or isinstance(choice, dict)):
        return functions[0]["name"], functions[0].get("parameters", {})
    form = body.get("response_format") or {}
    return None, form["json_schema"]["schema"] if form.get("type") == "json_schema" else None
