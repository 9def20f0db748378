"""The reconcile loop: take a key, observe, decide, apply, report."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from mtp_operator.reconcile.decide import decide
from mtp_operator.reconcile.observed import Kind, ModelKey, Observed, OperatorSettings, Reference
from mtp_operator.reconcile.plan import Plan
from mtp_operator.reconcile.views import observe

from .api_client import ApiError, TransientError, WritesStoppedError
from .apply import Applied, Applier, BeingDeletedError, NameTakenError, StalePlanError
from .lanes import Lanes
from .metrics import DECISION_SECONDS, DECISIONS, INVALID_OBJECTS, LANE_FAILURES
from .object_cache import RESOURCES, Cache, Entry
from .queue import WorkQueue

log = structlog.get_logger(__name__)

CATCH_UP_SECONDS: Final = 5.0
"""Time that a watch has to bring our own write before the object is read once, live."""

REPORTS_AWAITED: Final = 5
"""Decisions in a row that may leave a status to the next one: a client that undoes our writes cannot hide it."""

_KINDS = {resource: kind for kind, resource in RESOURCES.items()}

Decide = Callable[[Observed, OperatorSettings, datetime], Plan]


class Worker:
    """Works keys from the queue, one at a time; several workers share one queue."""

    def __init__(
        self,
        queue: WorkQueue[ModelKey],
        cache: Cache,
        applier: Applier,
        settings: OperatorSettings,
        *,
        decide: Decide = decide,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._applier = applier
        self._settings = settings
        self._decide = decide
        self._clock = clock
        self._now = now
        self._lanes = Lanes(clock)
        self._set_aside: dict[ModelKey, list[str]] = {}
        """What was last logged as unreadable."""
        self._awaited: Counter[ModelKey] = Counter()
        """Decisions in a row that have left the model's status to the next one."""

    async def run(self) -> None:
        """Works until the queue is closed.

        Raises:
            WritesStoppedError: the Lease is not held any more.
        """
        while (key := await self._queue.get()) is not None:
            await self.work(key)

    async def work(self, key: ModelKey) -> None:
        """One decision about one key that was taken from the queue, and what follows from it."""
        logger = log.bind(namespace=key.namespace, model=key.name)
        applied = Applied()
        began = self._clock()
        try:
            wait = await self._catch_up(key)
            if wait is not None:
                self._queue.give_back(key)
                self._queue.add_after(key, wait)
                return
            observed = self._observe(key)
            decided = self._decide(observed, self._settings, self._now())
            generation = observed.model.metadata.generation if observed.model is not None else None
            plan = self._lanes.due(key, decided, generation)
            await self._applier.apply(plan, applied, report_may_wait=self._awaited[key] < REPORTS_AWAITED)
        except WritesStoppedError:
            raise
        except ApiError as error:
            logger.warning("a request failed", error=str(error), seconds=self._queue.retry(key))
            DECISIONS.labels(outcome="failed").inc()
        except Exception:
            logger.exception("a decision failed", seconds=self._queue.retry(key))
            DECISIONS.labels(outcome="failed").inc()
        else:
            self._queue.done(key)
            self._awaited[key] += 1
            if not applied.report_waits:
                del self._awaited[key]
            applied.learned |= self._lanes.note(key, decided, plan, applied.failures, generation)
            pause = self._lanes.next_seconds(key)
            for lane, failed in applied.failures.items():
                LANE_FAILURES.labels(lane=lane.value).inc()
                _log_failure(logger.bind(lane=lane.value, seconds=pause), failed.error)
            DECISIONS.labels(outcome=_outcome(applied)).inc()
            if applied.calls_for_decision:
                self._queue.add(key)
            for wake in (plan.wake_after_seconds, pause):
                if wake is not None:
                    self._queue.add_after(key, wake)
        if applied.writes:
            seconds = self._clock() - began
            DECISION_SECONDS.observe(seconds)
            logger.info("reconciled", writes=applied.writes, seconds=round(seconds, 3))

    async def _catch_up(self, key: ModelKey) -> float | None:
        """Makes sure that our own writes and the pods of ended Jobs are seen; otherwise the seconds to wait."""
        for entry in self._cache.lagging(key):
            left = entry.floor_raised_at + CATCH_UP_SECONDS - self._clock()
            if left > 0:
                return left
            await self._applier.refresh(_reference(entry))
        for entry in self._cache.ended_without_pod(key):
            # Kinds are watched apart: what comes of the pod may come after the end of its Job.
            await self._applier.seek_pods(_reference(entry))
            entry.pods_sought = True
        return None

    def _observe(self, key: ModelKey) -> Observed:
        seen = self._cache.snapshot(key)
        observed = observe(
            seen.model,
            seen.runs,
            seen.jobs,
            seen.pods,
            seen.nodes,
            seen.events,
            seen.progress,
            seen.children,
            seen.relatives,
        )
        whys = [str(one) for one in observed.unreadable]
        if whys != self._set_aside.pop(key, []):
            INVALID_OBJECTS.inc(len(whys))
            log.error("objects cannot be read", namespace=key.namespace, model=key.name, objects=whys)
        if whys:
            self._set_aside[key] = whys
        return replace(observed, failures=self._lanes.reported(key))


def _log_failure(logger: structlog.stdlib.BoundLogger, error: Exception) -> None:
    match error:
        case StalePlanError() | BeingDeletedError():
            logger.info("decided on an older state", detail=str(error))
        case TransientError():
            logger.warning("a request failed", error=str(error))
        case ApiError() | NameTakenError():
            logger.error("a request was refused", error=str(error))
        case _:
            logger.error("a write failed", exc_info=error)


def _outcome(applied: Applied) -> str:
    errors = [failed.error for failed in applied.failures.values()]
    if errors:
        return "stale" if all(isinstance(error, StalePlanError) for error in errors) else "failed"
    return "written" if applied.writes else "settled"


def _reference(entry: Entry) -> Reference:
    metadata = entry.body["metadata"]
    return Reference(Kind(_KINDS[entry.resource]), metadata["namespace"], metadata["name"], metadata["uid"])
