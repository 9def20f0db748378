"""Two processes and one Lease, on clocks that only tests move."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mtp_operator.runtime.api_client import Client, TransientError
from mtp_operator.runtime.installation import Settings
from mtp_operator.runtime.lease import Lease, format_micro_time

from .api_server import ApiServer, Request, running
from .clock import Clock

PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/mtp-operator"
NOW = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)


def settings(identity: str, **more: Any) -> Settings:
    times = {"lease_duration_seconds": 15, "lease_renew_deadline_seconds": 10}
    images = {"engine_image_vllm": "v", "engine_image_llama_cpp": "l", "bench_image": "b"}
    return Settings(**{**images, **times, **more}, identity=identity)


class Process:
    """One candidate, with a clock and a calendar of its own."""

    def __init__(self, server: ApiServer, identity: str, clock_error: timedelta = timedelta()) -> None:
        self.clock = Clock()
        self.client = Client(server.configuration(), 2.0)
        self.lease = Lease(self.client, settings(identity), self.clock, lambda: NOW + clock_error)

    async def __aenter__(self) -> "Process":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


def spec(server: ApiServer) -> dict[str, Any]:
    record: dict[str, Any] = server.objects[PATH]["spec"]
    return record


async def test_the_first_process_creates_the_lease_and_holds_it() -> None:
    async with running() as server, Process(server, "a") as first:
        assert not first.lease.is_held()

        assert await first.lease.try_acquire()

        assert first.lease.is_held()
        assert spec(server) == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-11-23T12:00:00.000005Z",
            "renewTime": "2026-11-23T12:00:00.000005Z",
            "leaseTransitions": 0,
        }


async def test_a_second_process_waits_as_long_as_the_record_changes() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        for _ in range(5):
            assert not await second.lease.try_acquire()
            second.clock.advance(14)
            assert await first.lease.try_acquire()

        assert not await second.lease.try_acquire()
        second.clock.advance(14.9)
        assert not await second.lease.try_acquire()
        second.clock.advance(0.2)
        assert await second.lease.try_acquire()
        assert spec(server)["holderIdentity"] == "b"
        assert spec(server)["leaseTransitions"] == 1


@pytest.mark.parametrize("clock_error", [timedelta(hours=-3), timedelta(hours=3)])
async def test_clocks_that_differ_neither_hasten_nor_hinder_a_takeover(clock_error: timedelta) -> None:
    async with running() as server, Process(server, "a", clock_error) as first, Process(server, "b") as second:
        await first.lease.try_acquire()

        assert not await second.lease.try_acquire()
        second.clock.advance(15.1)
        assert await second.lease.try_acquire()


async def test_the_holder_gives_up_before_another_may_take_over() -> None:
    async with running() as server, Process(server, "a") as first:
        await first.lease.try_acquire()

        first.clock.advance(9.9)
        assert first.lease.is_held()
        first.clock.advance(0.2)
        assert not first.lease.is_held()


async def test_the_deadline_runs_from_when_the_renewal_was_sent() -> None:
    async with running() as server, Process(server, "a") as first:
        await first.lease.try_acquire()

        def slow(request: Request) -> float:
            if request.method == "PUT":
                first.clock.advance(4)
            return 0.0

        server.delay_seconds = slow
        await first.lease.try_acquire()
        first.clock.advance(6.1)

        assert not first.lease.is_held()


async def test_a_holder_that_was_overtaken_learns_it_at_its_next_renewal() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        await second.lease.try_acquire()
        second.clock.advance(15.1)
        assert await second.lease.try_acquire()

        assert not await first.lease.try_acquire()


async def test_a_renewal_that_was_written_but_not_answered_does_not_lose_the_lease() -> None:
    async with running() as server, Process(server, "a") as first:
        await first.lease.try_acquire()
        server.fail_after = lambda request: 504 if request.method == "PUT" else None
        with pytest.raises(TransientError):
            await first.lease.try_acquire()
        server.fail_after = lambda _: None

        assert await first.lease.try_acquire()
        assert await first.lease.try_acquire()
        assert first.lease.is_held()


async def test_a_proxys_page_in_place_of_a_renewal_does_not_lose_the_lease() -> None:
    async with running() as server, Process(server, "a") as first:
        await first.lease.try_acquire()
        server.interrupt = lambda _: "<html>Bad gateway</html>"
        with pytest.raises(TransientError):
            await first.lease.try_acquire()
        server.interrupt = lambda _: None

        assert await first.lease.try_acquire()
        assert first.lease.is_held()


async def test_a_released_lease_is_taken_at_once() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        assert not await second.lease.try_acquire()

        await first.lease.release()

        assert not first.lease.is_held()
        assert await second.lease.try_acquire()
        assert spec(server)["holderIdentity"] == "b"


async def test_a_lease_whose_last_write_may_still_be_under_way_runs_out() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        assert not await second.lease.try_acquire()

        first.lease.abandon()
        await first.lease.release()

        assert not first.lease.is_held()
        assert not await second.lease.try_acquire()
        second.clock.advance(15.1)
        assert await second.lease.try_acquire()


async def test_a_deleted_lease_is_not_taken_before_its_holder_has_given_up() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        assert not await second.lease.try_acquire()

        server.objects.clear()

        assert not await second.lease.try_acquire()
        second.clock.advance(15.1)
        assert await second.lease.try_acquire()


async def test_the_holder_makes_its_lease_anew_if_it_is_deleted() -> None:
    async with running() as server, Process(server, "a") as first:
        await first.lease.try_acquire()
        server.objects.clear()

        assert await first.lease.try_acquire()
        assert spec(server)["holderIdentity"] == "a"


async def test_a_lease_of_another_is_not_released() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        await first.lease.try_acquire()
        await second.lease.try_acquire()
        second.clock.advance(15.1)
        await second.lease.try_acquire()

        await first.lease.release()

        assert spec(server)["holderIdentity"] == "b"


async def test_of_two_that_create_the_lease_at_once_one_holds_it() -> None:
    async with running() as server, Process(server, "a") as first, Process(server, "b") as second:
        hidden = True

        def race(request: Request) -> int | None:
            return 404 if hidden and request.method == "GET" else None

        server.fail_before = race
        assert await first.lease.try_acquire()
        assert not await second.lease.try_acquire()
        hidden = False
        assert not await second.lease.try_acquire()


def test_times_are_written_with_microseconds_in_utc() -> None:
    local = datetime(2026, 1, 1, 3, 0, tzinfo=UTC).astimezone()

    assert format_micro_time(local) == "2026-01-01T03:00:00.000000Z"


async def test_a_holder_whose_machine_was_suspended_no_longer_believes_in_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since_boot = {time.CLOCK_BOOTTIME: 1000.0}
    monkeypatch.setattr(time, "clock_gettime", since_boot.__getitem__)
    async with running() as server:
        client = Client(server.configuration(), 2.0)
        lease = Lease(client, settings("a"))
        await lease.try_acquire()
        assert lease.is_held()

        # A suspension: the event loop's clock has not moved, and neither has time.monotonic.
        since_boot[time.CLOCK_BOOTTIME] += 10

        assert not lease.is_held()
        await client.close()
