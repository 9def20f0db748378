"""The operator asks a fetch's pod how far it is, and takes no harm from what answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mtp_operator.api.fetch import PROGRESS_PATH, FetchProgress
from mtp_operator.fetch.progress_server import Meter, serve
from mtp_operator.runtime.fetch_progress import read_progress


@asynccontextmanager
async def answering(response: web.Response) -> AsyncIterator[int]:
    """Something that answers at the path, on the port that is yielded."""

    async def answer(_: web.Request) -> web.Response:
        return response

    app = web.Application()
    app.add_routes([web.get(PROGRESS_PATH, answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


async def test_the_program_answers_what_the_operator_asks() -> None:
    server = serve(Meter(), 0)

    assert await read_progress("127.0.0.1", server.server_port) == FetchProgress()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "response",
    [
        web.Response(text="<html>"),
        web.Response(text='{"fetchedBytes": -1}'),
        web.Response(text='{"stage": "' + "x" * 10_000 + '"}'),
        web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    ],
    ids=["no JSON", "a figure out of bounds", "endless", "a redirect"],
)
async def test_what_is_no_progress_is_none(response: web.Response) -> None:
    async with answering(response) as port:
        assert await read_progress("127.0.0.1", port) is None


async def test_nobody_answers() -> None:
    assert await read_progress("127.0.0.1", 9) is None
