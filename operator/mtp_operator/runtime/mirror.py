"""Holds the cache to what the API server has, and wakes models of which something has changed."""

from collections.abc import Callable

from mtp_operator.reconcile.observed import ModelKey

from .api_client import Body, Resource
from .object_cache import Cache, version_of


class Mirror:
    """A listener that fills the cache at once, and wakes nobody before all lists are in.

    Nothing is decided on half a list.
    """

    def __init__(self, cache: Cache, wake: Callable[[ModelKey], None]) -> None:
        self._cache = cache
        self._wake = wake
        self._is_primed = False

    def seen(self, resource: Resource, body: Body) -> None:
        """An object is there."""
        self._cache.watched(resource, body)
        self._wake_changed()

    def deleted(self, _: Resource, body: Body) -> None:
        """An object is gone."""
        self._cache.forget(body["metadata"]["uid"], version_of(body["metadata"]))
        self._wake_changed()

    def primed(self) -> None:
        """All lists are in."""
        self._is_primed = True
        self._wake_changed()

    def _wake_changed(self) -> None:
        if self._is_primed:
            for key in self._cache.take_changed():
                self._wake(key)
