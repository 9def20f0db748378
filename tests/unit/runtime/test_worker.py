"""When a model is decided, and when it is decided again. The decisions themselves are scripted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.reconcile.observed import Kind, Lane, ModelKey, Observed, OperatorSettings, Reference
from mtp_operator.reconcile.plan import Create, Plan, StatusUpdate
from mtp_operator.runtime.api_client import JOBS, MODELS, PODS, Client, WritesStoppedError
from mtp_operator.runtime.apply import Applier
from mtp_operator.runtime.object_cache import Cache
from mtp_operator.runtime.queue import FIRST_BACKOFF_SECONDS, WorkQueue
from mtp_operator.runtime.worker import CATCH_UP_SECONDS, REPORTS_AWAITED, Worker

from . import bodies
from .api_server import ApiServer, running
from .clock import Clock

KEY = ModelKey(bodies.NAMESPACE, "tiny")
JOB_PATH = "/apis/batch/v1/namespaces/llm/jobs/new"

SETTINGS = OperatorSettings(engine_images={EngineType.VLLM: "v", EngineType.LLAMA_CPP: "l"}, bench_image="b")
MODEL_PATH = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtpmodels/tiny"


def _create(name: str) -> Plan:
    return Plan.of(Lane.TUNING, Create(Kind.JOB, bodies.job(name, name)))


def _report(**status: Any) -> Plan:
    return Plan.of(Lane.REPORT, StatusUpdate(Reference(Kind.MODEL, "llm", "tiny", "model-uid"), status))


CREATE = _create("new")

Decision = Plan | Exception


@dataclass
class World:
    """One worker, an API server, and the plans that its decisions answer, one after the other."""

    server: ApiServer
    cache: Cache
    queue: WorkQueue[ModelKey]
    clock: Clock
    plans: list[Decision] = field(default_factory=list)
    seen: list[Observed] = field(default_factory=list)
    may_write: bool = True
    worker: Worker = field(init=False)

    def decide(self, observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
        assert settings is SETTINGS
        assert now.tzinfo is UTC
        self.seen.append(observed)
        plan = self.plans.pop(0) if self.plans else Plan()
        if isinstance(plan, Exception):
            raise plan
        return plan

    async def work(self) -> bool:
        """Works the next key; answers whether there was one."""
        key = self.queue.take()
        if key is not None:
            await self.worker.work(key)
        return key is not None

    async def settle(self) -> None:
        """Works until no key is left."""
        for _ in range(20):
            if not await self.work():
                return
        pytest.fail("the worker does not come to rest")

    def watch_brings(self, path: str) -> None:
        self.cache.watched(JOBS, self.server.objects[path])
        for key in self.cache.take_changed():
            self.queue.add(key)


@asynccontextmanager
async def world(*plans: Decision) -> AsyncIterator[World]:
    async with running() as server:
        clock = Clock()
        it = World(server, Cache(clock), WorkQueue(clock), clock, list(plans))
        client = Client(server.configuration(), 2.0, lambda: it.may_write)
        it.worker = Worker(it.queue, it.cache, Applier(client, it.cache), SETTINGS, decide=it.decide, clock=clock)
        it.queue.add(KEY)
        yield it
        await client.close()


async def test_after_a_write_the_model_is_decided_again_once_the_watch_has_brought_it() -> None:
    async with world(CREATE) as it:
        await it.settle()
        assert len(it.seen) == 1

        it.watch_brings(JOB_PATH)
        await it.settle()

        assert [len(observed.jobs) for observed in it.seen] == [0, 1]
        assert it.server.writes() == [("POST", "/apis/batch/v1/namespaces/llm/jobs")]


async def test_a_watch_that_does_not_bring_our_write_is_replaced_by_one_live_get() -> None:
    async with world(CREATE) as it:
        await it.settle()
        gets = len(it.server.requests)

        it.clock.advance(CATCH_UP_SECONDS)
        await it.settle()

        assert [(one.method, one.path) for one in it.server.requests[gets:]] == [("GET", JOB_PATH)]
        assert [len(observed.jobs) for observed in it.seen] == [0, 1]


async def test_the_pod_of_a_job_that_has_ended_is_sought_once_before_anything_is_decided_without_it() -> None:
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    async with world(Plan(), Plan()) as it:
        it.server.put(JOB_PATH, bodies.job("new", "new", status=ended))
        pod = bodies.pod("new-x", "new-pod")
        pod["metadata"] |= {"ownerReferences": [{"kind": "Job", "name": "new", "uid": "new", "controller": True}]}
        it.server.put(PODS.path(bodies.NAMESPACE, "new-x"), pod)
        it.watch_brings(JOB_PATH)
        await it.settle()
        it.queue.add(KEY)
        await it.settle()

        assert [[pod.name for pod in observed.pods] for observed in it.seen] == [["new-x"], ["new-x"]]
        assert [one.path for one in it.server.requests] == [PODS.path(bodies.NAMESPACE)]


async def test_a_write_whose_object_is_gone_before_the_watch_saw_it_is_forgotten() -> None:
    async with world(CREATE) as it:
        await it.settle()
        del it.server.objects[JOB_PATH]

        it.clock.advance(CATCH_UP_SECONDS)
        await it.settle()

        assert [len(observed.jobs) for observed in it.seen] == [0, 0]


async def test_a_plan_for_later_brings_the_model_back_then() -> None:
    async with world(Plan(wake_after_seconds=30)) as it:
        await it.settle()
        it.clock.advance(29)
        assert not await it.work()
        it.clock.advance(1)
        assert await it.work()
        assert len(it.seen) == 2


async def test_a_models_status_waits_for_the_decision_that_follows_what_else_was_written() -> None:
    """It is written once, when its model has come to rest, and not with every step towards that."""
    async with world(Plan.all(CREATE, _report(nSpec=1)), _report(nSpec=2), Plan()) as it:
        it.cache.watched(MODELS, it.server.put(MODEL_PATH, _model()))
        await it.settle()
        it.watch_brings(JOB_PATH)
        await it.settle()

        assert [method for method, _ in it.server.writes()] == ["POST", "PATCH"]
        assert it.server.objects[MODEL_PATH]["status"] == {"nSpec": 2}


async def test_a_models_status_says_at_once_what_failed_beside_it() -> None:
    failing = Plan.of(Lane.SERVING, Create(Kind.JOB, bodies.job("refused", "refused")))
    async with world(Plan.all(CREATE, failing, _report(nSpec=1))) as it:
        it.cache.watched(MODELS, it.server.put(MODEL_PATH, _model()))
        it.server.fail_before = lambda asked: (
            403 if asked.body and asked.body["metadata"]["name"] == "refused" else None
        )
        assert await it.work()

        assert it.server.objects[MODEL_PATH]["status"] == {"nSpec": 1}


async def test_whoever_undoes_every_write_does_not_keep_a_models_status_from_being_written() -> None:
    plans = [Plan.all(_create(f"job-{number}"), _report(nSpec=1)) for number in range(REPORTS_AWAITED + 1)]
    async with world(*plans) as it:
        it.cache.watched(MODELS, it.server.put(MODEL_PATH, _model()))
        for number in range(REPORTS_AWAITED + 1):
            assert "status" not in it.server.objects[MODEL_PATH]
            await it.settle()
            it.watch_brings(f"/apis/batch/v1/namespaces/llm/jobs/job-{number}")

        assert it.server.objects[MODEL_PATH]["status"] == {"nSpec": 1}


async def test_a_status_that_is_there_already_does_not_go_round_in_circles() -> None:
    same = Plan.of(Lane.REPORT, StatusUpdate(Reference(Kind.MODEL, "llm", "tiny", "model-uid"), {"nSpec": 3}))
    async with world(same, same, same) as it:
        it.cache.watched(MODELS, _model(status={"nSpec": 3}))

        await it.settle()

        assert len(it.seen) == 1
        assert it.server.requests == []


async def test_a_write_that_the_server_answers_without_a_change_does_not_either() -> None:
    """The server may prune what it is sent: then the status never equals what was decided."""
    wanted = Plan.of(Lane.REPORT, StatusUpdate(Reference(Kind.MODEL, "llm", "tiny", "model-uid"), {"nSpec": 3}))
    async with world(wanted, wanted, wanted) as it:
        path = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtpmodels/tiny"
        stored = it.server.put(path, _model(status={"nSpec": 3}))
        it.cache.watched(MODELS, {**stored, "status": {}})

        await it.settle()

        assert len(it.seen) == 1


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), KeyError("status")])
async def test_a_decision_that_fails_is_tried_again_later_and_holds_up_nobody(failure: Exception) -> None:
    async with world(failure) as it:
        it.queue.add(ModelKey("llm", "other"))
        await it.work()
        await it.work()
        assert len(it.seen) == 2

        it.clock.advance(FIRST_BACKOFF_SECONDS)
        assert await it.work()
        assert len(it.seen) == 3


@pytest.mark.parametrize("status", [403, 422, 500])
async def test_a_refused_request_is_tried_again_with_a_growing_pause(status: int) -> None:
    async with world(*[CREATE] * 5) as it:
        it.server.fail_before = lambda request: status if request.method == "POST" else None

        for pause in (FIRST_BACKOFF_SECONDS, 2 * FIRST_BACKOFF_SECONDS):
            await it.settle()
            it.clock.advance(pause * 0.9)
            assert not await it.work()
            it.clock.advance(pause * 0.2)
        assert await it.work()

        assert len(it.server.writes()) == 3


async def test_why_a_request_was_refused_is_known_at_once_and_until_one_goes_through() -> None:
    async with world(CREATE, CREATE, CREATE, Plan()) as it:
        it.server.fail_before = lambda request: 403 if request.method == "POST" else None
        await it.settle()
        assert len(it.server.writes()) == 1
        it.server.fail_before = lambda _: None
        it.clock.advance(FIRST_BACKOFF_SECONDS)
        await it.settle()
        it.watch_brings(JOB_PATH)
        await it.settle()

        assert it.seen[0].failures == {}
        assert "403" in it.seen[1].failures[Lane.TUNING].message
        assert it.seen[-1].failures == {}


async def test_what_failed_is_tried_again_at_once_when_the_spec_is_changed() -> None:
    async with world(*[CREATE] * 9) as it:
        it.cache.watched(MODELS, _model())
        it.server.fail_before = lambda request: 403 if request.method == "POST" else None
        await it.settle()
        it.queue.add(KEY)
        await it.settle()
        assert len(it.server.writes()) == 1

        edited = _model(version=2)
        edited["metadata"]["generation"] = 2
        it.cache.watched(MODELS, edited)
        it.queue.add(KEY)
        await it.settle()
        assert len(it.server.writes()) == 2


async def test_refusals_that_differ_only_in_an_id_are_one_refusal() -> None:
    async with world(*[CREATE] * 9) as it:
        it.server.fail_before = lambda request: 403 if request.method == "POST" else None
        for number in range(3):
            it.server.failure_message = f"denied by policy (request 7f{number})"
            await it.settle()
            it.clock.advance(8 * FIRST_BACKOFF_SECONDS)
        await it.settle()

        assert {observed.failures[Lane.TUNING].message for observed in it.seen[1:]} == {
            f"403 : POST {JOB_PATH.rpartition('/')[0]}: denied by policy (request 7f0)"
        }


async def test_an_object_that_cannot_be_read_is_told_to_decisions_until_it_is_changed() -> None:
    async with world() as it:
        it.cache.watched(MODELS, bodies.model(spec={"model": "nonsense"}))
        await it.settle()
        it.clock.advance(3600)
        assert not await it.work()
        (observed,) = it.seen
        assert observed.model is None
        (aside,) = observed.unreadable
        assert (aside.reference.name, aside.reference.uid) == ("tiny", "model-uid")

        it.cache.watched(MODELS, _model(version=9))
        for key in it.cache.take_changed():
            it.queue.add(key)
        await it.settle()
        assert it.seen[-1].model is not None
        assert it.seen[-1].unreadable == ()


async def test_a_lost_lease_ends_the_worker() -> None:
    async with world(CREATE) as it:
        it.may_write = False

        with pytest.raises(WritesStoppedError):
            await it.worker.run()

        assert it.server.writes() == []


async def test_a_worker_ends_when_the_queue_is_closed() -> None:
    async with world() as it:
        it.queue.close()
        await it.worker.run()
        assert it.seen == []


def _model(**more: Any) -> dict[str, Any]:
    body = bodies.model(spec={"model": {"uri": "pvc://weights/tiny.gguf"}, "engine": {"type": "LlamaCpp"}}, **more)
    body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return body
