"""When a server is ready, and when it has finished."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer

from mtp_operator.api.serving_record import ProbePlan
from mtp_operator.api.spec import EngineType
from mtp_operator.bench import probe
from mtp_operator.bench.draft_counters import read_load
from mtp_operator.bench.engine_client import EngineClient
from mtp_operator.bench.probe import DEREGISTRATION_SECONDS, Probe
from mtp_operator.bench.prompts import Prompt
from mtp_operator.engines import engine_for
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time

DRAIN = "/drain/5f1c"
PROMPT = Prompt("long", ({"role": "user", "content": "Go on."},), seed=0)


def probe_of(engine: FakeEngine, client: EngineClient) -> Probe:
    async def load() -> int | None:
        return None if engine.is_dead else engine.in_flight

    return Probe(client, load)


def ready_after(engine: FakeEngine, *seconds: float, boots_again_at: float | None = None) -> list[bool]:
    """Whether a probe says that the engine is ready, after each of these times."""

    async def look(client: EngineClient) -> list[bool]:
        watched = probe_of(engine, client)
        watching = asyncio.create_task(watched.watch())
        answers = []
        for moment in seconds:
            await asyncio.sleep(moment - asyncio.get_running_loop().time())
            answers.append(watched.is_ready)
            if boots_again_at is not None and moment <= boots_again_at:
                engine.start_seconds = boots_again_at
        watching.cancel()
        return answers

    return run_in_virtual_time(engine.run(look))


def drained_at(engine: FakeEngine, output_tokens: int = 0) -> float:
    """When a drain that begins at 0 has ended, with a request for so many tokens going on."""

    async def drain(client: EngineClient) -> float:
        busy = asyncio.create_task(client.complete(PROMPT, output_tokens)) if output_tokens else None
        await probe_of(engine, client).drain()
        if busy is not None:
            await busy
        return asyncio.get_running_loop().time()

    return run_in_virtual_time(engine.run(drain))


def test_a_server_is_ready_when_a_completion_has_worked() -> None:
    engine = FakeEngine(start_seconds=60, fails=lambda number: number < 2)

    assert ready_after(engine, 59, 61, 70) == [False, False, True]
    assert len(engine.bodies) == 3


def test_a_healthy_server_that_hangs_is_not_ready() -> None:
    assert ready_after(FakeEngine(tokens_per_second=lambda _: 1e-9), 1000) == [False]


def test_after_a_new_boot_a_completion_must_work_again() -> None:
    assert ready_after(FakeEngine(), 10, 10.5, 20, 40, boots_again_at=30)[:4] == [True, True, False, True]


def test_a_drain_waits_for_the_last_request() -> None:
    assert drained_at(FakeEngine()) < DEREGISTRATION_SECONDS + 5

    # 6,000 tokens at 100 a second.
    assert drained_at(FakeEngine(), 6000) >= 60


def test_a_drain_does_not_wait_for_an_engine_that_is_gone() -> None:
    assert drained_at(FakeEngine(dies_at_request=-1)) == DEREGISTRATION_SECONDS


@pytest.mark.parametrize("engine_type", EngineType)
def test_the_load_is_what_runs_and_what_waits(engine_type: EngineType) -> None:
    running, waiting = engine_for(engine_type).load_metrics
    scrape = f'{running}{{engine="0"}} 2.0\n{running}{{engine="1"}} 1.0\n{waiting} 4\nother 9\n'

    assert read_load(scrape, engine_for(engine_type).load_metrics) == 7
    assert read_load("other 9\n", engine_for(engine_type).load_metrics) is None


async def test_a_server_is_drained_by_kubelet_alone() -> None:
    async def idle() -> int | None:
        return 0

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    async def ask(client: EngineClient) -> None:
        asked = Probe(client, idle, at_once)
        async with TestClient(TestServer(probe.application(asked, DRAIN))) as http:
            assert (await http.get("/ready")).status == 503
            watching = asyncio.create_task(asked.watch())
            while not asked.is_ready:  # noqa: ASYNC110  # a look at it is what is tested
                await asyncio.sleep(0)
            assert (await http.get("/ready")).status == 200
            for guess in ("/drain", "/drain/", "/drain/0"):
                assert (await http.get(guess)).status == 404
            assert (await http.get("/ready")).status == 200, "whoever does not know the path must not end it"
            assert (await http.get(DRAIN)).status == 200
            assert (await http.get("/ready")).status == 503, "new requests would keep it from ever ending"
            watching.cancel()

    await FakeEngine().run(ask)


def test_kubelet_is_answered_by_either_kind_of_address() -> None:
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    plan = ProbePlan(engine=EngineType.VLLM, url="http://127.0.0.1:9", served_name="tiny", port=port, drain_path=DRAIN)
    command = [str(Path(sys.executable).with_name("mtp")), "probe", "--plan", json.dumps(plan.to_wire())]
    hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
    with subprocess.Popen(command) as process:
        try:
            transport = httpx.HTTPTransport(retries=7)  # until it listens, for half a minute
            with httpx.Client(transport=transport) as client:
                answers = [client.get(f"http://{host}:{port}/ready").status_code for host in hosts]
        finally:
            process.terminate()

    assert answers == [503] * len(hosts)
    assert process.returncode == 0
