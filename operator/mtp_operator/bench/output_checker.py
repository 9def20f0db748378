"""Whether the output is still the target model's: what the engine writes under speculation, scored without it.

Speculation is lossless where every token is the one that the target model alone would have said, or one that it holds
for as good within the arithmetic's noise. What is seen here is reported; whether it speaks against a trial is decided
against n=0, which is scored in the same way.
"""

import asyncio
import itertools
import json
import math
import random
import secrets
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from mtp_operator.api.trial_documents import Divergence, OutputCheck, OutputStatus
from mtp_operator.engines import Continuation, Engine, Messages, TokenScore

from .structured import structured_output

TOLERANCE_NATS: Final = 0.25
"""How much less probable than the target's own choice a token may be: two ways through the same arithmetic in 16 bits
differ by as much."""

QUANTIZED_TOLERANCE_NATS: Final = 0.5
"""The same for weights of 8 bits or fewer."""

TOKENS_PER_LEVEL: Final = 512
"""Output tokens of each level that are written for scoring, at least."""

LONGEST_TOKENS: Final = 1024
"""Of prompt and output together: scoring takes memory that no engine has reckoned with."""

SHORTEST_OUTPUT_TOKENS: Final = 64
"""Of one answer, where the workload's are as long: much goes wrong only after a while."""

FEWEST_ANSWERS: Final = 2

COMPANY: Final = 8
"""Requests in flight at which output is checked whatever the levels are, if the server decodes so many together: much
goes wrong in company only."""

PROOFS: Final = 8
"""Tokens by which it is proven that the engine's log-probabilities are the target's."""

STRANGE_PROOFS_LIMIT: Final = 1
"""Of these, how many may look wrong: a near-tie may."""

MAX_ROUNDS: Final = 8
"""Answers in a row of one slot after which a model that ends its texts early has said enough."""

LARGE_GAP_NATS: Final = 5.0
"""No noise explains a token that the target holds for 150 times less probable than its own."""

CONTEXT_TOKENS: Final = 24
"""Shown before the first divergence."""

EXCERPT_CHARACTERS: Final = 160
"""Of a text that is shown."""


class CannotScoreError(Exception):
    """The output could not be checked; the message says why."""


@dataclass(frozen=True)
class Answer:
    """One prompt, and what the engine wrote after it."""

    prompt: tuple[int, ...]
    output: Continuation


