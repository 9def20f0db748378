"""What ends the process when a watch of Kopf's does not do its work."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from mtp_operator.runtime.api_client import JOBS, MODELS, Body, Resource
from mtp_operator.runtime.fatal import FatalError
from mtp_operator.runtime.kopf_reflector import KopfReflector
from mtp_operator.runtime.reflector import Scope

from . import bodies
from .api_server import ApiServer, Request, running

SCOPES = (Scope(MODELS, bodies.NAMESPACE), Scope(JOBS, bodies.NAMESPACE))


class Deaf:
    """A listener that does not care."""

    def seen(self, _: Resource, body: Body) -> None:
        """Nothing."""

    def deleted(self, _: Resource, body: Body) -> None:
        """Nothing."""


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    levels = {name: logging.getLogger(name).level for name in ("kopf", "asyncio")}
    async with running() as server:
        yield server
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_a_watch_that_is_refused_is_fatal_and_says_why(server: ApiServer) -> None:
    server.failure_message = "jobs is forbidden"
    server.fail_before = lambda asked: 403 if asked.path.endswith("/jobs") else None
    reflector = KopfReflector(server.configuration())
    await reflector.start(SCOPES, Deaf())

    with pytest.raises(FatalError, match=r"a watch ended; watch of jobs in namespace llm: .*jobs is forbidden"):
        await reflector.wait()
    await reflector.stop()


async def test_a_listener_that_fails_is_fatal(server: ApiServer) -> None:
    class Broken(Deaf):
        def seen(self, _: Resource, body: Body) -> None:
            raise KeyError(body["metadata"]["name"])

    server.put(MODELS.path(bodies.NAMESPACE, "one"), bodies.model("one"))
    reflector = KopfReflector(server.configuration())
    await reflector.start(SCOPES, Broken())

    with pytest.raises(FatalError, match="watch of mtpmodels in namespace llm: 'one'"):
        await reflector.wait()
    await reflector.stop()


async def test_credentials_that_are_not_accepted_any_more_are_replaced(server: ApiServer) -> None:
    configuration = server.configuration()
    configuration.api_key = {"BearerToken": "Bearer old"}
    seen: list[str] = []
    refused: list[Request] = []

    def refuse_once(asked: Request) -> int | None:
        if refused or "watch" in asked.query:
            return None
        refused.append(asked)
        configuration.api_key = {"BearerToken": "Bearer new"}
        return 401

    class Hears(Deaf):
        def seen(self, _: Resource, body: Body) -> None:
            seen.append(body["metadata"]["name"])

    server.put(MODELS.path(bodies.NAMESPACE, "one"), bodies.model("one"))
    server.fail_before = refuse_once
    reflector = KopfReflector(configuration)
    await reflector.start(SCOPES[:1], Hears())

    async with asyncio.timeout(20):
        while not seen:  # noqa: ASYNC110  # a list tells nobody
            await asyncio.sleep(0.02)
    assert len(refused) == 1
    await reflector.stop()


async def test_watches_that_were_never_started_are_fatal() -> None:
    with pytest.raises(FatalError, match="have not been started"):
        await KopfReflector(ApiServer().configuration()).wait()
