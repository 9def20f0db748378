"""The program in the container beside a server's engine: it says when the engine is ready, and when it has finished.

`/ready` answers 200 once a real completion has worked in this boot of the engine; before, a server may say that it is
healthy and be of no use. The plan's drain path answers when the engine has nothing left to do: kubelet waits for it
before it tells the engine to end. From then on `/ready` says no: where no other server is there, a Service goes on
sending requests to a pod that ends for as long as that is ready.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
from aiohttp import web

from mtp_operator.api.serving_record import ProbePlan
from mtp_operator.api.spec import Sampling
from mtp_operator.engines import Engine, engine_for

from .draft_counters import read_load
from .engine_client import EngineClient, open_session
from .prompts import Prompt
from .stream import RequestError

POLL_SECONDS: Final = 1.0

LOOKS_OF_A_NEW_BOOT: Final = 3
"""Looks in a row at which the engine is not healthy: one that is only busy misses fewer."""

FIRST_COMPLETION_TOKENS: Final = 8

_FIRST_PROMPT: Final = Prompt("probe", ({"role": "user", "content": "Say yes."},), seed=0)

DEREGISTRATION_SECONDS: Final = 5.0
"""Time that a pod which ends still gets new requests, until every node has heard that it does."""

IDLE_LOOKS: Final = 3
"""Looks in a row at which the engine has no request: between two of a client's there may be a moment without one."""

Load = Callable[[], Awaitable[int | None]]
Sleep = Callable[[float], Awaitable[None]]


class Probe:
    """What is known of one engine.

    Args:
        client: talks to it.
        load: answers how many requests it has not finished; None where it does not say.
        sleep: passes the time.
    """

    def __init__(self, client: EngineClient, load: Load, sleep: Sleep = asyncio.sleep) -> None:
        self._client = client
        self._load = load
        self._sleep = sleep
        self._has_completed = False
        self._is_ending = False

    @property
    def is_ready(self) -> bool:
        """Whether a completion has worked in this boot, and new requests may come."""
        return self._has_completed and not self._is_ending

    async def watch(self) -> None:
        """Keeps `is_ready` true to what it says, for ever."""
        missed = 0
        while True:
            if not await self._client.is_healthy():
                missed += 1
                self._has_completed = self._has_completed and missed < LOOKS_OF_A_NEW_BOOT
            else:
                missed = 0
                self._has_completed = self._has_completed or await self._completes()
            await self._sleep(POLL_SECONDS)

    async def _completes(self) -> bool:
        try:
            await self._client.complete(_FIRST_PROMPT, FIRST_COMPLETION_TOKENS)
        except RequestError:
            return False
        return True

    async def drain(self) -> None:
        """Waits until the engine has finished what it was asked, or cannot be asked any more."""
        self._is_ending = True
        await self._sleep(DEREGISTRATION_SECONDS)
        idle = 0
        while idle < IDLE_LOOKS:
            load = await self._load()
            if load is None:
                return
            idle = 0 if load else idle + 1
            await self._sleep(POLL_SECONDS)


def main(plan: ProbePlan) -> int:
    """Answers until SIGTERM.

    Returns:
        The exit status, 0.
    """
    asyncio.run(_serve(plan))
    return 0


async def _serve(plan: ProbePlan) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    engine = engine_for(plan.engine)
    # The first completion takes as long as it takes: the pod's own deadlines bound it.
    async with open_session(plan.url) as session:
        client = EngineClient(session, engine, plan.served_name, Sampling())
        probe = Probe(client, lambda: load_of(session, engine))
        runner = web.AppRunner(application(probe, plan.drain_path), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        # kubelet asks at the pod's address, which may be one of IPv6 alone.
        await web.TCPSite(runner, None, plan.port).start()
        watching = asyncio.create_task(probe.watch())
        stopped = asyncio.create_task(ended.wait())
        await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if watching.done():
            watching.result()
        watching.cancel()
        await runner.cleanup()


def application(probe: Probe, drain_path: str) -> web.Application:
    """The two questions over HTTP."""

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=200 if probe.is_ready else 503, text="ready" if probe.is_ready else "not ready")

    async def drain(_: web.Request) -> web.Response:
        await probe.drain()
        return web.Response(text="drained")

    app = web.Application()
    app.add_routes([web.get("/ready", ready), web.get(drain_path, drain)])
    return app


async def load_of(session: aiohttp.ClientSession, engine: Engine) -> int | None:
    """Requests that the engine has not finished; None where it does not say."""
    try:
        async with session.get(engine.metrics_path, timeout=aiohttp.ClientTimeout(total=10)) as response:
            return read_load(await response.text(), engine.load_metrics) if response.ok else None
    except (aiohttp.ClientError, TimeoutError):
        return None
