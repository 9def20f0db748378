"""What every reflector does: Kopf's, and the one that the chaos tests have in its place."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from mtp_operator.resources.labels import MANAGED_BY_LABEL, MANAGER
from mtp_operator.runtime.api_client import JOBS, MODELS, Body, Resource
from mtp_operator.runtime.kopf_reflector import KopfReflector
from mtp_operator.runtime.reflector import Reflector, Scope
from tests.chaos.operator_process import MemoryReflector, Process

from . import bodies
from .api_server import Answer, ApiServer, Request, running

SCOPES = (Scope(MODELS, bodies.NAMESPACE), Scope(JOBS, bodies.NAMESPACE))


@dataclass
class Heard:
    """A listener that writes down what it hears."""

    words: list[str] = field(default_factory=list)

    def seen(self, _: Resource, body: Body) -> None:
        self.words.append(f"seen {body['metadata']['name']}")

    def deleted(self, _: Resource, body: Body) -> None:
        self.words.append(f"deleted {body['metadata']['name']} at {body['metadata']['resourceVersion']}")


def has_listed(words: list[str]) -> bool:
    """Whether both objects that are there have been seen."""
    return {"seen one", "seen two"} <= set(words)


@dataclass
class Wire:
    """The network of the reflector in memory."""

    server: ApiServer
    random: Random = field(default_factory=lambda: Random(0))

    async def send(self, process: Process, asked: Request, timeout_seconds: float) -> Answer:
        del process, timeout_seconds
        raise AssertionError(f"a reflector in memory asks by {asked.method} {asked.path}: it only lists and watches")

    def is_up(self) -> bool:
        return True

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class World:
    """A reflector and what it lists and watches."""

    server: ApiServer
    reflector: Reflector
    heard: Heard
    told: int = 0

    def put(self, resource: Resource, body: dict[str, Any]) -> None:
        body = copy.deepcopy(body)
        body["metadata"].setdefault("labels", {})[MANAGED_BY_LABEL] = MANAGER
        self.server.put(resource.path(bodies.NAMESPACE, body["metadata"]["name"]), body)

    def remove(self, resource: Resource, name: str) -> None:
        self.server.remove(resource.path(bodies.NAMESPACE, name))

    def expire(self) -> None:
        self.server.expire()
        if isinstance(self.reflector, MemoryReflector):
            self.reflector.expire()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds(self.heard.words):
                self._deliver()
                await asyncio.sleep(0.02)

    def _deliver(self) -> None:
        if isinstance(self.reflector, MemoryReflector):
            for change in self.server.changes[self.told :]:
                self.reflector.hear(change)
        self.told = len(self.server.changes)


@pytest.fixture(params=["Kopf", "in memory"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    # Kopf's reflector silences these when it ends, as the process does then.
    levels = {name: logging.getLogger(name).level for name in ("kopf", "asyncio")}
    async with running() as server:
        is_kopf = request.param == "Kopf"
        reflector = KopfReflector(server.configuration()) if is_kopf else MemoryReflector(Wire(server))
        it = World(server, reflector, Heard())
        it.put(MODELS, bodies.model("one"))
        it.put(JOBS, bodies.job("two"))
        it.told = len(server.changes)
        yield it
        await reflector.stop()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_it_brings_what_is_there_once(world: World) -> None:
    await world.reflector.start(SCOPES, world.heard)

    await world.until(has_listed)

    assert sorted(world.heard.words) == ["seen one", "seen two"]


async def test_it_brings_what_is_new_what_changes_and_what_ends(world: World) -> None:
    await world.reflector.start(SCOPES, world.heard)
    await world.until(has_listed)

    world.put(JOBS, bodies.job("three", uid="three"))
    await world.until(lambda words: "seen three" in words)
    world.put(JOBS, bodies.job("three", uid="three", status={"active": 1}))
    await world.until(lambda words: words.count("seen three") == 2)
    world.remove(JOBS, "three")
    await world.until(lambda words: f"deleted three at {world.server.version}" in words)


async def test_it_lists_again_when_a_watch_has_expired(world: World) -> None:
    await world.reflector.start(SCOPES, world.heard)
    await world.until(has_listed)
    world.heard.words.clear()

    world.expire()
    await world.until(has_listed)
    world.put(MODELS, bodies.model("four", uid="four"))
    await world.until(lambda words: "seen four" in words)


async def test_it_says_nothing_after_its_end(world: World) -> None:
    await world.reflector.start(SCOPES, world.heard)
    await world.until(has_listed)
    waiting = asyncio.create_task(world.reflector.wait())

    await world.reflector.stop()
    world.heard.words.clear()
    world.put(JOBS, bodies.job("five", uid="five"))
    await asyncio.sleep(0.5)

    assert world.heard.words == []
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
