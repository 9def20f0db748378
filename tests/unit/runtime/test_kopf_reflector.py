"""What ends the process when a watch of Kopf's does not do its work."""

import asyncio
from collections.abc import Iterator

import pytest

from mtp_operator.runtime import kopf_reflector
from mtp_operator.runtime.api_client import MODELS, NODES
from mtp_operator.runtime.fatal import FatalError
from mtp_operator.runtime.kopf_reflector import guard
from mtp_operator.runtime.reflector import Scope

SCOPES = (Scope(MODELS, "llm"), Scope(NODES, None))
NAMES = ("watcher for mtpmodels.v1alpha1.mtp-operator.dev@llm", "watcher for nodes.v1@None")


@pytest.fixture
def tasks() -> Iterator[list[asyncio.Task[None]]]:
    """Stand-ins for Kopf's watch tasks, by the names that Kopf gives them."""
    running: list[asyncio.Task[None]] = []
    yield running
    for task in running:
        task.cancel()


def watch(name: str, ends: asyncio.Event, error: Exception | None = None) -> asyncio.Task[None]:
    async def run() -> None:
        await ends.wait()
        if error is not None:
            raise error

    return asyncio.create_task(run(), name=name)


@pytest.mark.parametrize(("error", "told"), [(None, "None"), (RuntimeError("pods is forbidden"), "pods is forbidden")])
async def test_a_watch_that_ends_with_or_without_an_error_is_fatal(
    tasks: list[asyncio.Task[None]], error: Exception | None, told: str
) -> None:
    ends = asyncio.Event()
    tasks += [watch(NAMES[0], asyncio.Event()), watch(NAMES[1], ends, error)]
    guardian = asyncio.create_task(guard(SCOPES))
    await asyncio.sleep(0)
    assert not guardian.done()

    ends.set()

    with pytest.raises(FatalError, match=f"a watch ended; {NAMES[1]}: {told}"):
        await guardian


async def test_a_watch_that_does_not_begin_is_fatal(
    tasks: list[asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kopf_reflector, "START_SECONDS", 0.05)
    tasks.append(watch(NAMES[0], asyncio.Event()))

    with pytest.raises(FatalError, match=f"watches not started within 0.05 s: {NAMES[1]}$"):
        await guard(SCOPES)
