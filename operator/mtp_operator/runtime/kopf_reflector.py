"""Kopf, as far as it is used: lists, watches, and both again after whatever ends them. No other module imports it.

Of Kopf's operator nothing is used: it makes a task, a memory and three loggers for each object, for handlers that may
take long and be tried again, and nothing here is. Its stream of events is inside it, under names that another version
may change: requirements pin the version, and tests/unit/runtime/test_reflectors.py holds it to what is needed here.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

import kopf
from kopf._cogs.clients import auth, watching
from kopf._cogs.structs import credentials, references
from kubernetes.aio.client import Configuration

from .api_client import Resource
from .fatal import FatalError
from .reflector import Listener, Scope

STOP_SECONDS: Final = 5.0
"""Time that the watches have to end."""

_KEY: Final = credentials.VaultKey("mtp-operator")


class KopfReflector:
    """Lists and watches with Kopf.

    Args:
        configuration: server and credentials.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._vault: credentials.Vault | None = None
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self, scopes: Sequence[Scope], listener: Listener) -> None:
        """Begins to list and watch."""
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            logging.getLogger("kopf").setLevel(logging.WARNING)
        vault = self._vault = credentials.Vault()
        auth.vault_var.set(vault)  # every task that is made from here on has it
        settings = _settings(scopes)
        self._watches = {
            asyncio.create_task(_watch(scope, listener, settings), name=f"watch of {_name(scope)}") for scope in scopes
        }
        self._watches.add(asyncio.create_task(_log_in(vault, self._configuration), name="credentials of watches"))

    async def wait(self) -> None:
        """Waits for the end of any watch.

        Raises:
            FatalError: always, in the end; with what the API server answered where that was the cause.
        """
        if not self._watches:
            raise FatalError("the watches have not been started")
        done, _ = await asyncio.wait(self._watches, return_when=asyncio.FIRST_COMPLETED)
        ends = sorted(f"{task.get_name()}: {'cancelled' if task.cancelled() else task.exception()}" for task in done)
        raise FatalError("a watch ended; " + "; ".join(ends))

    async def stop(self) -> None:
        """Ends all watches; one of Kopf's can swallow its cancellation, and is left behind then."""
        # What Kopf reports of watches that it cuts off helps nobody.
        for name in ("kopf", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        for task in self._watches:
            task.cancel()
        if self._watches:
            await asyncio.wait(self._watches, timeout=STOP_SECONDS)
        if self._vault is not None:
            await self._vault.close()


async def _watch(scope: Scope, listener: Listener, settings: kopf.OperatorSettings) -> None:
    """Tells of every object of a collection, for ever; ends where the API server refuses that."""
    events = watching.infinite_watch(settings=settings, resource=_resource(scope.resource), namespace=_namespace(scope))
    async for event in events:
        if isinstance(event, watching.Bookmark) or event["type"] == "BOOKMARK":
            continue
        (listener.deleted if event["type"] == "DELETED" else listener.seen)(scope.resource, dict(event["object"]))


async def _log_in(vault: credentials.Vault, configuration: Configuration) -> None:
    """Brings new credentials whenever there are none, or none that are accepted."""
    while True:
        await vault.populate({_KEY: await _connection(configuration)})
        await vault.wait_for_emptiness()


def _settings(scopes: Iterable[Scope]) -> kopf.OperatorSettings:
    """How Kopf watches, with selectors on the server's side."""
    settings = kopf.OperatorSettings()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = (1, 2, 4, 8)
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 620
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 90
    for scope in scopes:
        if scope.selector:
            resource = scope.resource
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = scope.selector
    return settings


def _resource(resource: Resource) -> references.Resource:
    return references.Resource(resource.group, resource.version, resource.plural, namespaced=resource.namespaced)


def _namespace(scope: Scope) -> references.Namespace:
    return None if scope.namespace is None else references.NamespaceName(scope.namespace)


def _name(scope: Scope) -> str:
    return scope.resource.plural + (f" in namespace {scope.namespace}" if scope.namespace else "")


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
