"""vLLM's HTTP API, as far as it is simulated."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web

from .command import Command
from .completions import Answer, RefusedError, chat_prompt, most_tokens, planned_answer, text_prompt, token_ids
from .curve import read_curve
from .gpu import Gpu
from .language import log_probabilities, written
from .metrics import exposition

VERSION = "simulated-gpu 1"

DEFAULT_COMPLETION_TOKENS = 16
"""Of /v1/completions, as in OpenAI's API."""

LARGEST_BODY_BYTES = 64 << 20

logger = logging.getLogger("vllm.simulated_gpu")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One boot.

    Args:
        command: how it is to be.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._faults = command.faults
        curve = read_curve(command.curves, command.curve)
        self.curve_name = curve.name
        self.gpu = Gpu(
            curve, command.n_spec, command.max_num_seqs, command.speed_factor, command.faults.acceptance_factor
        )
        self._completions = itertools.count()
        self._scrapes = itertools.count()
        self._created = int(time.time())

    def application(self) -> web.Application:
        """All that it answers."""
        application = web.Application(client_max_size=LARGEST_BODY_BYTES, middlewares=[_refusals])
        for path in ("/health", "/ping"):
            application.router.add_get(path, self._health)
        application.router.add_get("/version", self._version)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_post("/tokenize", self._tokenize)
        application.router.add_post("/detokenize", self._detokenize)
        application.router.add_post("/v1/completions", self._completion)
        application.router.add_post("/v1/chat/completions", self._chat)
        return application

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _models(self, _: web.Request) -> web.Response:
        models = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "root": self._command.model,
                "max_model_len": self._command.max_model_len,
            }
            for name in self._command.served_names
        ]
        return web.json_response({"object": "list", "data": models})

    async def _metrics(self, _: web.Request) -> web.Response:
        if next(self._scrapes) < self._faults.failed_scrapes:
            return web.Response(status=503)
        return web.Response(text=exposition(self.gpu, self._command.served_names[0], self.curve_name))

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await self._read(request)
        tokens = chat_prompt(body) if "messages" in body else text_prompt(body)
        return web.json_response({"count": len(tokens), "max_model_len": self._command.max_model_len, "tokens": tokens})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await self._read(request)
        return web.json_response({"prompt": written(token_ids(body["tokens"])) if body.get("tokens") else ""})

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        return await self._answered(request, _Asked(body, text_prompt(body), is_chat=False))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        return await self._answered(request, _Asked(body, chat_prompt(body), is_chat=True))

    async def _read(self, request: web.Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.read())
        except ValueError as error:
            raise RefusedError(f"the body is not valid JSON: {error}") from error
        if not isinstance(body, dict):
            raise RefusedError("the body is not a JSON object")
        if body.setdefault("model", self._command.served_names[0]) not in self._command.served_names:
            message = _error(f"The model `{body['model']}` does not exist.", "NotFoundError", 404)
            raise web.HTTPNotFound(text=message, content_type="application/json")
        if body.get("n", 1) != 1:
            raise RefusedError("only one choice for each request is simulated")
        return body

    async def _answered(self, request: web.Request, asked: _Asked) -> web.StreamResponse:
        default = None if asked.is_chat else DEFAULT_COMPLETION_TOKENS
        most = most_tokens(asked.body, len(asked.prompt), self._command.max_model_len, default)
        number = next(self._completions)
        await self._fail(number)
        answer = planned_answer(asked.body, asked.prompt, most, self.gpu.n_spec, number, self._faults)
        async with aclosing(self.gpu.answer(len(asked.prompt), answer.tokens, answer.finish_reason)) as steps:
            if asked.body.get("stream"):
                return await _streamed(request, asked, answer, steps)
            async for _ in steps:
                pass
        return web.json_response(asked.whole(answer))

    async def _fail(self, number: int) -> None:
        """What is ordered to happen at this completion."""
        if self._faults.dies_at_request == number:
            logger.error("EngineCore encountered a fatal error: it was ordered to die at request %d", number)
            logging.shutdown()
            os._exit(1)
        hangs_from = self._faults.hangs_from_request
        if hangs_from is not None and number >= hangs_from:
            await asyncio.Event().wait()


