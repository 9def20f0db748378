"""Our figures of recorded streams of real servers are those of `vllm bench serve` for the same streams.

The recordings hold what vLLM's own code makes of them: tests/perf/record_streams.py.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mtp_operator.api.spec import EngineType, Sampling
from mtp_operator.api.trial_documents import LatencySummary
from mtp_operator.bench.engine_client import EngineClient
from mtp_operator.bench.prompts import Prompt
from mtp_operator.bench.request_list import ListResult, send_list
from mtp_operator.engines import engine_for
from tests.unit.bench.fake_engine import served
from tests.unit.bench.virtual_time import run_in_virtual_time

RECORDINGS = Path(__file__).with_name("recordings")
ENGINES = {"vllm": EngineType.VLLM, "llamacpp": EngineType.LLAMA_CPP}


async def replayed(recording: dict[str, Any], engine: EngineType) -> ListResult:
    """What our client makes of the streams, each byte arriving when it did."""
    streams = iter(recording["streams"])

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(status=404)
        stream = next(streams)
        clock = asyncio.get_running_loop().time
        sent = clock()
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for seconds, text in stream["arrivals"]:
            await asyncio.sleep(sent + seconds - clock())
            await response.write(text.encode())
        await asyncio.sleep(sent + stream["ended"] - clock())
        return response

    async with served(handle) as session:
        client = EngineClient(session, engine_for(engine), "tiny", Sampling())
        prompt = Prompt("", ({"role": "user", "content": "recorded"},), seed=0)
        asked = [(prompt, 24)] * len(recording["streams"])
        return (await send_list(client, asked, recording["concurrency"])).result()


def ours(result: ListResult) -> Iterator[tuple[str, float]]:
    """Our figures under vLLM's names."""
    told = result.latencies
    named = {"ttft": told.time_to_first_token, "tpot": told.time_per_output_token, "e2el": told.request_latency}
    yield "completed", result.requests - result.failed_requests
    yield "total_output_tokens", result.output_tokens
    yield "output_throughput", result.output_tokens_per_second
    for name, summary in named.items():
        assert isinstance(summary, LatencySummary)
        for statistic, value in summary._asdict().items():
            yield f"{statistic}_{name}_ms", value


@pytest.mark.parametrize("name", ENGINES)
def test_every_metric_agrees_with_vllms_own_within_a_thousandth(name: str) -> None:
    recording = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))

    figures = dict(ours(run_in_virtual_time(replayed(recording, ENGINES[name]))))

    assert figures.keys() == recording["vllm"].keys()
    assert figures == pytest.approx(recording["vllm"], rel=1e-3)
