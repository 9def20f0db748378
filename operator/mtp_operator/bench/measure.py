"""What a measurement consists of, whoever asked for it: a trial, or a person with a server of their own."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from .engine_client import EngineClient
from .gates import slowed_by_machine
from .load import Level, LevelRun, TooSlowError, run_level
from .prompts import Prompt
from .readiness import wait_until_ready


@dataclass
class Findings:
    """What a measurement has brought. It is filled in on the way: what was seen before an abort stays."""

    ready_seconds: float | None = None
    """From the beginning until a completion worked."""
    runs: list[LevelRun] = field(default_factory=list)


Watch = Callable[[LevelRun], None]
"""Told of a level after each of its passes."""


async def measure(
    client: EngineClient,
    probe: Prompt,
    levels: Iterable[Level],
    ready_seconds: float,
    findings: Findings,
    watch: Watch | None = None,
) -> None:
    """Wait until the engine works, then measure one level after the other.

    A level whose throughput sank is measured again in the same boot, if its longest time allows for as much time again:
    what begins to throttle, or to share its machine, is steady later.

    Args:
        client: of the engine.
        probe: the longest prompt of the workload.
        levels: in the order in which they are measured.
        ready_seconds: how long the engine may take until a completion works.
        findings: filled in.
        watch: told how it goes.

    Raises:
        NotReadyError: no completion works.
        EngineGoneError: the engine ended.
        EngineHungError: the engine answers nothing any more.
        TooSlowError: a level did not get enough passes into the longest time that it gets.
        MetricsError: only the engine's counters tell its tokens, and they cannot be read any more.
    """
    levels = tuple(levels)
    clock = asyncio.get_running_loop().time
    begin = clock()
    await wait_until_ready(client, probe, max(level.output_tokens for level in levels), ready_seconds)
    findings.ready_seconds = clock() - begin
    for level in levels:
        findings.runs.append(await run_level(client, level, watch))
        await _measure_again(client, level, findings, watch)


async def _measure_again(client: EngineClient, level: Level, findings: Findings, watch: Watch | None) -> None:
    """Replace the last run, as long as its throughput sank and the level's longest time has room for another."""
    run = findings.runs[-1]
    spent_seconds = run.seconds
    while slowed_by_machine(run) and spent_seconds + run.seconds <= level.longest_seconds:
        rest = replace(level, ceiling_seconds=level.longest_seconds - spent_seconds)
        try:
            again = await run_level(client, rest, watch)
        except TooSlowError:
            return
        again.sank_before = run.sank
        findings.runs[-1] = run = again
        spent_seconds += run.seconds
