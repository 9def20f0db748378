"""What a measurement consists of, whoever asked for it: a trial, or a person with a server of their own."""

from collections.abc import Callable, Iterable

from .engine_client import EngineClient
from .load import Level, LevelRun, run_level
from .prompts import Prompt
from .readiness import wait_until_ready

Watch = Callable[[LevelRun], None]
"""Told of a level after each of its passes."""


async def measure(
    client: EngineClient,
    probe: Prompt,
    levels: Iterable[Level],
    ready_seconds: float,
    runs: list[LevelRun],
    watch: Watch | None = None,
) -> None:
    """Wait until the engine works, then measure one level after the other.

    Args:
        client: of the engine.
        probe: the longest prompt of the workload.
        levels: in the order in which they are measured.
        ready_seconds: how long the engine may take until a completion works.
        runs: filled in as levels end; those before an abort stay.
        watch: told how it goes.

    Raises:
        NotReadyError: no completion works.
        EngineGoneError: the engine ended.
        EngineHungError: the engine answers nothing any more.
        TooSlowError: a level did not get enough passes into the longest time that it gets.
        MetricsError: only the engine's counters tell its tokens, and they cannot be read any more.
    """
    levels = tuple(levels)
    await wait_until_ready(client, probe, max(level.output_tokens for level in levels), ready_seconds)
    for level in levels:
        runs.append(await run_level(client, level, watch))  # noqa: PERF401  # those before an abort stay
