"""One whole life of a model with one fault, and in what it differs from an undisturbed one."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest import mock

import aiohttp
import structlog
from prometheus_client import CollectorRegistry

from mtp_operator.api.conditions import format_time
from mtp_operator.resources.labels import N_SPEC_LABEL
from mtp_operator.runtime.api_client import DEPLOYMENTS, JOBS, LEASES, MODELS, NODES, RUNS
from tests.unit.reconcile import givens as memory
from tests.unit.runtime.api_server import Answer, ApiServer, Request, refusal

from .cluster import URI, Cluster
from .faults import ANSWERS, CLOCK_HOURS, Fault, Kind
from .operator_process import SETTINGS, Process
from .virtual_loop import VirtualLoop

EPOCH: Final = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
NAME: Final = "gemma"
MODEL_PATH: Final = MODELS.path(memory.NAMESPACE, NAME)
LEASE_PATH: Final = LEASES.path(memory.NAMESPACE, "mtp-operator")
SPEEDS: Final = {0: 50.0, 1: 80.0, 2: 60.0}
LATER_SPEEDS: Final = {0: 50.0, 1: 60.0, 2: 110.0}
"""What the second tuning measures: another n wins."""

PATIENCE_SECONDS: Final = 3000.0
"""Time after which a life that does not get on is given up."""


@dataclass
class Outcome:
    """What came of a life."""

    created: Counter[str] = field(default_factory=Counter)
    """Jobs and runs that the API server created."""
    templates: tuple[str, ...] = ()
    server_pods: int = 0
    milestones: list[dict[str, Any]] = field(default_factory=list)
    left: frozenset[str] = frozenset()
    writes: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What must not happen whatever goes wrong."""

    def violations(self, undisturbed: Outcome, fault: Fault) -> list[str]:
        """What a life with a fault has that an undisturbed one has not, or the other way round."""
        wrong = [*self.wrong]
        wrong += [
            f"{name} was created {self.created[name]} times, not {undisturbed.created[name]}"
            for name in sorted(self.created.keys() | undisturbed.created.keys())
            if self.created[name] != undisturbed.created[name]
        ]
        if self.templates != undisturbed.templates or self.server_pods != undisturbed.server_pods:
            wrong.append(f"servers were restarted: {self.templates}, {self.server_pods} pods")
        for mine, its in zip(self.milestones, undisturbed.milestones, strict=False):
            wrong += _differences(mine, its)
        if self.left != undisturbed.left:
            wrong.append(f"what is left differs: {sorted(self.left ^ undisturbed.left)}")
        if not self.wrong and self.seconds > undisturbed.seconds + fault.delay_seconds:
            wrong.append(f"it took {self.seconds - undisturbed.seconds:.0f} s longer")
        return wrong


class Stuck(Exception):  # noqa: N818  # no error of a program
    """A life does not get on."""


