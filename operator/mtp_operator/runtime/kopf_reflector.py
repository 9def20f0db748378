"""Kopf, as far as it is used: watches that fill the cache and wake models.

Kopf calls index handlers for each object of a list at once and event handlers only when the lists of all indexed kinds
are in. So the index handlers fill the cache, and the event handlers wake what has changed: nothing is decided on half
a list. The objects themselves are not kept in Kopf's indexes, because these cannot drop what a re-list no longer has.
Neither handler writes anything to an object: no finalizer, no annotation.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import kopf
from kubernetes.aio.client import Configuration

from mtp_operator.reconcile.records import APPLIED_KINDS, ModelKey
from mtp_operator.resources.labels import MANAGED_SELECTOR, MANAGER

from .api_client import JOBS, MODELS, NODES, PODS, RUNS, Resource
from .fatal import FatalError
from .installation import Settings
from .object_cache import RESOURCES, Cache

GPU_NODE_SELECTOR: Final = "nvidia.com/gpu.product"
"""Nodes that GPU Feature Discovery has labelled."""

CHILDREN: Final = (JOBS, PODS, *(RESOURCES[kind] for kind in APPLIED_KINDS))

SELECTORS: Final = {**dict.fromkeys(CHILDREN, MANAGED_SELECTOR), NODES: GPU_NODE_SELECTOR}
"""Other kinds are watched whole."""

START_SECONDS: Final = 30.0
"""Time in which every kind has to be discovered, and its watch to have begun."""


@dataclass(frozen=True)
class Scope:
    """One collection that is listed and watched: a resource, in one namespace or in all (None)."""

    resource: Resource
    namespace: str | None

    @property
    def selector(self) -> str:
        """Label selector, obeyed by the API server; empty where the whole collection is meant."""
        return SELECTORS.get(self.resource, "")


def watched_scopes(settings: Settings) -> tuple[Scope, ...]:
    """All that is held in the cache."""
    resources = (MODELS, RUNS, *CHILDREN, *((NODES,) if settings.nodes_readable else ()))
    return tuple(
        Scope(resource, namespace)
        for resource in resources
        for namespace in (settings.namespaces if settings.namespaces and resource.namespaced else (None,))
    )


def make_registry(
    scopes: Iterable[Scope], cache: Cache, wake: Callable[[ModelKey], None], configuration: Configuration
) -> kopf.OperatorRegistry:
    """Kopf's registry with two handlers for each kind."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(configuration)

    kopf.on.login(id="log_in", registry=registry)(log_in)
    for resource in {scope.resource for scope in scopes}:
        _register(registry, resource, cache, wake)
    return registry


def _register(
    registry: kopf.OperatorRegistry, resource: Resource, cache: Cache, wake: Callable[[ModelKey], None]
) -> None:
    async def index(body: kopf.Body, **_: Any) -> None:
        cache.watched(resource, dict(body))

    async def event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  # Kopf's name for it
        if type == "DELETED":
            cache.forget(body["metadata"]["uid"], int(body["metadata"]["resourceVersion"]))
        for key in cache.take_changed():
            wake(key)

    where = (resource.group, resource.version, resource.plural)
    kopf.index(*where, id=f"index-{resource.plural}", registry=registry)(index)
    kopf.on.event(*where, id=f"event-{resource.plural}", registry=registry)(event)


def make_settings() -> kopf.OperatorSettings:
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
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 620
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 90
    settings.persistence.diffbase_storage = _NoDiffBase()
    for resource, selector in SELECTORS.items():
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return settings


class _NoDiffBase(kopf.DiffBaseStorage):
    """Computes no differences between versions of an object: no handler asks for them."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


async def start(
    registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespaces: tuple[str, ...]
) -> asyncio.Task[None]:
    """Starts Kopf. The task that is answered fails when a watch fails; cancelling it ends all watches."""
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings,
        standalone=True,
        # Never used, but Kopf would make one up from the user's name, which a numeric user does not have.
        identity=cast(Any, MANAGER),
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    return asyncio.create_task(kopf.run_tasks(tasks, ignored=_EveryTask()), name="watches")


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
        raise FatalError(f"not begun within {START_SECONDS:g} s: {missing}") from None
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
