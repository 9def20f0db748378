"""A given list of requests, sent in its order: for comparison with other programs that do the same."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtp_operator.api.trial_documents import Document, Latencies, Measure

from .draft_counters import Counters
from .engine_client import EngineClient
from .load import EngineGoneError
from .prompts import Prompt, PromptsUnusableError
from .stream import Completion, RequestError
from .summary import latencies


class Drain(StrEnum):
    """What becomes of the end, when fewer requests are in flight than the concurrency."""

    INCLUDE = "include"
    """Time runs from the first request's sending to the last answer's end, as in `vllm bench serve`."""
    EXCLUDE = "exclude"
    """Time runs until the last request is sent, and only answers that have ended by then count as throughput."""


class ListedRequest(BaseModel):
    """One line of the file, in the form of the `custom` data set of `vllm bench serve`."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1)]
    output_tokens: Annotated[int | None, Field(ge=1)] = None


class ListResult(Document):
    """What sending a list gave."""

    concurrency: int
    requests: int
    failed_requests: int
    seconds: Measure
    output_tokens: int
    generated_tokens: int | None = None
    """As the engine has counted them meanwhile."""
    output_tokens_per_second: Measure
    simulated_curve: str | None = None
    """Where no GPU was measured but a simulated one: the recorded curve that the figures come from."""
    latencies: Latencies


@dataclass
class ListRun:
    """Everything that sending a list brought."""

    concurrency: int
    answers: list[Completion] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """As the drain rule says."""
    tokens: int = 0
    """Output tokens within that time."""
    counters: Counters | None = None

    def result(self) -> ListResult:
        """As it is reported."""
        drafting = self.counters.drafting if self.counters else None
        return ListResult(
            concurrency=self.concurrency,
            requests=len(self.answers) + len(self.failures),
            failed_requests=len(self.failures),
            seconds=self.seconds,
            output_tokens=sum(one.output_tokens or 0 for one in self.answers),
            generated_tokens=self.counters.generated_tokens if self.counters else None,
            output_tokens_per_second=self.tokens / self.seconds if self.seconds else 0.0,
            simulated_curve=self.counters.simulated_curve if self.counters else None,
            latencies=latencies(self.answers, drafting.tokens_per_step if drafting else None),
        )


def read_requests(path: Path, option: str, output_tokens: int) -> tuple[tuple[Prompt, int], ...]:
    """The prompts of a JSONL file with the output tokens of each.

    Args:
        path: of the file.
        option: what errors call it.
        output_tokens: where a line does not say.

    Raises:
        PromptsUnusableError: the file cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PromptsUnusableError(f"{option}: {path} cannot be read: {why}") from error
    listed = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            request = _request(line, f"{option}: line {number}")
            messages = ({"role": "user", "content": request.prompt},)
            listed.append((Prompt("", messages, seed=number), request.output_tokens or output_tokens))
    if not listed:
        raise PromptsUnusableError(f"{option}: {path} has no request: at least one line is needed")
    return tuple(listed)


async def send_list(
    client: EngineClient,
    requests: Sequence[tuple[Prompt, int]],
    concurrency: int,
    drain: Drain = Drain.INCLUDE,
    watch: Callable[[ListRun], None] | None = None,
) -> ListRun:
    """Send all requests, each as soon as one of `concurrency` slots is free.

    Raises:
        EngineGoneError: it was not the same engine from the first request to the last.
        MetricsError: what it has counted cannot be read.
    """
    run = ListRun(concurrency)
    before = await client.counters()
    await _Sender(client, run, iter(requests), drain, watch).run()
    after = await client.counters()
    if before is not None and after is not None:
        try:
            run.counters = after.since(before)
        except ValueError as error:
            raise EngineGoneError(str(error)) from error
    return run


class _Sender:
    def __init__(
        self,
        client: EngineClient,
        run: ListRun,
        requests: Iterator[tuple[Prompt, int]],
        drain: Drain,
        watch: Callable[[ListRun], None] | None,
    ) -> None:
        self._client = client
        self._run = run
        self._requests = requests
        self._drain = drain
        self._watch = watch
        self._clock = asyncio.get_running_loop().time
        self._begin = self._clock()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._run.concurrency):
                workers.create_task(self._work())
        if self._drain is Drain.INCLUDE:
            self._note_end()

    async def _work(self) -> None:
        for prompt, output_tokens in self._requests:
            if self._drain is Drain.EXCLUDE:
                self._note_end()
            try:
                self._run.answers.append(await self._client.complete(prompt, output_tokens))
            except RequestError as failure:
                self._run.failures.append(str(failure))
            if self._watch is not None:
                self._watch(self._run)

    def _note_end(self) -> None:
        self._run.seconds = self._clock() - self._begin
        self._run.tokens = sum(one.output_tokens or 0 for one in self._run.answers)


def _request(line: str, place: str) -> ListedRequest:
    try:
        document: Any = json.loads(line)
        return ListedRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise PromptsUnusableError(
            f"{place}: {name}: {first['msg']}" if name else f"{place}: {first['msg']}"
        ) from error
    except ValueError as error:
        raise PromptsUnusableError(f"{place}: is not valid JSON: {error}") from error
