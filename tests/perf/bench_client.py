"""What the bench itself costs: its CPU share while 64 streams bring a token each 50 ms.

    python -m tests.perf.bench_client

The server is another process and sends each token as a message of its own, as an engine without speculation does; with
it, fewer messages bring more tokens. Asserts nothing: the promise is less than 10 % of a core per 1,000 tokens/s.
"""

import asyncio
import json
import subprocess
import sys
import time
from typing import Final

from mtp_operator.api.spec import EngineType, PromptCategory, Sampling
from mtp_operator.bench.engine_client import EngineClient, open_session
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.engines import engine_for

STREAMS: Final = 64
TOKENS: Final = 200
TOKENS_PER_SECOND: Final = 20
ROUNDS: Final = 2
PROMISE: Final = 0.10

MESSAGE: Final = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1795000000,
    "model": "tiny",
    "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
}


def event(message: dict[str, object]) -> bytes:
    """One server-sent event as one HTTP chunk."""
    data = b"data: " + json.dumps(message).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one answer at a steady pace; bare sockets, for the server must not be the limit."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    clock = asyncio.get_running_loop().time
    begin, token = clock(), event(MESSAGE)
    for number in range(TOKENS):
        await asyncio.sleep(max(0.0, begin + number / TOKENS_PER_SECOND - clock()))
        writer.write(token)
    writer.write(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}))
    writer.write(event({"choices": [], "usage": {"completion_tokens": TOKENS}}) + b"0\r\n\r\n")
    await writer.drain()
    writer.close()


async def serve() -> None:
    """Serve until killed; the port is the first line of output."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4 * STREAMS)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def load(url: str) -> tuple[int, float, float]:
    """Output tokens, seconds, CPU seconds of this process."""
    prompts = built_in_mix(list(PromptCategory)).level(0)
    async with open_session(url) as session:
        client = EngineClient(session, engine_for(EngineType.VLLM), "tiny", Sampling())

        async def work() -> int:
            answers = [await client.complete(next(prompts), TOKENS) for _ in range(ROUNDS)]
            return sum(one.output_tokens or 0 for one in answers)

        begin, cpu = time.perf_counter(), time.process_time()
        tokens = sum(await asyncio.gather(*(work() for _ in range(STREAMS))))
        return tokens, time.perf_counter() - begin, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.perf.bench_client", "serve"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            tokens, seconds, cpu = asyncio.run(load(f"http://127.0.0.1:{server.stdout.readline().strip()}"))
        finally:
            server.terminate()
    share = cpu / tokens * 1000
    print(
        f"{STREAMS} streams, {tokens / seconds:.0f} tokens/s: the client takes {cpu / seconds:.1%} of a core, "
        f"{share:.1%} per 1,000 tokens/s (promised: under {PROMISE:.0%})"
    )


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
