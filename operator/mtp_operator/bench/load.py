"""The load of one level: a closed loop over the prompt mix until the throughput is known."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mtp_operator.api.spec import LatencyConstraint
from mtp_operator.api.trial import LEVEL_OVERTIME, TrialPlan
from mtp_operator.tuner.constraints import LEAST_REQUESTS

from .client import EngineClient
from .counters import Counters
from .machine import MachineLoad, machine_load
from .prompts import Prompt, PromptMix
from .steady import MIN_WINDOWS, Pass, is_enough, warm_passes, windows
from .stream import Completion, RequestError

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
    warm: Sequence[Pass] = ()
    """The passes that count."""
    windows: tuple[float, ...] = ()
    """Output tokens per second of the last of them."""
    completions: list[Completion] = field(default_factory=list)
    failures: list[RequestError] = field(default_factory=list)
    seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    machine: MachineLoad = field(default_factory=MachineLoad)
    """What else the machine was busy with meanwhile."""
    counters: Counters | None = None
    """What the engine counted meanwhile, warm-up included, as in `completions`."""
    limits: tuple[LatencyConstraint, ...] = ()

    @property
    def requests(self) -> int:
        """Requests that were sent, whatever came of them."""
        return len(self.completions) + len(self.failures)

    @property
    def uncounted(self) -> int:
        """Completions that do not say how many tokens they have."""
        return sum(one.output_tokens is None for one in self.completions)

    @property
    def output_tokens(self) -> int:
        """Output tokens of all completions: by their own word, where one says nothing by the engine's counter."""
        if self.uncounted and self.counters is not None and self.counters.generated_tokens is not None:
            return self.counters.generated_tokens
        return sum(one.output_tokens or 0 for one in self.completions)

    @property
    def warm_answers(self) -> tuple[Completion, ...]:
        """The completions of the passes that count."""
        return tuple(answer for one in self.warm for answer in one.answers)

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
    limits: tuple[LatencyConstraint, ...] = ()
    """On latency: the level uses its whole time then, for as many requests as it can have."""


def planned_levels(plan: TrialPlan, mix: PromptMix) -> tuple[Level, ...]:
    """The levels of a plan, in their order."""
    return tuple(
        Level(
            concurrency=level.concurrency,
            output_tokens=plan.output_tokens,
            seconds=plan.level_seconds,
            prompts=mix.level(index),
            pass_length=mix.pass_length(level.concurrency),
            limits=tuple(one for one in plan.limits if one.concurrency == level.concurrency),
        )
        for index, level in enumerate(plan.levels)
    )


async def run_level(client: EngineClient, level: Level, watch: Callable[[LevelRun], None] | None = None) -> LevelRun:
    """Measure one concurrency.

    A pass ends with every `pass_length`-th answer, and the loop goes on without a pause between passes: waiting for the
    slowest request of each pass would charge speculation, whose requests differ in speed, for idle slots.

    Args:
        client: of a ready engine.
        level: what it is asked.
        watch: told of the level after each pass.

    Raises:
        EngineGoneError: the engine ended.
        TooSlowError: too few passes within `LEVEL_OVERTIME` times the level's time.
    """
    run = LevelRun(level.concurrency, limits=level.limits)
    before = await client.counters()
    clock = asyncio.get_running_loop().time
    machine_before, cpu_before, begin = machine_load(), time.process_time(), clock()
    try:
        async with asyncio.timeout(None) as deadline:
            await _ClosedLoop(client, run, level, deadline, before, watch).run()
    except TimeoutError:
        raise TooSlowError(_too_slow(run, clock() - begin)) from None
    run.seconds = clock() - begin
    run.client_cpu_seconds = time.process_time() - cpu_before
    run.machine = machine_load().since(machine_before)
    after = await client.counters()
    try:
        # A scrape that failed before the level leaves no start to count from.
        run.counters = None if after is None or before is None else after.since(before)
    except ValueError as error:
        raise EngineGoneError(f"the engine was restarted in the middle of a level: {error}") from error
    return run