class OutputChecker:
    """Checks the output of one boot of one engine.

    Args:
        session: to the engine.
        engine: which one it is.
        served_name: the model.
        model_path: where the model lies, if that is known.
        seed: of what is chosen at random.
    """

    def __init__(
        self, session: aiohttp.ClientSession, engine: Engine, served_name: str, model_path: str | None, seed: int
    ) -> None:
        self._session = session
        self._engine = engine
        self._served_name = served_name
        self._model_path = model_path
        self._seed = seed
        self._salt = secrets.token_hex(8)
        self._salts = itertools.count()

    async def check(
        self, levels: Iterable[tuple[int, Iterator[Messages]]], output_tokens: int, limit_seconds: float
    ) -> OutputCheck:
        """Let the engine write at every concurrency, then score that, one request at a time.

        Args:
            levels: concurrency and conversations of each level of the workload; all must have been measured, since
                scoring may end the engine.
            output_tokens: most tokens of an answer of the workload.
            limit_seconds: how long all this may take.
        """
        try:
            async with asyncio.timeout(limit_seconds):
                properties = (
                    await self._properties(self._engine.properties_path) if self._engine.properties_path else None
                )
                is_quantized = self._engine.is_quantized(properties, _configuration(self._model_path))
                tolerance = QUANTIZED_TOLERANCE_NATS if is_quantized else TOLERANCE_NATS
                together = min(COMPANY, self._engine.decoded_together(properties) or COMPANY)
                answers = [
                    answer
                    for concurrency, conversations in _in_company(levels, together)
                    for answer in await self._answers(concurrency, conversations, output_tokens)
                ]
                await self._prove(answers, tolerance)
                scores = await self._scores(answers)
                altered = [answer for answer in answers if not await self._is_faithful(answer)]
                divergence = await self._first_divergence(scores, altered, tolerance)
                structured = await structured_output(self._session, self._served_name, together)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            return unverified(f"the engine cannot score a text with its target model ({error!r})")
        except TimeoutError:
            return unverified(f"checking the output took longer than {limit_seconds:.0f} s")
        except (aiohttp.ClientError, ConnectionError) as error:
            return unverified(f"the engine ended while its output was checked ({type(error).__name__})")
        except CannotScoreError as error:
            return unverified(str(error))
        gaps = [score.gap_nats for _, score in scores]
        return OutputCheck(
            status=OutputStatus.SCORED,
            positions=len(gaps),
            tolerance_nats=tolerance,
            violations=sum(gap > tolerance for gap in gaps),
            large_gaps=sum(gap > LARGE_GAP_NATS for gap in gaps),
            worst_gap_nats=max(gaps, default=0.0),
            texts=len(answers),
            altered_texts=len(altered),
            first_divergence=divergence,
            json_schema=structured.json_schema,
            tool_call=structured.tool_call,
        )

    async def _properties(self, path: str) -> Mapping[str, Any] | None:
        """The JSON object at a path; None where there is none."""
        async with self._session.get(path) as response:
            try:
                properties = await response.json(content_type=None) if response.ok else None
            except ValueError:
                return None
        return properties if isinstance(properties, dict) else None

    async def _answers(self, concurrency: int, conversations: Iterator[Messages], output_tokens: int) -> list[Answer]:
        """What the engine writes with this many requests in flight: at least `TOKENS_PER_LEVEL`, if it ever does."""
        at_once = max(concurrency, FEWEST_ANSWERS)
        length = min(output_tokens, max(SHORTEST_OUTPUT_TOKENS, math.ceil(TOKENS_PER_LEVEL / at_once)))
        slots = asyncio.Semaphore(concurrency)

        async def answer(messages: Messages) -> Answer:
            async with slots:
                seen = await self._engine.chat_token_ids(self._post, self._served_name, messages)
                # Cut at its end: what a template says at its beginning may be what makes the model make sense.
                fitting = seen[: LONGEST_TOKENS - length]
                return Answer(fitting, await self._continuation(fitting, length))

        answers: list[Answer] = []
        for _ in range(MAX_ROUNDS):
            answers += await _all(answer(messages) for messages in itertools.islice(conversations, at_once))
            if sum(len(one.output.token_ids) for one in answers) >= TOKENS_PER_LEVEL:
                break
        return answers

    async def _continuation(self, prompt: Sequence[int], length: int) -> Continuation:
        salt = f"{self._salt}-{next(self._salts)}"
        output = await self._engine.continuation(self._post, self._served_name, prompt, length, salt)
        if len(output.token_ids) > length:
            raise CannotScoreError(f"{len(output.token_ids)} tokens came where {length} were asked for at most")
        return output

    async def _prove(self, answers: Sequence[Answer], tolerance_nats: float) -> None:
        """Score what cannot be speculation's: single tokens after beginnings of prompts, for which nothing is drafted.

        Engines have had log-probabilities that speculation overwrites, while their output was right.

        Raises:
            CannotScoreError: such tokens look wrong too, so the scores say nothing.
        """
        dice = random.Random(self._seed)
        strange = scored = 0
        for answer in answers[:PROOFS]:
            prompt = answer.prompt[: dice.randint((len(answer.prompt) + 1) // 2, len(answer.prompt))]
            first = (await self._continuation(prompt, 1)).token_ids[:1]
            scores = await self._engine.scores(self._post, self._served_name, prompt, first, range(len(first)))
            scored += len(scores)
            strange += sum(score.gap_nats > tolerance_nats for score in scores)
        if strange > STRANGE_PROOFS_LIMIT:
            raise CannotScoreError(
                f"the engine's log-probabilities cannot be used: by them, {strange} of {scored} tokens for which "
                "nothing was drafted are not its own choice either; vLLM's older model runner "
                "(VLLM_USE_V2_MODEL_RUNNER=0, --enable-dbo) overwrites those of prompts while it speculates"
            )

    async def _scores(self, answers: Sequence[Answer]) -> list[tuple[Answer, TokenScore]]:
        places = [(index, at) for index, one in enumerate(answers) for at in range(len(one.output.token_ids))]
        limit = self._engine.positions_scored
        if limit is not None and len(places) > limit:
            places = sorted(random.Random(self._seed).sample(places, limit))
        scored: list[tuple[Answer, TokenScore]] = []
        for index, group in itertools.groupby(places, key=lambda place: place[0]):
            one = answers[index]
            positions = [position for _, position in group]
            scores = await self._engine.scores(
                self._post, self._served_name, one.prompt, one.output.token_ids, positions
            )
            scored += [(one, score) for score in scores]
        return scored

    async def _is_faithful(self, answer: Answer) -> bool:
        """Whether the tokens are the text that the client got; a last one that ends the text is not in it."""
        ids = answer.output.token_ids
        written = _comparable(answer.output.text)
        for kept in (ids, ids[:-1]):
            if written == _comparable(await self._written(answer.prompt, kept)):
                return True
        return False

    async def _first_divergence(
        self, scores: Iterable[tuple[Answer, TokenScore]], altered: Sequence[Answer], tolerance_nats: float
    ) -> Divergence | None:
        for answer, score in scores:
            if score.gap_nats > tolerance_nats:
                return await self._divergence(answer, score)
        if not altered:
            return None
        text = altered[0].output.text
        expected = await self._written(altered[0].prompt, altered[0].output.token_ids)
        place = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(expected, text, strict=False)))
        return Divergence(
            position=place,
            context=expected[:place][-EXCERPT_CHARACTERS:],
            expected=expected[place:][:EXCERPT_CHARACTERS],
            actual=text[place:][:EXCERPT_CHARACTERS],
        )

    async def _divergence(self, answer: Answer, score: TokenScore) -> Divergence:
        before = [*answer.prompt, *answer.output.token_ids[: score.position]]
        context = await self._text(before[-CONTEXT_TOKENS:])
        return Divergence(
            position=score.position,
            context=context[-EXCERPT_CHARACTERS:],
            expected=await self._text([score.choice]),
            actual=await self._text([answer.output.token_ids[score.position]]),
        )

    async def _written(self, prompt: Sequence[int], output: Sequence[int]) -> str:
        """Tokens in writing. Some tokenizers write the first one of a text in another way: hence the prompt."""
        return (await self._text([*prompt, *output])).removeprefix(await self._text(prompt))

    async def _text(self, token_ids: Sequence[int]) -> str:
        return await self._engine.text(self._post, self._served_name, token_ids)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        async with self._session.post(path, json=body) as response:
            if not response.ok:
                said = (await response.text(errors="replace"))[:EXCERPT_CHARACTERS]
                raise CannotScoreError(f"{path} answered HTTP {response.status}: {said}")
            return await response.json(content_type=None)


def unverified(message: str) -> OutputCheck:
    """The output could not be checked."""
    return OutputCheck(status=OutputStatus.UNVERIFIED, message=message)


def _in_company(
    levels: Iterable[tuple[int, Iterator[Messages]]], together: int
) -> Iterator[tuple[int, Iterator[Messages]]]:
    """The levels, and one with so many requests in flight where none of them has."""
    most = 0
    for concurrency, conversations in levels:
        most = max(most, concurrency)
        yield concurrency, conversations
    if most < together:
        yield together, conversations


def _configuration(model_path: str | None) -> Mapping[str, Any] | None:
    """What the model's folder says of it; None where it is one file, or says nothing."""
    if model_path is None:
        return None
    found = {**_document(model_path, "config.json")}
    quantization = _document(model_path, "hf_quant_config.json")
    return found | ({"hf_quant_config": quantization} if quantization else {}) or None


def _document(folder: str, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(Path(folder, name).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def _all(work: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """All results; the first exception, with nothing left running."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _comparable(text: str) -> str:
    """Without the marks of bytes that are no whole character: how many there are depends on who decodes."""
    return text.replace("\N{REPLACEMENT CHARACTER}", "")
