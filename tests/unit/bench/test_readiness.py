"""When a trial may begin."""

import asyncio
from pathlib import Path

import pytest

from mtp_operator.api.spec import PromptCategory
from mtp_operator.bench.engine_client import EngineClient
from mtp_operator.bench.load import EngineGoneError
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.bench.readiness import MAX_BROKEN_COMPLETIONS, NotReadyError, model_problem, wait_until_ready
from tests.unit.bench.fake_engine import FakeEngine
from tests.unit.bench.virtual_time import run_in_virtual_time


def wait(engine: FakeEngine, output_tokens: int = 100, ready_seconds: float = 600) -> float:
    """The time at which the engine was ready."""

    async def ready_at(client: EngineClient) -> float:
        await wait_until_ready(client, built_in_mix([PromptCategory.CODE]).probe, output_tokens, ready_seconds)
        return asyncio.get_running_loop().time()

    return run_in_virtual_time(engine.run(ready_at))


def test_ready_is_a_completion_of_the_largest_size() -> None:
    engine = FakeEngine(start_seconds=60)

    assert wait(engine, output_tokens=300) == pytest.approx(60 + 300 / 100, abs=1)
    assert [body["max_tokens"] for body in engine.bodies] == [300]


def test_a_server_that_never_becomes_healthy() -> None:
    with pytest.raises(NotReadyError, match=r"not ready within 600 s: its health endpoint did not report"):
        wait(FakeEngine(start_seconds=1e9))


def test_a_healthy_server_that_hangs() -> None:
    with pytest.raises(NotReadyError, match=r"not ready within 600 s: it is healthy, but a completion of 100 tokens"):
        wait(FakeEngine(tokens_per_second=lambda _: 1e-9))


def test_completions_that_fail_at_first_are_tried_again() -> None:
    engine = FakeEngine(fails=lambda number: number < 3)

    wait(engine)

    assert len(engine.bodies) == 4


def test_a_healthy_server_whose_completions_all_fail_is_given_up() -> None:
    engine = FakeEngine(fails=lambda _: True)

    with pytest.raises(NotReadyError, match=r"healthy, but its completions fail: HTTP 500: broken"):
        wait(engine, ready_seconds=1e9)

    assert len(engine.bodies) == MAX_BROKEN_COMPLETIONS


def test_a_request_that_the_engine_refuses_is_not_repeated() -> None:
    engine = FakeEngine(fails=lambda _: True, failure_status=400)

    with pytest.raises(NotReadyError, match="HTTP 400"):
        wait(engine)

    assert len(engine.bodies) == 1


def test_an_engine_that_dies_at_its_first_completion() -> None:
    with pytest.raises(EngineGoneError, match="healthy and ended at its first completion"):
        wait(FakeEngine(dies_at_request=0))


def test_an_engine_whose_tokens_nobody_counts() -> None:
    with pytest.raises(NotReadyError, match="the output tokens cannot be counted"):
        wait(FakeEngine(says_usage=False, has_metrics=False))

    assert wait(FakeEngine(says_usage=False)) > 0


def test_a_file_or_a_folder_with_something_in_it_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()

    assert model_problem(tmp_path) is None
    assert model_problem(tmp_path / "model.gguf") is None
