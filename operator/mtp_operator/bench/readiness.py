"""Waiting until a trial can begin."""

import asyncio
import os
from pathlib import Path
from typing import Final

from .engine_client import EngineClient, MetricsError
from .load import EngineGoneError
from .prompts import Prompt
from .stream import RequestError

POLL_SECONDS: Final = 0.2

MAX_BROKEN_COMPLETIONS: Final = 10
"""Failed completions of a healthy server after which nothing else is expected of it."""


class NotReadyError(Exception):
    """No completion works; the message says how far it came."""


def model_problem(path: Path) -> str | None:
    """Why nothing can be loaded from here, if so."""
    field = f"spec.model.uri: {path} in the pod"
    if not path.exists():
        return f"{field} does not exist"
    if not os.access(path, os.R_OK):
        return f"{field} cannot be read by user {os.getuid()}, as whom the engine runs"
    if path.is_dir() and not any(path.iterdir()):
        return f"{field} is an empty folder"
    return None


async def wait_until_ready(client: EngineClient, probe: Prompt, output_tokens: int, ready_seconds: float) -> None:
    """Wait until a completion of the workload's largest size works: a healthy server may still be of no use.

    Args:
        client: of an engine that may still be starting.
        probe: the longest prompt of the workload.
        output_tokens: of the largest request of the workload.
        ready_seconds: how long all this may take.

    Raises:
        NotReadyError: it did not work in time, or never will.
        EngineGoneError: the server was healthy and ended at its first completions.
    """
    stage = "its health endpoint did not report that it is healthy"
    try:
        async with asyncio.timeout(ready_seconds):
            while not await client.is_healthy():  # noqa: ASYNC110  # another process: nothing to wait on
                await asyncio.sleep(POLL_SECONDS)
            stage = f"it is healthy, but a completion of {output_tokens} tokens did not finish"
            await _first_completion(client, probe, output_tokens)
    except TimeoutError:
        raise NotReadyError(f"the engine was not ready within {ready_seconds:.0f} s: {stage}") from None


async def _first_completion(client: EngineClient, probe: Prompt, output_tokens: int) -> None:
    for attempt in range(1, MAX_BROKEN_COMPLETIONS + 1):
        try:
            answer = await client.complete(probe, output_tokens)
            if answer.output_tokens is None:
                await _refuse_uncountable(client)
        except RequestError as failure:
            if not await client.is_healthy():
                raise EngineGoneError(
                    f"the engine was healthy and ended at its first completion ({failure})"
                ) from failure
            if failure.is_refused or attempt == MAX_BROKEN_COMPLETIONS:
                raise NotReadyError(f"the engine is healthy, but its completions fail: {failure}") from failure
            await asyncio.sleep(1)
        else:
            return


async def _refuse_uncountable(client: EngineClient) -> None:
    uncounted = "the output tokens cannot be counted: the engine's answers have no usage.completion_tokens, and"
    try:
        counters = await client.counters()
    except MetricsError as error:
        raise NotReadyError(f"{uncounted} {error}") from error
    if counters is None or counters.generated_tokens is None:
        raise NotReadyError(f"{uncounted} its /metrics has no counter of them")
