"""A deleted namespace of several: its Role goes with it, and all that is asked there is forbidden."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mtp_operator.runtime.api_client import JOBS, MODELS, NODES, Client, ForbiddenError
from mtp_operator.runtime.app import _forbidden_namespaces as forbidden_namespaces
from mtp_operator.runtime.fatal import FatalError
from mtp_operator.runtime.object_cache import Cache
from mtp_operator.runtime.reflector import Scope
from mtp_operator.runtime.sweep import Sweep

from .api_server import ApiServer, running

SCOPES = tuple(Scope(resource, namespace) for namespace in ("a", "b") for resource in (MODELS, JOBS))


@asynccontextmanager
async def client_of(*forbidden: str) -> AsyncIterator[tuple[ApiServer, Client]]:
    """A client of an API server that forbids all whose path has one of these parts."""
    async with running() as server:
        server.fail_before = lambda asked: 403 if any(part in asked.path for part in forbidden) else None
        client = Client(server.configuration(), 2.0)
        yield server, client
        await client.close()


async def test_one_namespace_that_may_not_be_read_is_left_out() -> None:
    async with client_of("/namespaces/b/") as (_, client):
        assert await forbidden_namespaces(client, SCOPES) == ["b"]


@pytest.mark.parametrize(
    "forbidden",
    [("/namespaces/a/", "/namespaces/b/"), ("/namespaces/b/jobs",), ("/nodes",)],
    ids=["all", "one right", "nodes"],
)
async def test_a_right_that_is_missing_where_the_others_are_there_is_an_error(forbidden: tuple[str, ...]) -> None:
    async with client_of(*forbidden) as (_, client):
        with pytest.raises(ForbiddenError):
            await forbidden_namespaces(client, (*SCOPES, Scope(NODES, None)))


async def test_a_namespace_that_is_deleted_ends_the_process_which_starts_without_it() -> None:
    async with client_of("/namespaces/b/") as (_, client):
        sweep = Sweep(client, Cache(), lambda _: None, SCOPES, 300)
        with pytest.raises(FatalError, match="namespace b may not be read any more"):
            await sweep.once()


async def test_a_namespace_that_was_left_out_is_looked_for_again() -> None:
    async with client_of("/namespaces/b/") as (server, client):
        sweep = Sweep(client, Cache(), lambda _: None, SCOPES[:2], 300, absent=["b"])
        await sweep.once()

        server.fail_before = lambda _: None
        with pytest.raises(FatalError, match="namespace b, which was left out, can be read now"):
            await sweep.once()
