"""What a LIST shows that the watches did not bring."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mtp_operator.reconcile.observed import ModelKey
from mtp_operator.runtime.api_client import JOBS, NODES, RUNS, ApiError, Client
from mtp_operator.runtime.fatal import FatalError
from mtp_operator.runtime.object_cache import Cache
from mtp_operator.runtime.reflector import Scope
from mtp_operator.runtime.sweep import (
    LIST_AGAIN_SECONDS,
    LOOK_SECONDS,
    RETRY_SECONDS,
    WATCH_LATENCY_SECONDS,
    Sweep,
)

from . import bodies
from .api_server import ApiServer, running
from .clock import Clock

KEY = ModelKey(bodies.NAMESPACE, "tiny")
RUN_PATH = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtptuningruns/tiny-1"


class EnoughError(Exception):
    """The test has seen what it wanted."""


@dataclass
class World:
    """A sweep over the runs and Jobs of one namespace, and over nodes."""

    server: ApiServer
    cache: Cache
    clock: Clock
    sweep: Sweep
    woken: list[ModelKey]
    slept: list[float]
    meanwhile: Any = None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        if self.meanwhile is not None:
            self.meanwhile()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with running() as server:
        client = Client(server.configuration(), 2.0)
        clock, woken = Clock(), list[ModelKey]()
        cache = Cache(clock)
        it = World(server, cache, clock, None, woken, [])  # type: ignore[arg-type]
        scopes = (Scope(RUNS, "llm"), Scope(JOBS, "llm"), Scope(NODES, None))
        it.sweep = Sweep(client, cache, woken.append, scopes, 300, clock=clock, sleep=lambda s: it.sleep(s))
        yield it
        await client.close()


async def test_one_list_for_each_kind_and_namespace_and_nothing_else() -> None:
    async with world() as it:
        it.cache.watched(RUNS, it.server.put(RUN_PATH, bodies.run()))
        list(it.cache.take_changed())

        await it.sweep.once()

        assert [(request.method, request.path) for request in it.server.requests] == [
            ("GET", "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtptuningruns"),
            ("GET", "/apis/batch/v1/namespaces/llm/jobs"),
            ("GET", "/api/v1/nodes"),
        ]
        assert it.server.requests[1].query["labelSelector"] == "app.kubernetes.io/managed-by=mtp-operator"
        assert (it.woken, it.slept) == ([], [])


async def test_what_is_gone_is_dropped_and_its_model_is_woken() -> None:
    async with world() as it:
        it.cache.watched(RUNS, bodies.run())
        list(it.cache.take_changed())

        await it.sweep.once()

        assert it.cache.snapshot(KEY).runs == []
        assert it.woken == [KEY]


async def test_it_is_primed_once_the_watches_have_brought_all_that_is_there_and_wakes_nobody() -> None:
    async with world() as it:
        body = it.server.put(RUN_PATH, bodies.run())

        def brings_it_at_the_third_look() -> None:
            if len(it.slept) == 3:
                it.cache.watched(RUNS, body)

        it.meanwhile = brings_it_at_the_third_look
        await it.sweep.prime()

        assert it.slept == [LOOK_SECONDS] * 3
        assert it.woken == []
        assert list(it.cache.take_changed()) == [KEY]


async def test_it_does_not_wait_for_what_is_gone_before_the_watches_begin() -> None:
    async with world() as it:
        it.server.put(RUN_PATH, bodies.run())
        it.meanwhile = lambda: it.server.objects.pop(RUN_PATH, None)

        await it.sweep.prime()

        assert sum(it.slept) == pytest.approx(LIST_AGAIN_SECONDS, abs=2 * LOOK_SECONDS)


async def test_it_is_primed_although_the_api_server_does_not_answer_at_first() -> None:
    async with world() as it:
        it.server.fail_before = lambda _: 503 if not it.slept else None

        await it.sweep.prime()

        assert it.slept == [1]


async def test_what_came_into_the_cache_while_the_list_was_on_its_way_stays() -> None:
    async with world() as it:

        def create(_: object) -> int | None:
            it.cache.written(RUNS, bodies.run())
            return None

        it.server.fail_before = create
        await it.sweep.once()

        assert len(it.cache.snapshot(KEY).runs) == 1


async def test_a_change_that_the_watch_brings_in_time_is_no_fault() -> None:
    async with world() as it:
        it.cache.watched(RUNS, it.server.put(RUN_PATH, bodies.run()))
        newer = it.server.put(RUN_PATH, bodies.run(status={"n": 1}))
        it.meanwhile = lambda: it.cache.watched(RUNS, newer)

        await it.sweep.once()

        assert it.slept == [WATCH_LATENCY_SECONDS]


@pytest.mark.parametrize("known", [True, False])
async def test_a_change_that_the_watch_does_not_bring_ends_the_process(known: bool) -> None:
    async with world() as it:
        body = it.server.put(RUN_PATH, bodies.run())
        if known:
            it.cache.watched(RUNS, body)
            it.server.put(RUN_PATH, bodies.run(status={"n": 1}))

        with pytest.raises(FatalError, match="MTPTuningRun tiny-1"):
            await it.sweep.once()


async def test_our_own_write_does_not_hide_a_silent_watch() -> None:
    async with world() as it:
        it.cache.watched(RUNS, it.server.put(RUN_PATH, bodies.run()))
        it.cache.written(RUNS, it.server.put(RUN_PATH, bodies.run(status={"n": 1})))

        with pytest.raises(FatalError):
            await it.sweep.once()


async def test_an_object_that_ends_during_the_wait_is_no_fault() -> None:
    async with world() as it:
        it.server.put(RUN_PATH, bodies.run())
        it.meanwhile = lambda: it.cache.forget("run-uid", 999)

        await it.sweep.once()


async def test_liveness_ends_twelve_minutes_after_the_last_good_sweep() -> None:
    async with world() as it:
        it.server.fail_before = lambda _: 500
        it.clock.advance(719)
        assert it.sweep.is_alive()
        with pytest.raises(ApiError):
            await it.sweep.once()
        it.clock.advance(2)
        assert not it.sweep.is_alive()

        it.server.fail_before = lambda _: None
        await it.sweep.once()
        assert it.sweep.is_alive()


async def test_a_proxys_page_does_not_end_the_sweeps() -> None:
    async with world() as it:
        it.server.interrupt = lambda _: "<html>Bad gateway</html>"

        def next_pause() -> None:
            if len(it.slept) == 2:
                it.server.interrupt = lambda _: None
            if len(it.slept) == 3:
                raise EnoughError

        it.meanwhile = next_pause
        with pytest.raises(EnoughError):
            await it.sweep.run()

        assert it.slept == [300, RETRY_SECONDS, 300]
