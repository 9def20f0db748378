"""An applier between an API server and a cache that agree at first."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mtp_operator.api.fetch import FetchProgress
from mtp_operator.reconcile.observed import Kind, Lane, ModelKey, Reference
from mtp_operator.reconcile.plan import (
    Action,
    Plan,
)
from mtp_operator.runtime.api_client import Client
from mtp_operator.runtime.apply import Applied, Applier
from mtp_operator.runtime.fetch_progress import Questions
from mtp_operator.runtime.object_cache import RESOURCES, Cache

from . import bodies
from .api_server import ApiServer, running


@dataclass
class World:
    """An API server and a cache that agree at first."""

    server: ApiServer
    cache: Cache
    applier: Applier
    asked: list[str]
    """Addresses of pods that were asked how far they are."""
    woken: list[ModelKey]

    def has(self, kind: Kind, body: dict[str, Any]) -> Reference:
        resource = RESOURCES[kind]
        path = resource.path(body["metadata"]["namespace"], body["metadata"]["name"])
        stored = self.server.put(path, body)
        self.cache.watched(resource, stored)
        return bodies.reference(kind, stored)

    async def try_(self, plan: Plan) -> Applied:
        applied = Applied()
        await self.applier.apply(plan, applied)
        return applied

    async def apply(self, *actions: Action) -> Applied:
        """Carries out one lane, whose failure is raised."""
        applied = await self.try_(Plan.of(Lane.TUNING, *actions))
        for failed in applied.failures.values():
            raise failed.error
        return applied


@asynccontextmanager
async def world(may_write: Iterator[bool] | None = None) -> AsyncIterator[World]:
    async with running() as server:
        client = Client(server.configuration(), 2.0, (lambda: True) if may_write is None else (lambda: next(may_write)))
        cache = Cache()

        asked: list[str] = []
        woken: list[ModelKey] = []

        async def read_progress(address: str) -> FetchProgress | None:
            asked.append(address)
            if address != "10.0.0.7":
                await asyncio.Event().wait()
            return FetchProgress(fetched_bytes=7)

        now = datetime(2026, 1, 1, tzinfo=UTC)
        applier = Applier(client, cache, lambda: now, woken.append, Questions(read_progress))
        yield World(server, cache, applier, asked, woken)
        await applier.close()
        await client.close()
