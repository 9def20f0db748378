"""At the start and every few minutes, one metadata-only LIST per kind: the only proof that the watches are alive.

A reflector makes up no end of an object that a new list no longer has, and a watch can end without a trace.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from mtp_operator.reconcile.observed import ModelKey

from .api_client import MODELS, ApiError, Client, ForbiddenError, Resource, TransientError
from .fatal import FatalError
from .object_cache import Cache, version_of
from .reflector import Scope

log = structlog.get_logger(__name__)

WATCH_LATENCY_SECONDS: Final = 30.0
"""Time after which a watch must have brought a change."""

LOOK_SECONDS: Final = 0.1
"""Time between two looks whether the watches have brought what was there at the start."""

LIST_AGAIN_SECONDS: Final = 10.0
"""Time after which is listed again what was there at the start: some of it may have gone since."""

RETRY_SECONDS: Final = 30.0
"""Time after which a sweep that failed is tried again."""

LIVENESS_INTERVALS: Final = 2.4
"""Sweep intervals (twelve minutes by default) without a good sweep after which the process is not alive."""


@dataclass(frozen=True)
class _Unseen:
    """A version of an object that a LIST showed before its watch did."""

    resource: Resource
    name: str
    uid: str
    version: int


class Sweep:
    """Compares the cache with what the API server lists."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        wake: Callable[[ModelKey], None],
        scopes: Sequence[Scope],
        interval_seconds: float,
        *,
        absent: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._cache = cache
        self._wake = wake
        self._scopes = scopes
        self._interval_seconds = interval_seconds
        self._absent = absent
        self._clock = clock
        self._sleep = sleep
        self._last_good_at = clock()

    def age_seconds(self) -> float:
        """Time since the last complete sweep, or since the start."""
        return self._clock() - self._last_good_at

    def is_alive(self) -> bool:
        """Whether sweeps still succeed."""
        return self.age_seconds() <= LIVENESS_INTERVALS * self._interval_seconds

    async def prime(self) -> None:
        """Waits until the watches have brought all that is there: nothing is decided on half a list.

        Raises:
            FatalError: a namespace may not be read any more.
            ApiError: a LIST is refused.
        """
        while True:
            listed_at = self._clock()
            try:
                unseen = await self._unseen()
            except TransientError as error:
                log.warning("the API server does not answer", error=str(error))
                await self._sleep(1)
                continue
            while unseen and self._clock() < listed_at + LIST_AGAIN_SECONDS:
                await self._sleep(LOOK_SECONDS)
                unseen = self._still(unseen)
            if not unseen:
                return

    async def run(self) -> None:
        """Sweeps for ever.

        Raises:
            FatalError: a watch has not brought a change.
        """
        pause = self._interval_seconds
        while True:
            await self._sleep(pause)
            try:
                await self.once()
                pause = self._interval_seconds
            except ApiError as error:
                log.warning("the sweep failed", error=str(error))
                pause = min(RETRY_SECONDS, self._interval_seconds)

    async def once(self) -> None:
        """One sweep: drops what is gone, wakes its models, and makes sure that the watches bring changes.

        Raises:
            FatalError: a watch has not brought a change within `WATCH_LATENCY_SECONDS`; or a namespace that was left
                out may be read now, or one may not be read any more.
            ApiError: a LIST failed.
        """
        await self._look_for_absent()
        unseen = await self._unseen()
        for key in self._cache.take_changed():
            self._wake(key)
        if unseen:
            await self._sleep(WATCH_LATENCY_SECONDS)
            unseen = self._still(unseen)
        if unseen:
            named = ", ".join(f"{one.resource.kind} {one.name}" for one in unseen[:5])
            raise FatalError(
                f"the watches did not deliver {len(unseen)} changes within {WATCH_LATENCY_SECONDS:g} s: {named}"
            )
        self._cache.prune()
        self._last_good_at = self._clock()

    async def _look_for_absent(self) -> None:
        for namespace in self._absent:
            try:
                await self._client.probe(MODELS, namespace)
            except ForbiddenError:
                continue
            raise FatalError(f"namespace {namespace}, which was left out, can be read now: the operator restarts")

    async def _unseen(self) -> list[_Unseen]:
        return [one for scope in self._scopes for one in await self._compare(scope)]

    def _still(self, unseen: list[_Unseen]) -> list[_Unseen]:
        return [one for one in unseen if not self._cache.has_seen(one.uid, one.version)]

    async def _compare(self, scope: Scope) -> list[_Unseen]:
        resource = scope.resource
        cached = self._cache.uids(resource, scope.namespace)
        listed: set[str] = set()
        unseen = []
        try:
            async for metadata in self._client.list_metadata(resource, scope.namespace, scope.selector):
                uid, version = metadata["uid"], version_of(metadata)
                listed.add(uid)
                if not self._cache.has_seen(uid, version):
                    unseen.append(_Unseen(resource, metadata["name"], uid, version))
        except ForbiddenError as error:
            if scope.namespace is None:
                raise
            raise FatalError(f"namespace {scope.namespace} may not be read any more: {error.message}") from error
        for uid in cached - listed:
            log.info("dropped from the cache: gone, but no watch reported it", kind=resource.kind, uid=uid)
            self._cache.forget(uid)
        return unseen