class _ClosedLoop:
    """Workers that each send the next prompt as soon as their last answer is there."""

    def __init__(
        self,
        client: EngineClient,
        run: LevelRun,
        level: Level,
        deadline: asyncio.Timeout,
        counters: Counters | None,
        watch: Callable[[LevelRun], None] | None,
    ) -> None:
        self._client = client
        self._run = run
        self._level = level
        self._deadline = deadline
        self._watch = watch
        self._generated = counters.generated_tokens if counters else None
        self._clock = asyncio.get_running_loop().time
        self._begin = self._pass_begin = self._clock()
        self._answered = 0
        self._answers: list[Completion] = []
        self._is_over = False

    async def run(self) -> None:
        """Until the level is known. Requests that are under way then are waited for, and belong to no pass."""
        overtime = asyncio.get_running_loop().call_later(LEVEL_OVERTIME * self._level.seconds, self._expire)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._run.concurrency):
                    workers.create_task(self._work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            overtime.cancel()

    async def _work(self) -> None:
        while not self._is_over:
            answer = await self._ask(next(self._level.prompts))
            if not self._is_over:
                await self._note(answer)

    async def _ask(self, prompt: Prompt) -> Completion | None:
        run = self._run
        try:
            answer = await self._client.complete(prompt, self._level.output_tokens)
            if answer.output_tokens == 0 or (answer.output_tokens is None and self._generated is None):
                raise RequestError("the answer does not say how many tokens it has (usage.completion_tokens)")
        except RequestError as failure:
            run.failures.append(failure)
            if not await self._client.is_healthy():
                raise EngineGoneError(f"the engine ended in the middle of a level ({failure})") from failure
            return None
        run.completions.append(answer)
        return answer

    async def _note(self, answer: Completion | None) -> None:
        run = self._run
        self._answered += 1
        if answer is not None:
            self._answers.append(answer)
        if len(run.failures) >= MAX_FAILED_REQUESTS:
            self._end()
        elif self._answered % self._level.pass_length == 0:
            await self._close_pass()
            if self._watch is not None:
                self._watch(run)
            if self._is_enough():
                self._end()

    async def _close_pass(self) -> None:
        run, now = self._run, self._clock()
        answers, self._answers = tuple(self._answers), []
        begin, self._pass_begin = self._pass_begin, now
        run.passes.append(Pass(await self._tokens(answers), now - begin, answers))
        run.warm = warm_passes(run.passes, self._level.seconds)
        run.windows = windows(run.passes, self._level.seconds)

    async def _tokens(self, answers: Sequence[Completion]) -> int:
        """Output tokens of a pass: by the answers' own word, where one says nothing by what the engine has counted."""
        told = [one.output_tokens for one in answers]
        if None not in told:
            return sum(tokens or 0 for tokens in told)
        counters = await self._client.counters()
        before, now = self._generated or 0, counters.generated_tokens if counters else None
        self._generated = now if now is not None else before
        return self._generated - before

    def _is_enough(self) -> bool:
        run, level = self._run, self._level
        elapsed, last = self._clock() - self._begin, run.passes[-1].seconds
        if not level.limits:
            return is_enough(run.windows, elapsed, last, level.seconds)
        has_requests = len(run.warm_answers) >= LEAST_REQUESTS
        time_limit = level.seconds if has_requests else LEVEL_OVERTIME * level.seconds
        return len(run.windows) >= MIN_WINDOWS and elapsed + last > time_limit

    def _expire(self) -> None:
        """The level has had its time: what was measured counts, unless that is too little."""
        if len(self._run.windows) < MIN_WINDOWS:
            self._deadline.reschedule(self._clock())
        elif not self._is_over:
            self._end()

    def _end(self) -> None:
        """Send nothing more. What is under way is not cut off: the engine has counted it, so it has to be counted."""
        self._is_over = True
        self._deadline.reschedule(self._clock() + self._level.seconds)


def _too_slow(run: LevelRun, seconds: float) -> str:
    return (
        f"{len(run.completions)} answers within {seconds:.0f} s at concurrency {run.concurrency}, which makes "
        f"{len(run.windows)} of the {MIN_WINDOWS} passes needed; lower outputTokens of the workload, or give a "
        "level more time"
    )