class _Asked:
    """A completion that a client asked for, and the documents that answer it.

    Args:
        body: the request.
        prompt: its tokens.
        is_chat: whether it came to /v1/chat/completions.
    """

    def __init__(self, body: Mapping[str, Any], prompt: Sequence[int], *, is_chat: bool) -> None:
        self.body = body
        self.prompt = prompt
        self.is_chat = is_chat
        self._head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": body.get("model"),
        }

    def whole(self, answer: Answer) -> dict[str, Any]:
        """All of the answer in one document."""
        text = written(answer.tokens)
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": answer.finish_reason}
        if not self.is_chat:
            choice["text"] = text
        elif answer.tool is None:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [_call(answer.tool, text)]}
        if self.body.get("return_token_ids"):
            choice |= {"prompt_token_ids": self.prompt, "token_ids": answer.tokens}
        if self.body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = _prompt_scores(self.prompt)
        kind = "chat.completion" if self.is_chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": self._usage(len(answer.tokens))}

    def part(self, answer: Answer, step: Sequence[int], begin: int) -> dict[str, Any]:
        """The tokens of one step, as a message of a stream.

        Args:
            answer: what they belong to.
            step: the tokens.
            begin: tokens before them.
        """
        text = written(step)
        is_last = begin + len(step) == len(answer.tokens)
        choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish_reason if is_last else None}
        if not self.is_chat:
            choice["text"] = text
        else:
            role = {} if begin else {"role": "assistant"}
            if answer.tool is None:
                choice["delta"] = {**role, "content": text}
            else:
                call = {"function": {"arguments": text}} if begin else _call(answer.tool, text)
                choice["delta"] = {**role, "tool_calls": [{"index": 0, **call}]}
        if self.body.get("return_token_ids"):
            choice |= {"token_ids": step, **({} if begin else {"prompt_token_ids": self.prompt})}
        return {**self._stream_head, "choices": [choice]}

    def end(self, tokens: int) -> dict[str, Any] | None:
        """What a stream says of its length, if it was asked to."""
        if not (self.body.get("stream_options") or {}).get("include_usage"):
            return None
        return {**self._stream_head, "choices": [], "usage": self._usage(tokens)}

    @property
    def _stream_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk" if self.is_chat else "text_completion"}

    def _usage(self, tokens: int) -> dict[str, int]:
        prompt = len(self.prompt)
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


async def _streamed(
    request: web.Request, asked: _Asked, answer: Answer, steps: AsyncIterator[list[int]]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    sent = 0
    async for step in steps:
        await response.write(_event(asked.part(answer, step, sent)))
        sent += len(step)
    end = asked.end(sent)
    await response.write((_event(end) if end else b"") + b"data: [DONE]\n\n")
    return response


def _prompt_scores(prompt: Sequence[int]) -> list[dict[str, Any] | None]:
    """What the target thinks of each token of a prompt; of the first it thinks nothing."""
    scores: list[dict[str, Any] | None] = [None]
    for before, token in itertools.pairwise(prompt):
        likely = log_probabilities(before, token).items()
        scores.append(
            {
                str(one): {"logprob": value, "rank": rank, "decoded_token": written([one])}
                for rank, (one, value) in enumerate(likely, start=1)
            }
        )
    return scores


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as error:
        content = _error(str(error), "BadRequestError", 400)
        return web.Response(status=400, text=content, content_type="application/json")


def _error(message: str, type_: str, code: int) -> str:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}})


def _event(document: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def _call(tool: str, arguments: str) -> dict[str, Any]:
    identity = f"chatcmpl-tool-{uuid.uuid4().hex}"
    return {"id": identity, "type": "function", "function": {"name": tool, "arguments": arguments}}
