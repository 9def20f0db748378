"""A work queue without duplicates, with delays and with a backoff for each key."""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from .metrics import QUEUE_DEPTH

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 0.25
LONGEST_BACKOFF_SECONDS: Final = 120.0

_SLACK: Final = 4
"""Timers for each key that waits for one, beyond which those that mean nothing any more are dropped."""


def backoff_seconds(failures: int) -> float:
    """The pause after a failure, from the failures in a row before it."""
    return float(min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 20), LONGEST_BACKOFF_SECONDS))


class WorkQueue(Generic[K]):
    """Keys that wait for work. A key is never worked twice at once; if it comes while it is worked, it comes again.

    Every key that was taken is given back by `done`, `retry` or `give_back`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready: dict[K, None] = {}
        self._working: set[K] = set()
        self._came_meanwhile: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def timers(self) -> int:
        """Timers that are kept."""
        return len(self._timers)

    def add(self, key: K) -> None:
        """The key needs work now."""
        if key in self._working:
            self._came_meanwhile.add(key)
        else:
            self._ready[key] = None
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """The key needs work after a while, unless it comes earlier; the earliest time counts."""
        due = self._clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._timers, (due, self._sequence, key))
            if len(self._timers) > _SLACK * len(self._due):
                # What was put off for long and came earlier has left a timer behind.
                self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
                heapq.heapify(self._timers)
            self._wake()

    def take(self) -> K | None:
        """The next key that needs work; its delays are over with that. None if there is none now."""
        while self._timers and self._timers[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        if self._closed or not self._ready:
            return None
        key = next(iter(self._ready))
        del self._ready[key]
        self._due.pop(key, None)
        self._working.add(key)
        QUEUE_DEPTH.set(len(self._ready))
        return key

    async def get(self) -> K | None:
        """Waits for the next key; None once the queue is closed."""
        while (key := self.take()) is None:
            if self._closed:
                return None
            self._changed.clear()
            timeout = max(0.0, self._timers[0][0] - self._clock()) if self._timers else None
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return key

    def done(self, key: K) -> None:
        """The work succeeded."""
        self._failures.pop(key, None)
        self.give_back(key)

    def retry(self, key: K) -> float:
        """The work failed: the key comes again after its backoff, which is answered in seconds.

        A change of the key's objects does not wait for the backoff.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = backoff_seconds(failures)
        self.give_back(key)
        self.add_after(key, backoff)
        return backoff

    def close(self) -> None:
        """No key is handed out any more."""
        self._closed = True
        self._wake()

    def give_back(self, key: K) -> None:
        """The work was put off: nothing is known about it, and the backoff stays what it is."""
        self._working.discard(key)
        if key in self._came_meanwhile:
            self._came_meanwhile.discard(key)
            self.add(key)

    def _wake(self) -> None:
        QUEUE_DEPTH.set(len(self._ready))
        self._changed.set()
