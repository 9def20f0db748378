"""Records streams of a real server, and what the metrics of `vllm bench serve` are for just these streams.

Run by the Python of an environment that has vLLM, against a server that is up:

    PYTHON -m tests.perf.record_streams http://127.0.0.1:8000 MODEL tests/unit/bench/recordings/NAME.json

vLLM's own request function reads the recorded bytes on a clock that shows the recorded times, and its own
`calculate_metrics` sums up; our client reads the same bytes in tests/unit/bench/test_agreement.py. Messages that only
name the role are kept from vLLM, which would take them for the first token: now and then they come a little before it.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

CONCURRENCY = 2
REQUESTS = 8
OUTPUT_TOKENS = 24
PROMPTS = (
    "Name a river in each of five countries.",
    "How does a bicycle stay upright?",
    "Write a function that reverses a list.",
    "What is a good name for a ginger cat?",
)
PERCENTILES = (50.0, 95.0, 99.0)
_ROLE_ONLY = re.compile(r'data: [^\n]*"delta":\{"role":"assistant","content":(?:""|null)\}[^\n]*\n\n')


async def record(url: str, model: str) -> list[dict[str, Any]]:
    """Each request's sending, its arrivals (seconds after it, text) and the end of its stream, in seconds."""
    streams: list[dict[str, Any]] = []
    numbers = iter(range(REQUESTS))
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(base_url=url, connector=connector, timeout=timeout) as session:
        begin = time.perf_counter()

        async def work() -> None:
            for number in numbers:
                stream: dict[str, Any] = {"sent": time.perf_counter() - begin, "arrivals": []}
                streams.append(stream)
                body = {
                    "model": model,
                    "messages": [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}],
                    "max_tokens": OUTPUT_TOKENS,
                    "temperature": 0,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                }
                async with session.post("/v1/chat/completions", json=body) as response:
                    response.raise_for_status()
                    async for data in response.content.iter_any():
                        seconds = time.perf_counter() - begin - stream["sent"]
                        stream["arrivals"].append([round(seconds, 6), data.decode()])
                stream["ended"] = time.perf_counter() - begin - stream["sent"]

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return streams


async def vllm_metrics(streams: list[dict[str, Any]]) -> dict[str, float]:
    """What vLLM's own benchmark makes of the streams."""
    from vllm.benchmarks import serve
    from vllm.benchmarks.lib import endpoint_request_func as requests

    outputs = []
    for stream in streams:
        clock = SimpleNamespace(now=stream["sent"])
        requests.time = SimpleNamespace(perf_counter=lambda clock=clock: clock.now)
        asked = requests.RequestFuncInput(
            prompt="recorded",
            api_url="http://127.0.0.1/v1/chat/completions",
            prompt_len=1,
            output_len=OUTPUT_TOKENS,
            model="recorded",
        )
        session = SimpleNamespace(post=lambda stream=stream, clock=clock, **_: _response(stream, clock))
        outputs.append(await requests.async_request_openai_chat_completions(asked, session))
    seconds = max(stream["sent"] + stream["ended"] for stream in streams)
    metrics, _ = serve.calculate_metrics([None] * len(outputs), outputs, seconds, None, list(PERCENTILES), {})
    told = {"completed": metrics.completed, "total_output_tokens": metrics.total_output}
    told["output_throughput"] = metrics.output_throughput
    for name in ("ttft", "tpot", "e2el"):
        told[f"mean_{name}_ms"] = float(getattr(metrics, f"mean_{name}_ms"))
        told |= {f"p{share:.0f}_{name}_ms": float(one) for share, one in getattr(metrics, f"percentiles_{name}_ms")}
    return told


@asynccontextmanager
async def _response(stream: dict[str, Any], clock: SimpleNamespace) -> AsyncIterator[SimpleNamespace]:
    async def arrivals() -> AsyncIterator[bytes]:
        for seconds, text in stream["arrivals"]:
            clock.now = stream["sent"] + seconds
            yield _ROLE_ONLY.sub("", text).encode()

    yield SimpleNamespace(status=200, reason="OK", content=SimpleNamespace(iter_any=arrivals))


def main(url: str, model: str, path: str) -> None:
    """Record, and let vLLM judge."""
    streams = asyncio.run(record(url, model))
    document = {"concurrency": CONCURRENCY, "streams": streams, "vllm": asyncio.run(vllm_metrics(streams))}
    Path(path).write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
