"""The operator process: start, stand by, lead, end."""

import asyncio
import contextlib
import gc
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from datetime import datetime
from typing import Any, Final

import structlog
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from prometheus_client import REGISTRY

from mtp_operator.reconcile.observed import ModelKey

from .api_client import MODELS, ApiError, Client, ForbiddenError, TransientError, WritesStoppedError, load_configuration
from .apply import Applier
from .fatal import FatalError
from .health import Health
from .installation import Settings
from .lease import Lease, LeaseLostError
from .logs import configure_logging
from .mirror import Mirror
from .model_metrics import ModelMetrics
from .object_cache import Cache
from .queue import WorkQueue
from .reflector import START_SECONDS, Reflector, Scope, watched_scopes
from .server_time import ServerTime
from .sweep import Sweep
from .worker import Worker

log = structlog.get_logger(__name__)

SPARE_CONNECTIONS: Final = 4
"""Connections beside one for each worker: sweep, Lease and what hangs."""

MakeReflector = Callable[[Configuration], Reflector]
"""Makes what lists and watches, for the server and credentials that are given."""


def run_operator(settings: Settings, make_reflector: MakeReflector) -> int:
    """Runs the operator until SIGTERM or SIGINT, or until it cannot continue.

    Args:
        settings: what the installation says.
        make_reflector: what lists and watches.

    Returns:
        The exit status: 0 after a signal, 1 after anything else.
    """
    configure_logging(settings.log_level)
    # What has been imported stays, and is most of what there is: no collection has to look at it again.
    gc.freeze()
    # Not asyncio.run, which waits for every task that is left: a watch may swallow its cancellation.
    return asyncio.new_event_loop().run_until_complete(_run(settings, make_reflector))


async def _run(settings: Settings, make_reflector: MakeReflector) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    try:
        configuration = await load_configuration(settings.workers + SPARE_CONNECTIONS)
    except (ConfigException, OSError) as error:
        log.error("cannot reach the API server", error=str(error))
        return 1
    server_time = ServerTime()
    lease_client = Client(configuration, settings.lease_request_timeout_seconds, server_time=server_time)
    lease = Lease(lease_client, settings, now=server_time.now)
    client = Client(configuration, settings.request_timeout_seconds, lease.is_held, server_time)
    health = Health()
    try:
        servers = await health.serve(settings.health_address, settings.health_port, settings.metrics_port)
        try:
            absent: list[str] = []
            await _until(stop, _wait_for_kinds(client, watched_scopes(settings), absent))
            health.is_ready = True
            await _until(stop, lease.acquire())
            reflector = make_reflector(configuration)
            await lead(settings, reflector, client, lease, health, stop, absent, now=server_time.now)
        finally:
            await lease.release()
            for server in servers:
                await server.cleanup()
    except (FatalError, LeaseLostError, WritesStoppedError, ApiError, OSError) as error:
        log.error("shutting down", error=str(error))
        return 1
    finally:
        await client.close()
        await lease_client.close()
    log.info("shutting down", reason="signal")
    return 0


