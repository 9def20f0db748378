"""The Lease: one writer at a time.

Whether another holder is alive is judged by whether its record changes, on the clock of this machine alone: clocks of
two machines are never compared. The holder gives up `lease_duration - renew_deadline` before others may take over.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from .api_client import LEASES, AlreadyExistsError, ApiError, Client, ConflictError, NotFoundError
from .clocks import seconds_since_boot
from .installation import Settings
from .metrics import LEADING

log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """The Lease could not be renewed in time, or another process holds it."""


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `MicroTime` of the API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Lease:
    """Acquires, renews and releases one Lease.

    Args:
        client: must have a timeout of at most half the renew deadline.
        settings: name, identity and times.
        clock: seconds of a clock that cannot be set.
        now: the time that is written into the record, for people.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        clock: Callable[[], float] = seconds_since_boot,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._now = now
        self._body: dict[str, Any] | None = None
        self._observed_version = ""
        self._observed_at = 0.0
        self._renewed_at: float | None = None

    def is_held(self) -> bool:
        """Whether no other process can hold the Lease now."""
        return (
            self._renewed_at is not None
            and self._clock() < self._renewed_at + self._settings.lease_renew_deadline_seconds
        )

    async def acquire(self) -> None:
        """Waits until the Lease is held."""
        holder = None
        while True:
            try:
                if await self.try_acquire():
                    LEADING.set(1)
                    log.info("the lease is held", lease=self._settings.lease_name, identity=self._settings.identity)
                    return
                current = self._holder()
                if current != holder:
                    holder = current
                    log.info("standing by", lease=self._settings.lease_name, holder=holder)
            except ApiError as error:
                log.warning("the lease could not be read or written", error=str(error))
            await asyncio.sleep(self._settings.lease_retry_seconds)

    async def keep(self) -> None:
        """Renews the Lease until that fails.

        Raises:
            LeaseLostError: always, in the end.
        """
        while True:
            await asyncio.sleep(self._settings.lease_retry_seconds)
            try:
                if not await self.try_acquire():
                    self._renewed_at = None
                    LEADING.set(0)
                    raise LeaseLostError(f"the lease is now held by {self._holder()!r}")
            except ApiError as error:
                log.warning("the lease could not be renewed", error=str(error))
            if not self.is_held():
                LEADING.set(0)
                raise LeaseLostError(
                    f"the lease could not be renewed for {self._settings.lease_renew_deadline_seconds:g} s"
                )

    async def try_acquire(self) -> bool:
        """One attempt to acquire or renew. Answers whether it succeeded.

        Raises:
            ApiError: the API server did not answer or refused; nothing is known then.
        """
        sent_at = self._clock()
        try:
            if self._renewed_at is None or self._body is None:
                self._observe(await self._client.get(LEASES, self._settings.pod_namespace, self._settings.lease_name))
            if self._is_held_by_another():
                return False
            self._observe(await self._client.replace(LEASES, self._record()))
        except NotFoundError:
            # Somebody has deleted it: its holder, perhaps cut off, still believes in it for as long as it lasts.
            if self._renewed_at is None and self._is_held_by_another():
                return False
            self._body = None
            try:
                self._observe(await self._client.create(LEASES, self._record()))
            except AlreadyExistsError:
                return False
        except ConflictError:
            # Written by somebody else: if that was not a takeover, the next attempt renews the newer version.
            self._observe(await self._client.get(LEASES, self._settings.pod_namespace, self._settings.lease_name))
            return self._renewed_at is not None and self._holder() == self._settings.identity
        self._renewed_at = sent_at
        return True

    def abandon(self) -> None:
        """Lets the Lease run out instead of giving it back."""
        self._renewed_at = None
        LEADING.set(0)

    async def release(self) -> None:
        """Gives the Lease back, so that the next process need not wait; a failure is only logged."""
        if not self.is_held():
            return
        self._renewed_at = None
        LEADING.set(0)
        try:
            # Read first: a renewal that was cut off may have been written after all.
            self._observe(await self._client.get(LEASES, self._settings.pod_namespace, self._settings.lease_name))
            if self._holder() != self._settings.identity:
                return
            record = self._record()
            record["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._client.replace(LEASES, record)
            log.info("the lease is released", lease=self._settings.lease_name)
        except ApiError as error:
            log.warning("the lease could not be released", error=str(error))

    def _observe(self, body: dict[str, Any]) -> None:
        self._body = body
        if body["metadata"]["resourceVersion"] != self._observed_version:
            self._observed_version = body["metadata"]["resourceVersion"]
            self._observed_at = self._clock()

    def _holder(self) -> str:
        return str(self._spec().get("holderIdentity") or "")

    def _spec(self) -> dict[str, Any]:
        return {} if self._body is None else self._body.get("spec") or {}

    def _is_held_by_another(self) -> bool:
        if self._holder() in ("", self._settings.identity):
            return False
        duration = self._spec().get("leaseDurationSeconds") or self._settings.lease_duration_seconds
        return self._clock() < self._observed_at + duration

    def _record(self) -> dict[str, Any]:
        """The Lease as this process writes it: the version that was read must still be the newest."""
        now = format_micro_time(self._now())
        spec = dict(self._spec())
        if spec.get("holderIdentity") != self._settings.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec |= {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": self._settings.lease_duration_seconds,
            "renewTime": now,
        }
        metadata = {"namespace": self._settings.pod_namespace, "name": self._settings.lease_name}
        if self._body is not None:
            metadata = dict(self._body["metadata"])
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
