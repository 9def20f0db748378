"""The load of one level: a closed loop over the prompt mix until the throughput is known."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mtp_operator.api.spec import LatencyConstraint
from mtp_operator.api.trial_documents import LEVEL_CEILING, TrialPlan
from mtp_operator.tuner.constraints import LEAST_REQUESTS

from .draft_counters import Counters, DraftCounters
from .engine_client import EngineClient, MetricsError
from .machine_load import MachineLoad, machine_load
from .prompts import Prompt, PromptMix
from .steady import MIN_WINDOWS, Drift, Pass, drift, is_enough, level_time, warm_passes, windows
from .stream import Completion, RequestError

MAX_FAILED_REQUESTS: Final = 20
"""Failed requests after which a level ends: it is disqualified, and a tight loop of errors helps nobody."""


LISTEN_SECONDS: Final = 5.0
"""Between two looks at whether anything still comes from the engine."""

SILENCE_SECONDS: Final = 120.0
"""Without any part of any answer, after which an engine that is asked hangs: an engine that compiles may need less."""

PATIENCE: Final = 4
"""Times the longest answer so far that any silence may last."""


class EngineGoneError(Exception):
    """The engine was ready and is not there any more."""


class EngineHungError(Exception):
    """The engine is there, and has stopped answering; the message says since when."""


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
    metrics_problem: str | None = None
    """Why its counters could not be read, although it may have some."""
    drafting_after: dict[int, DraftCounters] = field(default_factory=dict)
    """Number of passes that had ended -> what the engine had counted of its drafts, where that was seen."""
    limits: tuple[LatencyConstraint, ...] = ()
    asked_tokens: int | None = None
    """Most tokens that each answer was to have."""
    sank_before: Drift | None = None
    """Why the level was measured again: its throughput sank the last time."""

    @property
    def sank(self) -> Drift | None:
        """How far its throughput sank, if that is more than its noise explains."""
        return drift(self.passes)

    @property
    def acceptance_shift(self) -> tuple[float, float] | None:
        """P_1 in the first third of the passes and in the last; None where it was not seen, or nothing was drafted."""
        seen = [drafting for _, drafting in sorted(self.drafting_after.items())]
        third = len(seen) // 3
        if not third:
            return None
        first, last = seen[third].since(seen[0]), seen[-1].since(seen[-1 - third])
        if not first.drafts or not last.drafts:
            return None
        return first.first_position_share, last.first_position_share

    @property
    def tokens_per_step(self) -> float | None:
        """Output tokens of a request that a step of the engine gave; None where nothing tells its drafts."""
        drafting = self.counters.drafting if self.counters else None
        if drafting is not None:
            return drafting.tokens_per_step
        accepted = [one.drafts.accepted_tokens for one in self.completions if one.drafts is not None]
        return self.output_tokens / max(1, self.output_tokens - sum(accepted)) if accepted else None

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
    """Time for the level, warm-up included; an engine that is too slow for it gets more."""
    prompts: Iterator[Prompt]
    """Endless, the same in every trial."""
    pass_length: int
    """Requests of a pass over the prompt mix."""
    limits: tuple[LatencyConstraint, ...] = ()
    """On latency: the level uses its whole time then, for as many requests as it can have."""
    ceiling_seconds: float | None = None
    """Time that no engine gets more of; None: `LEVEL_CEILING` times the level's."""

    @property
    def longest_seconds(self) -> float:
        """Time that no engine gets more of."""
        return self.ceiling_seconds or LEVEL_CEILING * self.seconds


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
            ceiling_seconds=plan.ceiling_seconds,
        )
        for index, level in enumerate(plan.levels)
    )


async def run_level(client: EngineClient, level: Level, watch: Callable[[LevelRun], None] | None = None) -> LevelRun:
    """Measure one concurrency.

    A pass ends with every `pass_length`-th answer, and passes follow each other without a pause: waiting for the
    slowest request of each pass would charge speculation, whose requests differ in speed, for idle slots.

    Args:
        client: of a ready engine.
        level: what it is asked.
        watch: told of the level after each pass.

    Raises:
        EngineGoneError: the engine ended.
        EngineHungError: it answers nothing any more.
        TooSlowError: too few passes within the longest time that a level gets.
        MetricsError: only the engine's counters tell the tokens of its answers, and they cannot be read any more.
    """
    run = LevelRun(level.concurrency, limits=level.limits, asked_tokens=level.output_tokens)
    before = await _counted(client, run)
    clock = asyncio.get_running_loop().time
    machine_before, cpu_before, begin = machine_load(), time.process_time(), clock()
    loop = _ClosedLoop(client, run, level, before, watch)
    try:
        await loop.run()
    except TimeoutError:
        raise await loop.overdue() from None
    run.seconds = clock() - begin
    run.client_cpu_seconds = time.process_time() - cpu_before
    run.machine = machine_load().since(machine_before)
    after = await _counted(client, run)
    if before is not None and after is not None:
        try:
            run.counters = after.since(before)
        except ValueError as error:
            raise EngineGoneError(f"{error}, in the middle of a level") from error
    return run


async def _counted(client: EngineClient, run: LevelRun) -> Counters | None:
    """What the engine has counted so far; None where it counts nothing, or cannot be asked, which the level notes."""
    try:
        return await client.counters()
    except MetricsError as error:
        run.metrics_problem = str(error)
        return None