async def lead(
    settings: Settings,
    reflector: Reflector,
    client: Client,
    lease: Lease,
    health: Health,
    stop: asyncio.Event,
    absent: Collection[str],
    *,
    now: Callable[[], datetime],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Watches and works while the Lease is held, until `stop`.

    Args:
        settings: what the installation says.
        reflector: lists and watches.
        client: writes only while the Lease is held.
        lease: is held.
        health: is shown the sweep.
        stop: ends it in an orderly way.
        absent: namespaces that are left out.
        now: the time.
        clock: monotonic seconds, those of the event loop.

    Raises:
        FatalError: the process cannot continue.
        LeaseLostError: the Lease is lost.
        WritesStoppedError: likewise.
    """
    if stop.is_set():
        return
    scopes = tuple(one for one in watched_scopes(settings) if one.namespace not in absent)
    cache = Cache(clock)
    model_metrics = ModelMetrics(cache)
    REGISTRY.register(model_metrics)
    queue: WorkQueue[ModelKey] = WorkQueue(clock)
    applier = Applier(client, cache, now, wake=queue.add)
    sweep = Sweep(client, cache, queue.add, scopes, settings.sweep_seconds, absent=absent, clock=clock)
    health.sweep = sweep
    worker = Worker(queue, cache, applier, settings.for_decisions(), clock=clock, now=now)

    keeper = asyncio.create_task(lease.keep(), name="lease")
    workers = [asyncio.create_task(worker.run(), name=f"worker {number}") for number in range(settings.workers)]
    mirror = Mirror(cache, queue.add)
    sweeper = asyncio.create_task(_sweeps(sweep, mirror), name="sweep")
    ours = {keeper, *workers, sweeper}
    await reflector.start(scopes, mirror)
    watches = asyncio.create_task(reflector.wait(), name="watches")
    is_drained = False
    try:
        await _until(stop, _first_failure({*ours, watches}))
        queue.close()
        log.info("stopping: finishing the decisions in progress", seconds=settings.drain_seconds)
        _, unfinished = await asyncio.wait(workers, timeout=settings.drain_seconds)
        is_drained = not unfinished
    finally:
        for task in (watches, *ours):
            task.cancel()
        await asyncio.gather(watches, *ours, return_exceptions=True)
        await applier.close()
        # A write that was cut off may still be under way at the API server: then the Lease has to run out.
        if is_drained:
            await lease.release()
        else:
            lease.abandon()
        await reflector.stop()
        REGISTRY.unregister(model_metrics)


async def _sweeps(sweep: Sweep, mirror: Mirror) -> None:
    await sweep.prime()
    mirror.primed()
    await sweep.run()


async def _first_failure(tasks: set[asyncio.Task[Any]]) -> None:
    """Waits for the first task that ends, which none of them should.

    Raises:
        FatalError: a task ended or failed; the watches fail with what the API server answered.
        LeaseLostError: the Lease is lost.
        WritesStoppedError: likewise.
    """
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        error = task.exception() if not task.cancelled() else None
        if isinstance(error, (FatalError, LeaseLostError, WritesStoppedError)):
            raise error
        raise FatalError(f"{task.get_name()} ended: {error or 'without an error'}") from error


async def _wait_for_kinds(client: Client, scopes: tuple[Scope, ...], absent: list[str]) -> None:
    """Waits until the API server serves every kind, and checks that it may be listed.

    Args:
        client: asks.
        scopes: what has to be served.
        absent: is filled with namespaces in which nothing may be listed: with a namespace its Role is deleted, and that
            of one must not keep the operator from all others.

    Raises:
        FatalError: a kind is not there after `START_SECONDS` in which the server did answer, or is forbidden.
    """
    resources = {scope.resource for scope in scopes}
    patience = int(START_SECONDS)
    while True:
        try:
            missing = [one for one in resources if one.plural not in await client.discover(one)]
            if not missing:
                absent[:] = await _forbidden_namespaces(client, scopes)
        except TransientError as error:
            log.warning("the API server does not answer", error=str(error))
        except ForbiddenError as error:
            raise FatalError(f"the operator's role lacks a right: {error.message}") from error
        else:
            if not missing:
                return
            patience -= 1
            if patience < 0:
                names = ", ".join(sorted(f"{one.plural}.{one.group}".strip(".") for one in missing))
                hint = "; are the CustomResourceDefinitions installed?" if MODELS.group in names else ""
                raise FatalError(f"the API server has not served {names} for {START_SECONDS:g} s{hint}")
        await asyncio.sleep(1)


async def _forbidden_namespaces(client: Client, scopes: tuple[Scope, ...]) -> list[str]:
    """Namespaces in which nothing may be listed, if there are others.

    Raises:
        ForbiddenError: a single right is missing, or all are.
    """
    refused: dict[str | None, list[ForbiddenError]] = {}
    for scope in scopes:
        try:
            await client.probe(scope.resource, scope.namespace, scope.selector)
        except ForbiddenError as error:
            refused.setdefault(scope.namespace, []).append(error)
    watched = Counter(scope.namespace for scope in scopes)
    absent = [name for name, errors in refused.items() if name is not None and len(errors) == watched[name]]
    named = {scope.namespace for scope in scopes} - {None}
    for name, errors in refused.items():
        if name not in absent or len(absent) == len(named):
            raise errors[0]
    for name in absent:
        log.warning("nothing can be listed in a namespace, so it is left out; does it exist?", namespace=name)
    return absent


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end, or cuts it off once `stop` is set; nothing is begun after that."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, stopped):
            one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(task, stopped, return_exceptions=True)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
