"""The reconcile loop: take a key, observe, decide, apply, report."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from mtp_operator.reconcile.decide import decide
from mtp_operator.reconcile.records import Kind, ModelKey, Observed, OperatorSettings, Plan, Reference
from mtp_operator.reconcile.views import observe

from .apply import Applied, Applier, NameTakenError, StalePlanError
from .cache import RESOURCES, Cache, Entry
from .client import ApiError, TransientError, WritesStoppedError
from .metrics import DECISION_SECONDS, DECISIONS, INVALID_OBJECTS
from .queue import WorkQueue

log = structlog.get_logger(__name__)

CATCH_UP_SECONDS: Final = 5.0
"""Time that a watch has to bring our own write before the object is read once, live."""

_WORD_WITH_DIGIT: Final = re.compile(r"\S*\d\S*")

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
        self._refusals: dict[ModelKey, str] = {}

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
            plan = self._plan(key)
            if plan is not None:
                await self._applier.apply(plan, applied)
        except WritesStoppedError:
            raise
        except StalePlanError as error:
            logger.info("decided on an older state", detail=str(error), seconds=self._retry(key, "stale"))
        except NameTakenError as error:
            self._refuse(key, str(error))
            logger.error(str(error), seconds=self._retry(key, "failed"))
        except TransientError as error:
            logger.warning("a request failed", error=str(error), seconds=self._retry(key, "failed"))
        except ApiError as error:
            self._refuse(key, str(error))
            logger.error("a request was refused", error=str(error), seconds=self._retry(key, "failed"))
        except Exception:
            logger.exception("a decision failed", seconds=self._retry(key, "failed"))
        else:
            if key in self._refusals and _only_reports(plan):
                self._queue.give_back(key)
            else:
                self._queue.done(key)
            if key in self._refusals and not _only_reports(plan):
                del self._refusals[key]
                applied.learned = True
            DECISIONS.labels(outcome="written" if applied.writes else "settled").inc()
            if applied.calls_for_decision:
                self._queue.add(key)
            elif plan is not None and plan.wake_after_seconds is not None:
                self._queue.add_after(key, plan.wake_after_seconds)
        if applied.writes:
            seconds = self._clock() - began
            DECISION_SECONDS.observe(seconds)
            logger.info("reconciled", writes=applied.writes, seconds=round(seconds, 3))

    async def _catch_up(self, key: ModelKey) -> float | None:
        """Makes sure that our own writes are seen; otherwise the seconds to wait for them."""
        for entry in self._cache.lagging(key):
            left = entry.floor_raised_at + CATCH_UP_SECONDS - self._clock()
            if left > 0:
                return left
            await self._applier.refresh(_reference(entry))
        return None

    def _plan(self, key: ModelKey) -> Plan | None:
        """What to do about the key; None if an object of it does not follow the API."""
        seen = self._cache.snapshot(key)
        try:
            observed = observe(
                seen.model, seen.runs, seen.jobs, seen.pods, seen.nodes, seen.events, seen.progress, seen.children
            )
        except ValueError as error:
            # Only a change of that object can help, and that brings the key back.
            INVALID_OBJECTS.inc()
            log.error("an object does not follow the API", namespace=key.namespace, model=key.name, error=str(error))
            return None
        observed = replace(observed, refusal=self._refusals.get(key, ""))
        return self._decide(observed, self._settings, self._now())

    def _refuse(self, key: ModelKey, message: str) -> None:
        """Remember why a write was refused.

        A message that differs only in words with digits (a request's id, a time) is the same refusal: reporting each of
        them would change the status, and each change of the status would try the write again without its backoff.
        """
        if _without_digits(message) != _without_digits(self._refusals.get(key, "")):
            self._refusals[key] = message

    def _retry(self, key: ModelKey, outcome: str) -> float:
        DECISIONS.labels(outcome=outcome).inc()
        return self._queue.retry(key)


def _only_reports(plan: Plan | None) -> bool:
    """Whether the plan says how the model stands, and tries nothing."""
    return plan is not None and plan.model_status is not None and plan == Plan(model_status=plan.model_status)


def _without_digits(message: str) -> str:
    return _WORD_WITH_DIGIT.sub("#", message)


def _reference(entry: Entry) -> Reference:
    metadata = entry.body["metadata"]
    return Reference(Kind(_KINDS[entry.resource]), metadata["namespace"], metadata["name"], metadata["uid"])
