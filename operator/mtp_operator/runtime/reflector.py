"""What the operator needs of whatever lists and watches: an interface, and which collections it covers.

Nothing beyond this file knows how collections are watched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mtp_operator.reconcile.observed import APPLIED_KINDS
from mtp_operator.resources.labels import COMPONENT_LABEL, MANAGED_SELECTOR, SERVER

from .api_client import JOBS, MODELS, NETWORK_POLICIES, NODES, PODS, RUNS, Body, Resource
from .installation import Settings
from .object_cache import RESOURCES

GPU_NODE_SELECTOR: Final = "nvidia.com/gpu.product"
"""Nodes that GPU Feature Discovery has labelled."""

CHILDREN: Final = (JOBS, PODS, *(RESOURCES[kind] for kind in APPLIED_KINDS))

SELECTORS: Final = {
    **dict.fromkeys(CHILDREN, MANAGED_SELECTOR),
    # Nothing is decided from the policy of a model's trials, which is made once and never changed.
    NETWORK_POLICIES: f"{MANAGED_SELECTOR},{COMPONENT_LABEL}={SERVER}",
    NODES: GPU_NODE_SELECTOR,
}
"""Other kinds are watched whole."""

START_SECONDS: Final = 30.0
"""Time in which every kind has to be discovered."""


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


class Listener(Protocol):
    """Hears of every object of the collections, those included that are there. Old news may come again, and late."""

    def seen(self, resource: Resource, body: Body) -> None:
        """An object is there: a list contains it, or it was added or changed."""

    def deleted(self, resource: Resource, body: Body) -> None:
        """An object is gone; the body is its last state, with the version of its end."""


class Reflector(Protocol):
    """Lists and watches collections, and lists them again whenever a watch cannot be resumed.

    What disappears between a watch and the next list may go without `Listener.deleted`: `Sweep` finds it.
    """

    async def start(self, scopes: Sequence[Scope], listener: Listener) -> None:
        """Begins to list and watch."""

    async def wait(self) -> None:
        """Waits for the end of any watch.

        Raises:
            FatalError: always, in the end; with what the API server answered where that was the cause.
        """

    async def stop(self) -> None:
        """Ends all watches, as far as they end within a few seconds."""
