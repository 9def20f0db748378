"""One operator process: the product's own code but for HTTP and Kopf, on virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import aiohttp
from kubernetes.aio.client import Configuration

from mtp_operator.runtime.api_client import ApiError, Client, Resource, WritesStoppedError
from mtp_operator.runtime.app import lead
from mtp_operator.runtime.fatal import FatalError
from mtp_operator.runtime.health import Health
from mtp_operator.runtime.installation import Settings
from mtp_operator.runtime.lease import Lease, LeaseLostError
from mtp_operator.runtime.reflector import Listener, Scope
from mtp_operator.runtime.server_time import ServerTime
from tests.unit.reconcile import givens as memory
from tests.unit.runtime.api_server import Answer, ApiServer, Change, Request

from .faults import SWEEP_SECONDS

CONFIGURATION: Final = Configuration()
CONFIGURATION.host = ""


class Network(Protocol):
    """What is between processes and the API server: it carries out requests, and has the faults."""

    server: ApiServer
    random: random.Random

    async def send(self, process: Process, asked: Request, timeout_seconds: float) -> Answer:
        """Raises aiohttp.ClientError or OSError where no answer comes."""

    def is_up(self) -> bool:
        """Whether the API server answers."""

    def now(self) -> datetime:
        """The API server's time."""


class _Response:
    def __init__(self, answer: Answer, now: datetime) -> None:
        self.status = answer.status
        self.headers = {"Date": format_datetime(now, usegmt=True)}
        self._data = json.dumps(answer.body).encode()

    async def read(self) -> bytes:
        return self._data


class Transport:
    """Takes the place of the library's ApiClient: requests without HTTP."""

    def __init__(self, process: Process) -> None:
        self.configuration = CONFIGURATION
        self.rest_client = self
        self._process = process

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], body: Any, _request_timeout: aiohttp.ClientTimeout
    ) -> _Response:
        path, _, query = url.partition("?")
        asked = Request(method, path, dict(parse_qsl(query)), json.loads(json.dumps(body)), headers["Accept"])
        network = self._process.network
        answer = await network.send(self._process, asked, _request_timeout.total or 0.0)
        return _Response(answer, network.now())

    async def close(self) -> None:
        """Nothing is open."""


class MemoryReflector:
    """Lists and watches an API server in memory; news comes late, in order within a collection and in none between."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._server = network.server
        self._loop = asyncio.get_running_loop()
        self._scopes: dict[str, Resource] = {}
        self._epochs: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._left: set[str] = set()
        self._listener: Listener | None = None
        self._is_frozen_until = 0.0
        self.longest_delay_seconds = 0.3

    async def start(self, scopes: Sequence[Scope], listener: Listener) -> None:
        """Begins to list and watch."""
        self._scopes = {scope.resource.path(scope.namespace): scope.resource for scope in scopes}
        self._left = set(self._scopes)
        self._listener = listener
        for path in self._scopes:
            self.expire(path)

    async def wait(self) -> None:
        """Watches end only when they are stopped."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Tells nobody anything any more."""
        self._listener = None

    def hear(self, change: Change) -> None:
        """The API server sends a change to all watches."""
        path = change.collection
        if path in self._scopes and path not in self._left:
            resource, epoch = self._scopes[path], self._epochs[path]
            self._later(path, lambda: self._tell(resource, change) if epoch == self._epochs[path] else None)

    def expire(self, path: str | None = None) -> None:
        """Watches end (410 Gone, or the connection is cut) and everything is listed again."""
        for one in self._scopes if path is None else (path,):
            self._epochs[one] = self._epochs.get(one, 0) + 1
            self._later(one, self._lister(one, self._epochs[one]))

    def freeze(self, seconds: float) -> None:
        """Nothing comes for a while, and no connection is seen to be cut."""
        self._is_frozen_until = self._loop.time() + seconds

    def _lister(self, path: str, epoch: int) -> Callable[[], None]:
        def list_all() -> None:
            if epoch != self._epochs[path] or self._listener is None:
                return
            if not self._network.is_up():
                self._loop.call_later(1.0, list_all)
                return
            self._left.discard(path)
            for key, body in list(self._server.objects.items()):
                if key.rpartition("/")[0] == path:
                    self._listener.seen(self._scopes[path], body)

        return list_all

    def _tell(self, resource: Resource, change: Change) -> None:
        if self._listener is not None:
            (self._listener.deleted if change.type == "DELETED" else self._listener.seen)(resource, change.body)

    def _later(self, path: str, what: Callable[[], object]) -> None:
        delay = self._network.random.uniform(0.01, self.longest_delay_seconds)
        due = max(max(self._loop.time(), self._is_frozen_until) + delay, self._due.get(path, 0.0))
        self._due[path] = due
        if due < float("inf"):
            self._loop.call_at(due, what)


class Process:
    """One replica of the operator, until it ends or is killed."""

    def __init__(self, name: str, network: Network, settings: dict[str, Any]) -> None:
        self.name = name
        self.network = network
        self.is_dead = False
        self.clock_is_off_by = timedelta()
        self.resumes_at = 0.0
        self.reflector = MemoryReflector(network)
        self.end = ""
        self._loop = asyncio.get_running_loop()
        self._settings = Settings.model_validate({**settings, "identity": name})
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        """What its machine believes the time to be."""
        return self.network.now() + self.clock_is_off_by

    def is_paused(self) -> bool:
        """Whether its machine stands still."""
        return self._loop.time() < self.resumes_at

    def kill(self) -> None:
        """Ends it without a chance to do anything."""
        self.is_dead = True
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Runs until it is killed or cannot continue, as `run_operator` does."""
        self._task = asyncio.create_task(self._run())
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        settings, clock = self._settings, self._loop.time
        # What the library's ApiClient is made of is what a Transport is made of: see `life.in_process`.
        reach: Any = Transport(self)
        server_time = ServerTime(clock, self.now)
        lease_client = Client(reach, settings.lease_request_timeout_seconds, server_time=server_time)
        lease = Lease(lease_client, settings, clock, server_time.now)
        client = Client(reach, settings.request_timeout_seconds, lease.is_held, server_time)
        try:
            await lease.acquire()
            now = server_time.now
            await lead(settings, self.reflector, client, lease, Health(), self._stop, (), now=now, clock=clock)
        except (FatalError, LeaseLostError, WritesStoppedError, ApiError) as error:
            self.end = str(error)
        finally:
            await lease.release()


SETTINGS: Final[dict[str, Any]] = {
    "engine_image_vllm": "vllm:1",
    "engine_image_llama_cpp": "llama:1",
    "bench_image": "operator:1",
    "namespaces": (memory.NAMESPACE,),
    "pod_namespace": memory.NAMESPACE,
    "workers": 2,
    "sweep_seconds": SWEEP_SECONDS,
}
