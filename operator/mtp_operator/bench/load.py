"""The load of one level: a closed loop over the prompt mix until the throughput is known."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mtp_operator.api.trial import LEVEL_OVERTIME, TrialPlan

from .client import Completion, EngineClient, RequestError
from .counters import Counters
from .prompts import Prompt, PromptMix
from .steady import MIN_WINDOWS, Pass, is_enough, windows

MAX_FAILED_REQUESTS: Final = 20
"""Failed requests after which a level ends: it is disqualified, and a tight loop of errors helps nobody."""


class EngineGoneError(Exception):
    """The engine was ready and is not there any more."""


class TooSlowError(Exception):
    """The fewest passes that make a measurement did not fit into the time; the message says how many did."""


@dataclass
class LevelRun:
    """Everything that one level brought."""

    concurrency: int
    passes: list[Pass] = field(default_factory=list)
    windows: tuple[float, ...] = ()
    """Output tokens per second of the passes that count."""
    completions: list[Completion] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    counters: Counters | None = None
    """What the engine counted meanwhile, warm-up included, as in `completions`."""

    @property
    def requests(self) -> int:
        """Requests that were sent, whatever came of them."""
        return len(self.completions) + len(self.failures)

    @property
    def output_tokens(self) -> int:
        """Output tokens of all completions."""
        return sum(one.output_tokens for one in self.completions)

    @property
    def finish_reasons(self) -> dict[str, int]:
        """How many completions ended by what."""
        return dict(Counter(one.finish_reason for one in self.completions))


@dataclass(frozen=True)
class Level:
    """What one level asks of the engine."""

    concurrency: int
    """Requests in flight at any time."""
    output_tokens: int
    """Most tokens of each answer."""
    seconds: float
    """Time for the level, warm-up included."""
    prompts: Iterator[Prompt]
    """Endless, the same in every arm."""
    pass_length: int
    """Requests of a pass over the prompt mix."""


def planned_levels(plan: TrialPlan, mix: PromptMix) -> tuple[Level, ...]:
    """The levels of a plan, in their order."""
    return tuple(
        Level(
            concurrency=level.concurrency,
            output_tokens=plan.output_tokens,
            seconds=plan.level_seconds,
            prompts=mix.level(index),
            pass_length=mix.pass_length(level.concurrency),
        )
        for index, level in enumerate(plan.levels)
    )


async def run_level(client: EngineClient, level: Level) -> LevelRun:
    """Measure one concurrency.

    A pass ends with every `pass_length`-th answer, and the loop goes on without a pause between passes: waiting for the
    slowest request of each pass would charge speculation, whose requests differ in speed, for idle slots.

    Args:
        client: of a ready engine.
        level: what it is asked.

    Raises:
        EngineGoneError: the engine ended.
        TooSlowError: too few passes within `LEVEL_OVERTIME` times the level's time.
    """
    run = LevelRun(level.concurrency)
    before = await client.counters()
    clock = asyncio.get_running_loop().time
    begin = clock()
    try:
        async with asyncio.timeout(LEVEL_OVERTIME * level.seconds) as deadline:
            await _ClosedLoop(client, run, level, deadline).run()
    except TimeoutError:
        raise TooSlowError(_too_slow(run, clock() - begin)) from None
    run.seconds = clock() - begin
    after = await client.counters()
    try:
        run.counters = None if after is None else after.since(before)
    except ValueError as error:
        raise EngineGoneError(f"the engine was restarted in the middle of a level: {error}") from error
    return run


class _ClosedLoop:
    """Workers that each send the next prompt as soon as their last answer is there."""

    def __init__(self, client: EngineClient, run: LevelRun, level: Level, deadline: asyncio.Timeout) -> None:
        self._client = client
        self._run = run
        self._level = level
        self._deadline = deadline
        self._clock = asyncio.get_running_loop().time
        self._begin = self._pass_begin = self._clock()
        self._answered = self._tokens_of_pass = 0
        self._is_over = False

    async def run(self) -> None:
        """Until the level is known. Requests that are under way then are waited for, and belong to no pass."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._run.concurrency):
                    workers.create_task(self._work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self) -> None:
        while not self._is_over:
            tokens = await self._ask(next(self._level.prompts))
            if not self._is_over:
                self._note(tokens)

    async def _ask(self, prompt: Prompt) -> int:
        try:
            completion = await self._client.complete(prompt, self._level.output_tokens)
        except RequestError as failure:
            self._run.failures.append(str(failure))
            if not await self._client.is_healthy():
                raise EngineGoneError(f"the engine ended in the middle of a level ({failure})") from failure
            return 0
        self._run.completions.append(completion)
        return completion.output_tokens

    def _note(self, tokens: int) -> None:
        run = self._run
        self._answered += 1
        self._tokens_of_pass += tokens
        if len(run.failures) >= MAX_FAILED_REQUESTS:
            self._end()
        elif self._answered % self._level.pass_length == 0:
            now = self._clock()
            run.passes.append(Pass(self._tokens_of_pass, now - self._pass_begin))
            self._pass_begin, self._tokens_of_pass = now, 0
            run.windows = windows(run.passes, self._level.seconds)
            if is_enough(run.windows, now - self._begin, run.passes[-1].seconds, self._level.seconds):
                self._end()

    def _end(self) -> None:
        """Send nothing more. What is under way is not cut off: the engine has counted it, so it has to be counted."""
        self._is_over = True
        self._deadline.reschedule(self._clock() + self._level.seconds)


def _too_slow(run: LevelRun, seconds: float) -> str:
    return (
        f"{len(run.completions)} answers within {seconds:.0f} s at concurrency {run.concurrency}, which makes "
        f"{len(run.windows)} of the {MIN_WINDOWS} passes needed; lower spec.tuning.workload.outputTokens, or give a "
        "level more time"
    )
