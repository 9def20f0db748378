"""A server that answers as the engines do when they are asked to write and to score, with a target known exactly.

The shapes of its answers are those of llama-server 0.7.0 and vLLM 0.32.0, and for SGLang 0.5.23 those of its sources.
"""

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .fake_engine import delta, event

WORDS = 97
END = 0


def target(token: int) -> int:
    """What the target says after a token; never `END` by itself."""
    return token * 5 % (WORDS - 1) + 1


def runner_up(token: int) -> int:
    return (target(token) % (WORDS - 1)) + 1


def write(tokens: list[int]) -> str:
    return "".join(f" w{token}" for token in tokens if token != END)


@dataclass
class ScoringEngine:
    """Right in every way, unless it is told otherwise."""

    says_second_best: Callable[[int], bool] = lambda _: False
    """Whether the token at this position of an answer is the target's second choice, from which it then continues; the
    first one comes from the prompt, and is right."""
    errs_in_company: bool = False
    """Whether it says so only with two or more answers in flight."""
    is_penalizing: bool = False
    """Whether it has penalties by default, by which every eighth token is the second choice."""
    overwrites_log_probabilities: bool = False
    """Whether those of prompts are of something else, as in vLLM's older model runner while it drafts."""
    breaks: Callable[[dict[str, Any]], bool] = lambda _: False
    """Whether the answer of a given form to this request is cut."""
    text: Callable[[str], str] = lambda text: text
    runner_up_gap: float = 9.0
    ends_after: int | None = None
    talks_on: int = 0
    """Tokens that it writes beyond what was asked for."""
    refuses: tuple[str, ...] = ()
    """Paths answered with 400."""
    drafts_single_tokens: bool = False
    form: str = '{"on": true, "colour": "green", "percent": 50}'
    finish_reason: str = "stop"
    file_type: str = "Q8_0"
    slots: int = 8
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._seen])
        application.router.add_get("/props", self._props)
        for path, handler in {
            "/apply-template": self._template,
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/completion": self._llamacpp,
            "/v1/completions": self._vllm,
            "/generate": self._sglang,
            "/v1/chat/completions": self._chat,
        }.items():
            application.router.add_post(path, handler)
        return application

    @web.middleware
    async def _seen(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST":
            self.requests.append((request.path, json.loads(await request.text())))
        if request.path in self.refuses:
            return web.json_response({"error": "not here"}, status=400)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        answer: web.StreamResponse = await handler(request)
        self.in_flight -= 1
        return answer

    async def _props(self, _: web.Request) -> web.Response:
        return web.json_response({"model_ftype": self.file_type, "total_slots": self.slots})

    async def _template(self, request: web.Request) -> web.Response:
        return web.json_response({"prompt": (await request.json())["messages"][-1]["content"]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = body["content"] if "content" in body else body["messages"][-1]["content"]
        return web.json_response({"tokens": [len(word) + 1 for word in text.split()]})

    async def _detokenize(self, request: web.Request) -> web.Response:
        text = write((await request.json())["tokens"])
        return web.json_response({"content": text, "prompt": text, "text": text})

    async def _continue(self, body: dict[str, Any], count: int) -> tuple[list[int], str]:
        await asyncio.sleep(0.001)
        is_neutral = body.get("presence_penalty") == 0 and 1 in (
            body.get("repetition_penalty"),
            body.get("repeat_penalty"),
        )
        errs = self.in_flight > 1 or not self.errs_in_company
        tokens = [body["prompt"][-1]]
        for position in range(min(count, self.ends_after or count) + self.talks_on):
            is_wrong = position and (errs and self.says_second_best(position))
            is_penalized = self.is_penalizing and not is_neutral and position % 8 == 3
            tokens.append((runner_up if is_wrong or is_penalized else target)(tokens[-1]))
        if self.ends_after is not None and self.ends_after < count:
            tokens.append(END)
        return tokens[1:], self.text(write(tokens[1:]))

    def _likely(self, before: int) -> dict[int, float]:
        second = math.log(1 / (1 + math.exp(self.runner_up_gap)))
        return {target(before): second + self.runner_up_gap, runner_up(before): second}

    async def _llamacpp(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "n_probs" in body:
            ranked = sorted(self._likely(body["prompt"][-1]).items(), key=lambda item: -item[1])
            likely = [{"id": token, "logprob": value} for token, value in ranked]
            timings = {"cache_n": 0, **({"draft_n": 2} if self.drafts_single_tokens else {})}
            return web.json_response({"timings": timings, "completion_probabilities": [{"top_logprobs": likely}]})
        tokens, text = await self._continue(body, body["n_predict"])
        return web.json_response({"tokens": tokens, "content": text, "timings": {}})

    async def _vllm(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "prompt_logprobs" not in body:
            tokens, text = await self._continue(body, body["max_tokens"])
            return web.json_response({"choices": [{"token_ids": tokens, "text": text}]})
        places: list[Any] = [None]
        for before, token in zip(body["prompt"], body["prompt"][1:], strict=False):
            likely = {93: -0.7} if self.overwrites_log_probabilities else self._likely(before)
            shown = {max(likely, key=lambda one: likely[one]): max(likely.values()), token: likely.get(token, -20.0)}
            places.append({str(one): {"logprob": value, "rank": 1} for one, value in shown.items()})
        return web.json_response({"choices": [{"prompt_logprobs": places}]})

    async def _sglang(self, request: web.Request) -> web.Response:
        body = await request.json()
        ids, sampling = body["input_ids"], body["sampling_params"]
        if "return_logprob" not in body:
            tokens, text = await self._continue({"prompt": ids, **sampling}, sampling["max_new_tokens"])
            return web.json_response({"output_ids": tokens, "text": text, "meta_info": {}})
        start = body["logprob_start_len"]
        own: list[Any] = [[None, ids[start], None]]
        best: list[Any] = [None]
        for before, token in zip(ids[start:], ids[start + 1 :], strict=False):
            likely = {93: -0.7} if self.overwrites_log_probabilities else self._likely(before)
            choice = max(likely, key=lambda one: likely[one])
            own.append([likely.get(token, -20.0), token, None])
            best.append([[likely[choice], choice, None]])
        told = {"input_token_logprobs": own, "input_top_logprobs": best}
        return web.json_response({"output_ids": [1], "text": "", "meta_info": told})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(0.001)
        said = self.form[:12] if self.breaks(body) else self.form
        if not body.get("stream"):
            message = _message(body, said)
            return web.json_response({"choices": [{"message": message, "finish_reason": self.finish_reason}]})
        parts = [event(delta(None, **_message(body, part))) for part in (said[:5], said[5:])]
        text = b"".join((event(delta(None, reasoning="The lamps.")), *parts, event(delta(self.finish_reason))))
        return web.Response(body=text + b"data: [DONE]\n\n", content_type="text/event-stream")


def _message(body: dict[str, Any], said: str) -> dict[str, Any]:
    if "tools" not in body:
        return {"content": said}
    return {"content": None, "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": said}}]}