class Life:
    """The API server, the cluster, the operator's replicas and the person, and the fault between them."""

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.random = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.outcome = Outcome()
        self.processes: dict[int, Process] = {}
        self.server = ApiServer(now=lambda: format_time(self.now()))
        self.cluster = Cluster(self.server, self.now, dict(SPEEDS))
        self._tried: set[tuple[str, str]] = set()
        self._names = 0
        self._is_away_until = 0.0
        self._longest_way_seconds = 0.02
        self._told = 0

    def now(self) -> datetime:
        """The cluster's time."""
        return EPOCH + timedelta(seconds=self.loop.time())

    # -- the network ---------------------------------------------------------------------------------------------------

    def is_up(self) -> bool:
        """Whether the API server answers."""
        return self.loop.time() >= self._is_away_until

    async def send(self, process: Process, asked: Request, timeout_seconds: float) -> Answer:
        """Carries a request out, with the fault if it is due."""
        await self._passes(process)
        is_write = asked.method != "GET" and not asked.path.startswith(LEASE_PATH.rpartition("/")[0])
        if not is_write:
            answer = self._carry_out(process, asked)
            await self._passes(process)
            return answer
        number, self.outcome.writes = self.outcome.writes, self.outcome.writes + 1
        one = (asked.method, f"{asked.path}/{asked.body.get('metadata', {}).get('name')}")
        strikes = self.fault.strikes(number, is_first_try=one not in self._tried)
        self._tried.add(one)
        if not strikes:
            answer = self._carry_out(process, asked)
            await self._passes(process)
            return answer
        return await self._faulty(process, asked, timeout_seconds)

    async def _passes(self, process: Process) -> None:
        await asyncio.sleep(self.random.uniform(0.001, self._longest_way_seconds))
        await asyncio.sleep(max(0.0, process.resumes_at - self.loop.time()))
        if process.is_dead or not self.is_up():
            raise aiohttp.ClientConnectionError("connection refused")

    async def _faulty(self, process: Process, asked: Request, timeout_seconds: float) -> Answer:
        kind = self.fault.kind
        if kind in ANSWERS:
            exists = asked.method == "POST" and kind is Kind.CONFLICT
            return refusal(ANSWERS[kind], "AlreadyExists" if exists else "Conflict")
        if kind is Kind.KILLED_BEFORE:
            process.kill()
            raise aiohttp.ClientConnectionError("killed")
        answer = self._carry_out(process, asked)
        match kind:
            case Kind.KILLED_AFTER:
                process.kill()
            case Kind.TIMEOUT:
                await asyncio.sleep(timeout_seconds)
                raise TimeoutError
            case Kind.FROZEN:
                process.reflector.freeze(40)
            case Kind.FROZEN_FOR_GOOD:
                process.reflector.freeze(float("inf"))
            case Kind.EXPIRED:
                process.reflector.expire()
            case Kind.REORDERED:
                process.reflector.longest_delay_seconds = 8.0
            case Kind.SLOW:
                self._longest_way_seconds = 2.0
            case Kind.RESTARTED | Kind.AWAY:
                self._is_away_until = self.loop.time() + (8 if kind is Kind.RESTARTED else 40)
                for one in self.processes.values():
                    one.reflector.expire()
            case Kind.LEASE_DELETED:
                self.server.remove(LEASE_PATH)
            case Kind.PAUSED:
                process.resumes_at = self.loop.time() + 65
            case _:
                process.clock_is_off_by = timedelta(hours=CLOCK_HOURS[kind])
        await self._passes(process)
        return answer

    def _carry_out(self, process: Process, asked: Request) -> Answer:
        is_lease = asked.path.startswith(LEASE_PATH.rpartition("/")[0])
        lease = self.server.objects.get(LEASE_PATH)
        holder = process.name if lease is None else lease["spec"]["holderIdentity"]
        if asked.method != "GET" and not is_lease and holder != process.name:
            self.outcome.wrong.append(f"{process.name} wrote {asked.path} while {holder or 'nobody'} held the Lease")
        if asked.method == "POST" and asked.path.endswith("/mtptuningruns"):
            asked.body["status"] = {"observedGeneration": -1}
        answer = self.server.answer(asked)
        if asked.method == "POST" and answer.status == 201:
            self._count(asked)
        self.tell_watches()
        return answer

    def _count(self, asked: Request) -> None:
        kind = asked.body["kind"]
        if kind in (JOBS.kind, RUNS.kind):
            self.outcome.created[f"{kind} {asked.body['metadata']['name']}"] += 1

    def tell_watches(self) -> None:
        """All watches are sent what is new."""
        new, self._told = self.server.changes[self._told :], len(self.server.changes)
        for change in new:
            for process in self.processes.values():
                process.reflector.hear(change)

    # -- the operator --------------------------------------------------------------------------------------------------

    async def supervise(self, slot: int) -> None:
        """One replica of the Deployment: a process that ends is started again."""
        while True:
            self._names += 1
            process = self.processes[slot] = Process(f"process-{self._names}", self, SETTINGS)
            try:
                await process.run()
            finally:
                process.kill()
            await asyncio.sleep(1)

    # -- the cluster and the person ------------------------------------------------------------------------------------

    async def run_cluster(self) -> None:
        """Controllers and kubelets."""
        while True:
            await asyncio.sleep(0.5)
            if self.is_up():
                self.cluster.step()
                self.tell_watches()

    async def live(self) -> Outcome:
        """From the first fetch to what is left after the model was deleted."""
        self.server.put(NODES.path(None, "node-a"), memory.NODE)
        replicas = 2 if self.fault.kind in (Kind.LEASE_DELETED, Kind.PAUSED) else 1
        tasks = [asyncio.create_task(self.supervise(slot)) for slot in range(replicas)]
        tasks.append(asyncio.create_task(self.run_cluster()))
        person = asyncio.create_task(self._person())
        try:
            done, _ = await asyncio.wait({person, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Stuck as stuck:
            self.outcome.wrong.append(str(stuck))
        finally:
            for process in self.processes.values():
                process.kill()
            for task in (person, *tasks):
                task.cancel()
            await asyncio.gather(person, *tasks, return_exceptions=True)
        self.outcome.left = frozenset(
            path for path in self.server.objects if "/events/" not in path and path != LEASE_PATH
        )
        return self.outcome

    async def _person(self) -> None:
        spec: dict[str, Any] = {
            "model": {"uri": URI},
            "storage": {"newClaim": {"size": "100Gi"}},
            "tuning": {"maxNSpec": 2},
            "serving": {"replicas": 1},
        }
        body = memory.model_body(NAME, **spec)
        del body["metadata"]["uid"], body["metadata"]["creationTimestamp"]
        self.server.put(MODEL_PATH, body)
        self.tell_watches()
        self.cluster.loses_next_trial = True
        await self._until(lambda: self._serves(1), "the first choice is served")
        await self._milestone()
        self.cluster.speeds = dict(LATER_SPEEDS)
        live = self.server.objects[MODEL_PATH]
        self.server.put(MODEL_PATH, {**live, "spec": {**live["spec"], "tuning": {"maxNSpec": 2, "retuneRequest": 1}}})
        self.tell_watches()
        await self._until(lambda: self._serves(2), "the second choice is served")
        await self._milestone()
        # What is made for a model that is gone, before the news of that comes, is collected.
        self.outcome.templates = tuple(self.cluster.templates)
        self.outcome.server_pods = self.cluster.server_pods
        self.server.remove(MODEL_PATH)
        self.tell_watches()
        await self._until(lambda: not any(self.cluster.of(DEPLOYMENTS)), "the servers are gone")
        self.outcome.seconds = self.loop.time()
        await asyncio.sleep(90)

    def _serves(self, n_spec: int) -> bool:
        model = self.server.objects[MODEL_PATH]
        status = model["status"]
        conditions = {one["type"]: one for one in status.get("conditions", ())}
        return (
            status.get("nSpec") == n_spec
            and conditions["Ready"]["status"] == "True"
            and conditions["Serving"]["reason"] == "Available"
            and status.get("observedGeneration") == model["metadata"]["generation"]
            and not any(self.cluster.of(JOBS))
            and not any("ownerReferences" in run["metadata"] for run in self.cluster.of(RUNS))
            and any(one["metadata"]["labels"][N_SPEC_LABEL] == str(n_spec) for one in self._servers())
        )

    def _servers(self) -> list[dict[str, Any]]:
        return [deployment["spec"]["template"] for deployment in self.cluster.of(DEPLOYMENTS)]

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = self.loop.time() + PATIENCE_SECONDS
        while not holds():
            await asyncio.sleep(0.5)
            if self.loop.time() > end:
                raise Stuck(f"not within {PATIENCE_SECONDS:.0f} s: {what}")

    async def _milestone(self) -> None:
        await asyncio.sleep(5)
        seen: dict[str, Any] = {"Model": _model(self.server.objects[MODEL_PATH]["status"])}
        for run in self.cluster.of(RUNS):
            seen[f"Run {run['metadata']['name']}"] = _run(run["status"])
        self.outcome.milestones.append(seen)


def _differences(mine: dict[str, Any], its: dict[str, Any], of: str = "") -> list[str]:
    wrong = []
    for name, value in its.items():
        if isinstance(value, dict) and isinstance(mine.get(name), dict):
            wrong += _differences(mine[name], value, f"{of}{name}.")
        elif mine.get(name) != value:
            wrong.append(f"{of}{name} is {mine.get(name)}, not {value}")
    return wrong


def _model(status: dict[str, Any]) -> dict[str, Any]:
    """What of a model's status does not depend on when it was written."""
    kept = {name: status.get(name) for name in ("nSpec", "speedup", "outputTokensPerSecond", "acceptanceLength")}
    conditions = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    return kept | conditions | {"fetched": status["weights"]["fetched"]}


def _run(status: dict[str, Any]) -> dict[str, Any]:
    """What of a run's status does not depend on when it was written."""
    known = ("candidate", "nSpec", "repeat", "attempt", "state", "reason", "result")
    verdict = {name: status["verdict"].get(name) for name in ("type", "nSpec")}
    return {"trials": [{name: one.get(name) for name in known} for one in status["trials"]], "verdict": verdict}


def live(fault: Fault, seed: int) -> Outcome:
    """One life."""
    wrong: list[str] = []

    def note(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if event["event"] in ("a decision failed", "a write failed", "objects cannot be read"):
            wrong.append(f"{event['event']}: {event}")
        raise structlog.DropEvent

    with _in_process(note), asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def run() -> Outcome:
            return await Life(fault, seed).live()

        outcome = runner.run(run())
    outcome.wrong += wrong
    return outcome


@contextlib.contextmanager
def _in_process(note: structlog.typing.Processor) -> Iterator[None]:
    """The runtime without HTTP, without metrics and with its log heard."""
    before = structlog.get_config()
    structlog.configure(processors=[note], wrapper_class=structlog.make_filtering_bound_logger(40))
    try:
        with (
            mock.patch("mtp_operator.runtime.api_client.ApiClient", lambda transport: transport),
            mock.patch("mtp_operator.runtime.app.REGISTRY", CollectorRegistry(auto_describe=False)),
            # Signals are for the tests' own process.
            mock.patch("mtp_operator.runtime.app._stop_on_signals", return_value=None),
        ):
            yield
    finally:
        structlog.configure(**before)