class _ClosedLoop:
    """Workers that each send the next prompt as soon as their last answer is there."""

    def __init__(
        self,
        client: EngineClient,
        run: LevelRun,
        level: Level,
        counters: Counters | None,
        watch: Callable[[LevelRun], None] | None,
    ) -> None:
        self._client = client
        self._run = run
        self._level = level
        self._watch = watch
        self._generated = counters.generated_tokens if counters else None
        if counters is not None and counters.drafting is not None:
            run.drafting_after[0] = counters.drafting
        self._clock = asyncio.get_running_loop().time
        self._begin = self._pass_begin = self._clock()
        self._deadline = asyncio.timeout(None)
        self._tasks = asyncio.TaskGroup()
        self._in_flight = 0
        self._answered = 0
        self._answers: list[Completion] = []
        self._is_over = False

    async def run(self) -> None:
        """Until the level is known. Requests that are under way then are waited for, and belong to no pass.

        Raises:
            TimeoutError: they, or the level, have had their time; see `overdue`.
        """
        ceiling = asyncio.get_running_loop().call_later(self._level.longest_seconds, self._expire)
        try:
            async with self._deadline, self._tasks as tasks:
                listener = tasks.create_task(self._listen())
                await asyncio.wait([tasks.create_task(self._work()) for _ in range(self._run.concurrency)])
                listener.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            ceiling.cancel()

    async def overdue(self) -> EngineHungError | EngineGoneError | TooSlowError:
        """What is wrong with an engine that has had its time."""
        run = self._run
        if self._is_over:
            return EngineHungError(
                f"{self._in_flight} of the last {run.concurrency} requests at concurrency {run.concurrency} got no "
                f"complete answer within {self._time():.0f} s, although the longest of {len(run.completions)} answers "
                f"before took {self._longest():.1f} s: the engine lost them; see its log"
            )
        if self._silence() > max(LISTEN_SECONDS, PATIENCE * self._longest() or self._elapsed() / 2):
            return await self._hung()
        return TooSlowError(
            f"only {len(run.windows)} of the {MIN_WINDOWS} passes needed ({len(run.completions)} answers) fit into "
            f"{self._elapsed():.0f} s at concurrency {run.concurrency}: lower outputTokens of the workload, or give a "
            "level more time (trials.levelSeconds of the chart, --seconds of mtp bench, --level-seconds of mtp tune)"
        )

    async def _listen(self) -> None:
        """End a level whose engine says nothing any more although it is asked."""
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            longest = self._longest()
            if longest and self._silence() > max(SILENCE_SECONDS, PATIENCE * longest):
                raise await self._hung()

    async def _hung(self) -> EngineHungError | EngineGoneError:
        run = self._run
        seen = (
            f"no data for {self._silence():.0f} s with {self._in_flight} of {run.concurrency} requests in flight, "
            f"after {len(run.completions)} answers of at most {self._longest():.1f} s"
        )
        path = self._client.health_path
        if not await self._client.is_healthy():
            return EngineGoneError(f"{seen}, and {path} does not answer 200: the engine ended")
        return EngineHungError(f"{seen}, although {path} answers 200: the engine hangs; see its log")

    def _elapsed(self) -> float:
        return self._clock() - self._begin

    def _silence(self) -> float:
        """Seconds since the last part of any answer arrived."""
        return self._clock() - max(self._client.heard_at, self._begin)

    def _longest(self) -> float:
        """Seconds that the longest answer took; 0 while there is none."""
        return max((one.seconds for one in self._run.completions), default=0.0)

    def _time(self) -> float:
        """Seconds that the level gets at the engine's pace."""
        return level_time(self._run.passes, self._level.seconds, self._level.longest_seconds)

    async def _work(self) -> None:
        while not self._is_over:
            self._in_flight += 1
            answer = await self._ask(next(self._level.prompts))
            self._in_flight -= 1
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
        run.warm = warm_passes(run.passes, self._time())
        run.windows = windows(run.passes, self._time())
        if run.drafting_after:
            # Beside the load: a request that waited for this would be sent late.
            self._tasks.create_task(self._note_drafting(len(run.passes)))

    async def _note_drafting(self, passes: int) -> None:
        with suppress(MetricsError):
            counters = await self._client.counters(tries=1)
            if counters is not None and counters.drafting is not None:
                self._run.drafting_after[passes] = counters.drafting

    async def _tokens(self, answers: Sequence[Completion]) -> int:
        """Output tokens of a pass: by the answers' own word, where one says nothing by what the engine has counted."""
        reported = [one.output_tokens for one in answers]
        if None not in reported:
            return sum(tokens or 0 for tokens in reported)
        counters = await self._client.counters()
        before, now = self._generated or 0, counters.generated_tokens if counters else None
        self._generated = now if now is not None else before
        return self._generated - before

    def _is_enough(self) -> bool:
        run = self._run
        last = run.passes[-1].seconds
        if not self._level.limits:
            return is_enough(run.windows, self._elapsed(), last, self._time())
        has_requests = len(run.warm_answers) >= LEAST_REQUESTS
        time_limit = self._time() if has_requests else self._level.longest_seconds
        return len(run.windows) >= MIN_WINDOWS and self._elapsed() + last > time_limit

    def _expire(self) -> None:
        """The level has had its time: what was measured counts, unless that is too little."""
        if len(self._run.windows) < MIN_WINDOWS:
            self._deadline.reschedule(self._clock())
        elif not self._is_over:
            self._end()

    def _end(self) -> None:
        """Send nothing more. What is under way is not cut off: the engine has counted it, so it has to be counted."""
        self._is_over = True
        self._deadline.reschedule(self._clock() + self._time())
