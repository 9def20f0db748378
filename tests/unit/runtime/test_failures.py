"""What a person sees of a model while the API server refuses or fails: real decisions, a faulty API server."""

from __future__ import annotations

import copy
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mtp_operator.reconcile.observed import Kind, ModelKey
from mtp_operator.runtime.api_client import MODELS, Client
from mtp_operator.runtime.apply import Applier
from mtp_operator.runtime.object_cache import RESOURCES, Cache
from mtp_operator.runtime.queue import WorkQueue
from mtp_operator.runtime.worker import Worker
from tests.unit.reconcile import givens
from tests.unit.reconcile import world as memory

from .api_server import ApiServer, Request, running
from .clock import Clock

KEY = ModelKey(givens.NAMESPACE, "gemma")
PATH = MODELS.path(givens.NAMESPACE, "gemma")

POLICIES = ("no-jobs", "owners-only", "on-fridays", "labels")


@dataclass
class Cluster:
    """An API server whose watches bring everything at once."""

    server: ApiServer
    cache: Cache
    queue: WorkQueue[ModelKey]
    clock: Clock
    worker: Worker

    def has(self, kind: Kind, body: dict[str, Any]) -> None:
        """Somebody has written the object."""
        body = copy.deepcopy(body)
        body["metadata"].setdefault("namespace", givens.NAMESPACE)
        self.server.put(RESOURCES[kind].path(givens.NAMESPACE, body["metadata"]["name"]), body)

    def has_all(self, world: memory.World) -> None:
        """Everything of a model that was followed in memory."""
        assert world.model is not None
        self.has(Kind.MODEL, world.model)
        for run in world.runs.values():
            self.has(Kind.RUN, run)
        for (kind, _), child in world.children.items():
            self.has(kind, child)
        for pod in world.servers():
            self.has(Kind.POD, pod)

    async def run(self, seconds: float) -> None:
        """Time goes by."""
        end = self.clock() + seconds
        self._watch()
        while self.clock() < end:
            key = self.queue.take()
            if key is None:
                self.clock.advance(0.5)
            else:
                await self.worker.work(key)
            self._watch()

    def _watch(self) -> None:
        for path, body in self.server.objects.items():
            for resource in RESOURCES.values():
                if path.startswith(resource.path(givens.NAMESPACE) + "/"):
                    self.cache.watched(resource, body)
        for key in self.cache.take_changed():
            self.queue.add(key)

    def refuse(self, status: int, method: str, plural: str, said: Iterator[str] | None = None) -> None:
        """From now on the API server refuses requests of a method to a kind, with the next of these messages."""

        def fails(asked: Request) -> int | None:
            if asked.method != method or f"/{plural}" not in asked.path:
                return None
            self.server.failure_message = next(said) if said is not None else "denied by a policy"
            return status

        self.server.fail_before = fails

    def condition(self, type_: str) -> tuple[str, str, str]:
        conditions = self.server.objects[PATH]["status"]["conditions"]
        one = next(one for one in conditions if one["type"] == type_)
        return one["status"], one["reason"], one["message"]


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    async with running() as server:
        clock = Clock()
        cache, queue, client = Cache(clock), WorkQueue[ModelKey](clock), Client(server.configuration(), 2.0)
        worker = Worker(queue, cache, Applier(client, cache), givens.SETTINGS, clock=clock)
        yield Cluster(server, cache, queue, clock, worker)
        await client.close()


def tuned(replicas: int) -> memory.World:
    """A model whose servers serve what was chosen."""
    world = memory.World(givens.model_body(serving={"replicas": replicas}))
    world.finish()
    world.settle()
    world.replace_servers()
    world.settle()
    return world


async def test_servers_are_scaled_while_a_policy_refuses_trial_jobs() -> None:
    world = tuned(replicas=1)
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1}, serving={"replicas": 3})
    async with cluster() as it:
        it.has_all(world)
        it.refuse(403, "POST", "jobs")

        await it.run(60)

        deployment = next(body for path, body in it.server.objects.items() if "/deployments/" in path)
        assert deployment["spec"]["replicas"] == 3
        assert it.condition("Serving")[1] == "RollingOut"
        assert it.condition("Tuned")[1] == "WriteRefused"


async def test_trials_go_ahead_while_a_policy_refuses_the_servers() -> None:
    async with cluster() as it:
        it.has(Kind.MODEL, givens.model_body(serving={"replicas": 1, "whileTuning": "Baseline"}))
        it.refuse(403, "PATCH", "deployments")

        await it.run(60)

        assert any("/jobs/" in path for path in it.server.objects)
        assert it.condition("Serving")[1] == "WriteRefused"
        assert it.condition("Tuned")[1] == "Tuning"


async def test_an_api_server_that_keeps_failing_is_told_within_a_minute() -> None:
    async with cluster() as it:
        it.has(Kind.MODEL, givens.model_body())
        it.refuse(500, "POST", "mtptuningruns", itertools.repeat("failed calling webhook: connection refused"))

        await it.run(60)

        status, reason, message = it.condition("Ready")
        assert (status, reason) == ("False", "APIServerFailing")
        assert "failed calling webhook" in message
        assert it.condition("Reconciling")[0] == "True"

        it.server.fail_before = lambda _: None
        await it.run(130)
        assert it.condition("Ready")[1] == "Tuning"


@pytest.mark.parametrize("status", [403, 422, 500])
async def test_a_refusal_whose_text_varies_makes_few_writes(status: int) -> None:
    with_ids = (f"denied (request {number})" for number in itertools.count())
    for said in (with_ids, itertools.cycle(f"denied by policy {name}" for name in POLICIES)):
        async with cluster() as it:
            it.has(Kind.MODEL, givens.model_body())
            it.refuse(status, "POST", "mtptuningruns", said)

            await it.run(600)

            assert 5 <= len(it.server.writes()) <= 20


async def test_what_refuses_a_trial_now_is_told_and_not_what_did_before() -> None:
    async with cluster() as it:
        it.has(Kind.MODEL, givens.model_body())
        it.refuse(403, "POST", "mtptuningruns", itertools.repeat("denied by policy A"))
        await it.run(60)
        it.refuse(403, "POST", "mtptuningruns", itertools.repeat("denied by policy B"))
        await it.run(300)

        assert "denied by policy B" in it.condition("Ready")[2]
