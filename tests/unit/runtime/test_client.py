import pytest

from mtp_operator.runtime.api_client import (
    JOBS,
    MODELS,
    NODES,
    RUNS,
    AlreadyExistsError,
    ApiError,
    Client,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TransientError,
    WritesStoppedError,
)

from . import bodies
from .api_server import running

MODEL_PATH = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtpmodels/tiny"


def test_paths_follow_the_api() -> None:
    assert MODELS.path("llm", "tiny", "status") == f"{MODEL_PATH}/status"
    assert JOBS.path(None) == "/apis/batch/v1/jobs"
    assert NODES.path("llm", "gpu-1") == "/api/v1/nodes/gpu-1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidError),
        (429, TransientError),
        (500, TransientError),
        (504, TransientError),
        (405, ApiError),
    ],
)
async def test_each_refusal_is_a_type(status: int, kind: type[ApiError]) -> None:
    async with running() as server:
        server.fail_before = lambda _: status
        client = Client(server.configuration(), 2.0)

        with pytest.raises(ApiError) as caught:
            await client.get(MODELS, "llm", "tiny")

        assert type(caught.value) is kind
        assert str(caught.value) == f"{status} : GET {MODEL_PATH}: as the test asked"
        await client.close()


async def test_an_object_that_is_there_already_is_told_from_a_conflict() -> None:
    async with running() as server:
        client = Client(server.configuration(), 2.0)
        await client.create(RUNS, bodies.run())

        with pytest.raises(AlreadyExistsError):
            await client.create(RUNS, bodies.run())
        await client.close()


async def test_a_server_that_does_not_answer_is_transient_whether_hung_or_gone() -> None:
    async with running() as server:
        client = Client(server.configuration(), 0.05)
        server.delay_seconds = lambda _: 0.5
        with pytest.raises(TransientError, match="TimeoutError"):
            await client.get(MODELS, "llm", "tiny")
    with pytest.raises(TransientError):
        await client.get(MODELS, "llm", "tiny")
    await client.close()


@pytest.mark.parametrize("page", ["<html>Sign in to the proxy</html>", "[]", '{"error": "no route"}', ""])
async def test_a_proxy_that_answers_in_the_servers_place_is_transient(page: str) -> None:
    async with running() as server:
        server.interrupt = lambda _: page
        client = Client(server.configuration(), 2.0)
        with pytest.raises(TransientError, match="not a Kubernetes object"):
            await client.get(MODELS, "llm", "tiny")
        await client.close()


async def test_nothing_is_written_once_writes_are_stopped_but_reading_goes_on() -> None:
    async with running() as server:
        server.put(MODEL_PATH, bodies.model())
        client = Client(server.configuration(), 2.0, may_write=lambda: False)

        with pytest.raises(WritesStoppedError):
            await client.delete(MODELS, "llm", "tiny", "model-uid")

        assert server.writes() == []
        assert (await client.get(MODELS, "llm", "tiny"))["metadata"]["name"] == "tiny"
        await client.close()


async def test_lists_are_read_page_by_page_and_ask_for_metadata_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtp_operator.runtime.api_client.PAGE_SIZE", 2)
    async with running() as server:
        for number in range(5):
            server.put(f"/apis/batch/v1/namespaces/llm/jobs/j{number}", bodies.job(f"j{number}"))
        client = Client(server.configuration(), 2.0)

        names = [one["name"] async for one in client.list_metadata(JOBS, "llm", "a=b")]

        assert names == ["j0", "j1", "j2", "j3", "j4"]
        assert [request.query.get("continue") for request in server.requests] == [None, "2", "4"]
        assert {request.query["labelSelector"] for request in server.requests} == {"a=b"}
        assert all("PartialObjectMetadataList" in request.accept for request in server.requests)
        await client.close()
