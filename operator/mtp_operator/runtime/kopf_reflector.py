"""Kopf, as far as it is used: a reflector. No other module imports it.

One handler for each kind is called with each object of a list and of a watch. It is not kept in Kopf's indexes: these
cannot drop what a re-list no longer has, and make each object that is listed wait for all others, which all wake up
each time. Whether all lists are in is what `Sweep.prime` finds out.
The handler writes nothing to an object: no finalizer, no annotation.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, cast

import kopf
from kubernetes.aio.client import Configuration

from mtp_operator.resources.labels import MANAGER

from .api_client import Resource
from .fatal import FatalError
from .reflector import START_SECONDS, Listener, Scope

STOP_SECONDS: Final = 5.0
"""Time that the watches have to end."""


class KopfReflector:
    """Lists and watches with Kopf.

    Args:
        configuration: server and credentials.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._scopes: Sequence[Scope] = ()
        self._watches: asyncio.Task[None] | None = None

    async def start(self, scopes: Sequence[Scope], listener: Listener) -> None:
        """Begins to list and watch."""
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            # Kopf reports each handler's success: that is each watch event.
            logging.getLogger("kopf").setLevel(logging.WARNING)
        self._scopes = scopes
        namespaces = {scope.namespace for scope in scopes if scope.namespace is not None}
        tasks = await kopf.spawn_tasks(
            registry=_registry(scopes, listener, self._configuration),
            settings=_settings(scopes),
            standalone=True,
            # Never used, but Kopf would make one up from the user's name, which a numeric user does not have.
            identity=cast(Any, MANAGER),
            clusterwide=not namespaces,
            namespaces=sorted(namespaces),
        )
        self._watches = asyncio.create_task(kopf.run_tasks(tasks, ignored=_EveryTask()), name="watches")

    async def wait(self) -> None:
        """Waits for the end of any watch.

        Raises:
            FatalError: always, in the end; with what the API server answered where that was the cause.
        """
        if self._watches is None:
            raise FatalError("the watches have not been started")
        guardian = asyncio.create_task(guard(self._scopes))
        try:
            await asyncio.wait({guardian, self._watches}, return_when=asyncio.FIRST_COMPLETED)
            if self._watches.done():
                error = None if self._watches.cancelled() else self._watches.exception()
                raise FatalError(f"the watches ended: {error or 'without an error'}") from error
            guardian.result()
        finally:
            guardian.cancel()

    async def stop(self) -> None:
        """Ends all watches; one of Kopf's can swallow its cancellation, and is left behind then."""
        # What Kopf reports of watches that it cuts off, object by object, helps nobody.
        for name in ("kopf", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self._watches is not None:
            self._watches.cancel()
            await asyncio.wait({self._watches}, timeout=STOP_SECONDS)


def _registry(scopes: Iterable[Scope], listener: Listener, configuration: Configuration) -> kopf.OperatorRegistry:
    """Kopf's registry with a handler for each kind."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(configuration)

    def register(resource: Resource) -> None:
        async def event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  # Kopf's name for it
            (listener.deleted if type == "DELETED" else listener.seen)(resource, dict(body))

        where = (resource.group, resource.version, resource.plural)
        kopf.on.event(*where, id=f"event-{resource.plural}", registry=registry)(event)

    kopf.on.login(id="log_in", registry=registry)(log_in)
    for resource in {scope.resource for scope in scopes}:
        register(resource)
    return registry


def _settings(scopes: Iterable[Scope]) -> kopf.OperatorSettings:
    """How Kopf watches: selectors on the server's side, no peering, no Events, nothing stored on objects."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = (1, 2, 4, 8)
    settings.queueing.exit_timeout = 0.5
    # Kopf's task for an object ends soon after its last news: thousands are not kept waiting for more.
    settings.queueing.idle_timeout = 0.1
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 620
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 90
    settings.persistence.diffbase_storage = _NoDiffBase()
    for scope in scopes:
        if scope.selector:
            resource = scope.resource
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = scope.selector
    return settings


class _NoDiffBase(kopf.DiffBaseStorage):
    """Computes no differences between versions of an object: no handler asks for them."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _EveryTask(Collection[asyncio.Task[Any]]):
    """The tasks that Kopf shall not cancel at its end: its own it ends by name, and all others are not its own."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(asyncio.all_tasks())

    def __len__(self) -> int:
        return len(asyncio.all_tasks())


async def guard(scopes: Iterable[Scope]) -> None:
    """Waits for the end of any watch: Kopf drops a watch that returns or is cancelled without a word.

    Raises:
        FatalError: always, in the end: a watch did not begin in time, or it ended.
    """
    expected = {f"watcher for {_kopf_name(scope.resource)}@{scope.namespace}" for scope in scopes}
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (tasks := _tasks_named(expected)).keys() >= expected:  # noqa: ASYNC110  # Kopf does not tell
                await asyncio.sleep(0.2)
    except TimeoutError:
        missing = ", ".join(sorted(expected - _tasks_named(expected).keys()))
        raise FatalError(f"watches not started within {START_SECONDS:g} s: {missing}") from None
    done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
    ends = sorted(f"{task.get_name()}: {'cancelled' if task.cancelled() else task.exception()}" for task in done)
    raise FatalError("a watch ended; " + "; ".join(ends))


def _kopf_name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.version}.{resource.group}".strip(".")


def _tasks_named(names: set[str]) -> dict[str, asyncio.Task[Any]]:
    return {task.get_name(): task for task in asyncio.all_tasks() if task.get_name() in names}


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """The server and credentials of our own client, in Kopf's form."""
    header = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, token = (header or "").strip().rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
