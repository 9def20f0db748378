"""What the beginning of many models costs the API server: each write once, and each status when it is settled."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from mtp_operator.api.conditions import format_time
from mtp_operator.runtime.api_client import MODELS, RUNS
from tests.unit.reconcile import givens as memory
from tests.unit.runtime.api_server import Answer, ApiServer, Request

from .life import EPOCH, LEASE_PATH, in_process
from .operator_process import SETTINGS, Process
from .virtual_loop import VirtualLoop

COUNT: Final = 20


class Beginning:
    """An API server with new models, whose Jobs get no pods, and one operator; nothing goes wrong."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.random = random.Random(0)
        self.server = ApiServer(now=lambda: format_time(self.now()))
        self._told = 0

    def now(self) -> datetime:
        """The time."""
        return EPOCH + timedelta(seconds=self.loop.time())

    def is_up(self) -> bool:
        """Always."""
        return True

    async def send(self, process: Process, asked: Request, timeout_seconds: float) -> Answer:
        """Carries a request out."""
        del timeout_seconds
        await asyncio.sleep(self.random.uniform(0.001, 0.02))
        self.server.requests.append(asked)
        if asked.method == "POST" and asked.path.endswith(RUNS.plural):
            asked.body["status"] = {"observedGeneration": -1}
        answer = self.server.answer(asked)
        new, self._told = self.server.changes[self._told :], len(self.server.changes)
        for change in new:
            process.reflector.hear(change)
        return answer

    async def settle(self) -> list[Request]:
        """What the operator asks of the API server until all models are settled, the Lease left out."""
        for number in range(COUNT):
            body = memory.model_body(f"model-{number}")
            del body["metadata"]["uid"], body["metadata"]["creationTimestamp"]
            self.server.put(MODELS.path(memory.NAMESPACE, f"model-{number}"), body)
        self._told = len(self.server.changes)
        process = Process("process", self, SETTINGS)
        running = asyncio.create_task(process.run())
        await asyncio.sleep(12)
        process.kill()
        await asyncio.gather(running, return_exceptions=True)
        leases = LEASE_PATH.rpartition("/")[0]
        return [asked for asked in self.server.requests if not asked.path.startswith(leases)]


def drop(_: Any, __: str, ___: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


def begun() -> list[Request]:
    with in_process(drop), asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def run() -> list[Request]:
            return await Beginning().settle()

        return runner.run(run())


def of_model(asked: Request, number: int) -> bool:
    name = f"model-{number}"
    body = asked.body or {}
    named = (body.get("metadata", {}).get("name", ""), body.get("involvedObject", {}).get("name", ""))
    return any(one == name or one.startswith((f"{name}-", f"{name}.")) for one in named)


def test_a_model_is_written_about_once_for_each_thing_that_is_settled() -> None:
    requests = begun()

    for number in range(COUNT):
        writes = [one for one in requests if one.method != "GET" and of_model(one, number)]
        assert [(one.method, one.path.rpartition(f"/{memory.NAMESPACE}/")[2].split("/")[0]) for one in writes] == [
            ("POST", "mtptuningruns"),
            ("PATCH", "mtptuningruns"),  # the trial is planned before its Job is created
            ("POST", "networkpolicies"),
            ("POST", "jobs"),
            ("PATCH", "mtptuningruns"),
            ("POST", "events"),
            ("PATCH", "mtpmodels"),
        ]


def test_nothing_is_read_before_it_is_written_but_each_kind_once() -> None:
    reads = [one.path for one in begun() if one.method == "GET"]

    assert len(reads) == len(set(reads)) == 9
