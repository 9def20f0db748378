"""What a plan sends, in which order, and what the cache knows afterwards."""

import asyncio
from typing import Any

import pytest

from mtp_operator.api.fetch import FetchProgress
from mtp_operator.reconcile.observed import Kind, Lane, ModelKey
from mtp_operator.reconcile.plan import (
    Create,
    Delete,
    Ensure,
    EventDraft,
    EventsRead,
    Plan,
    ProgressRead,
    Release,
    StatusUpdate,
    StopTrial,
)
from mtp_operator.runtime.api_client import TransientError, WritesStoppedError
from mtp_operator.runtime.apply import BeingDeletedError, NameTakenError, StalePlanError
from mtp_operator.runtime.fetch_progress import AT_ONCE
from mtp_operator.runtime.object_cache import RESOURCES

from . import bodies
from .api_server import Request
from .applying import world

KEY = ModelKey(bodies.NAMESPACE, "tiny")
MODELS = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtpmodels"
RUNS = "/apis/mtp-operator.dev/v1alpha1/namespaces/llm/mtptuningruns"
JOBS = "/apis/batch/v1/namespaces/llm/jobs"
EVENTS = "/api/v1/namespaces/llm/events"


async def test_a_lane_is_carried_out_in_its_order() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model())
        run = it.has(Kind.RUN, bodies.run())
        owned = bodies.run("tiny-0", "old-run")
        owned["metadata"]["ownerReferences"] = [{"uid": "model-uid"}]
        old_run = it.has(Kind.RUN, owned)
        done = it.has(Kind.JOB, bodies.job("done", "done"))
        going = it.has(Kind.JOB, bodies.job("going", "going"))

        applied = await it.apply(
            StatusUpdate(run, {"n": 1}),
            Create(Kind.JOB, bodies.job("new")),
            StopTrial(going),
            Release(old_run),
            Delete(done),
            StatusUpdate(model, {"nSpec": 3}),
        )

        assert it.server.writes() == [
            ("PATCH", f"{RUNS}/tiny-1/status"),
            ("POST", JOBS),
            ("PATCH", f"{JOBS}/going"),
            ("PATCH", f"{RUNS}/tiny-0"),
            ("DELETE", f"{JOBS}/done"),
            ("PATCH", f"{MODELS}/tiny/status"),
        ]
        assert applied.writes == [
            "status MTPTuningRun/tiny-1",
            "create Job/new",
            "end Job/going",
            "release MTPTuningRun/tiny-0",
            "delete Job/done",
            "status MTPModel/tiny",
        ]


async def test_the_next_decision_sees_what_was_written_before_any_watch_does() -> None:
    async with world() as it:
        run = it.has(Kind.RUN, bodies.run(status={"n": 0}))
        done = it.has(Kind.JOB, bodies.job("done", "done"))

        await it.apply(StatusUpdate(run, {"n": 1}), Create(Kind.JOB, bodies.job("new", "new")), Delete(done))

        seen = it.cache.snapshot(KEY)
        assert seen.runs[0]["status"] == {"n": 1}
        assert [job["metadata"]["name"] for job in seen.jobs] == ["new"]
        assert {entry.resource.plural for entry in it.cache.lagging(KEY)} == {"mtptuningruns", "jobs"}


async def test_every_write_to_an_object_says_which_it_means() -> None:
    async with world() as it:
        job = it.has(Kind.JOB, bodies.job())
        run = it.has(Kind.RUN, bodies.run())
        version = it.cache.version("run-uid")

        await it.apply(StatusUpdate(run, {"n": 1}), StopTrial(job), Release(run), Delete(job))

        status, end, release, delete = [one for one in it.server.requests if one.method != "GET"]
        assert status.body["metadata"] == {
            "namespace": "llm",
            "name": "tiny-1",
            "uid": "run-uid",
            "resourceVersion": str(version),
        }
        assert status.query == {"fieldManager": "mtp-operator", "force": "true"}
        assert end.body == {"spec": {"activeDeadlineSeconds": 1}, "metadata": {"uid": "job-uid"}}
        assert release.body == {"metadata": {"ownerReferences": None, "uid": "run-uid"}}
        assert delete.body == {"propagationPolicy": "Background", "preconditions": {"uid": "job-uid"}}


async def test_a_status_that_is_there_already_is_not_written_and_tells_no_story() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model(status={"nSpec": 3}))

        applied = await it.apply(StatusUpdate(model, {"nSpec": 3}, (EventDraft(model, "Normal", "Chosen", "n=3"),)))

        assert it.server.requests == []
        assert not applied.calls_for_decision


async def test_events_follow_the_status_and_speak_of_their_object() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model())

        await it.apply(StatusUpdate(model, {"nSpec": 3}, (EventDraft(model, "Normal", "Chosen", "n=3 won"),)))

        assert [method for method, _ in it.server.writes()] == ["PATCH", "POST"]
        event = it.server.requests[-1].body
        assert (event["type"], event["reason"], event["message"]) == ("Normal", "Chosen", "n=3 won")
        assert event["involvedObject"] == {
            "apiVersion": "mtp-operator.dev/v1alpha1",
            "kind": "MTPModel",
            "namespace": "llm",
            "name": "tiny",
            "uid": "model-uid",
        }
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"


async def test_events_are_posted_even_where_the_watch_brings_the_write_before_its_reply() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model())

        def watch_is_faster(request: Request) -> None:
            if request.method == "PATCH":
                it.cache.watched(RESOURCES[Kind.MODEL], it.server.objects[f"{MODELS}/tiny"])

        it.server.fail_after = watch_is_faster
        applied = await it.apply(StatusUpdate(model, {"nSpec": 3}, (EventDraft(model, "Normal", "Chosen", "n=3"),)))

        assert applied.writes == ["status MTPModel/tiny"]
        assert [path for _, path in it.server.writes()] == [f"{MODELS}/tiny/status", EVENTS]


async def test_an_event_that_cannot_be_posted_fails_nothing() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model())
        it.server.fail_before = lambda request: 403 if request.path == EVENTS else None

        applied = await it.apply(StatusUpdate(model, {"nSpec": 3}, (EventDraft(model, "Normal", "Chosen", "n=3"),)))

        assert applied.writes == ["status MTPModel/tiny"]


async def test_no_event_is_posted_for_a_status_that_was_not_written() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model())
        it.server.fail_before = lambda request: 500 if request.method == "PATCH" else None

        with pytest.raises(TransientError):
            await it.apply(StatusUpdate(model, {"nSpec": 3}, (EventDraft(model, "Normal", "Chosen", "n=3"),)))

        assert [path for _, path in it.server.writes()] == [f"{MODELS}/tiny/status"]


async def test_what_is_missing_from_the_cache_only_is_found_and_not_created() -> None:
    async with world() as it:
        it.server.put(f"{JOBS}/new", bodies.job("new", "found"))

        applied = await it.apply(Create(Kind.JOB, bodies.job("new")))

        assert [one.method for one in it.server.requests] == ["POST", "GET"]
        assert applied.learned
        assert applied.writes == []
        assert it.cache.body("found") is not None


async def test_what_is_nowhere_is_created_with_one_request() -> None:
    async with world() as it:
        applied = await it.apply(Create(Kind.JOB, bodies.job("new")))

        assert [one.method for one in it.server.requests] == ["POST"]
        assert applied.writes == ["create Job/new"]


async def test_a_create_that_was_carried_out_but_not_answered_happens_once() -> None:
    async with world() as it:
        it.server.fail_after = lambda request: 504 if request.method == "POST" else None
        plan = Create(Kind.JOB, bodies.job("new"))
        with pytest.raises(TransientError):
            await it.apply(plan)
        it.server.fail_after = lambda _: None

        await it.apply(plan)

        assert [change.type for change in it.server.changes] == ["ADDED"]
        assert len(it.cache.snapshot(KEY).jobs) == 1


async def test_a_strangers_object_with_the_same_name_is_reported_not_adopted() -> None:
    async with world() as it:
        it.server.put(f"{JOBS}/new", bodies.job("new", of=None))

        with pytest.raises(NameTakenError, match="Job new exists already and is not of this model"):
            await it.apply(Create(Kind.JOB, bodies.job("new")))


async def test_a_plan_to_create_what_the_cache_has_is_stale() -> None:
    async with world() as it:
        it.has(Kind.JOB, bodies.job("new"))

        with pytest.raises(StalePlanError):
            await it.apply(Create(Kind.JOB, bodies.job("new")))


TEMPLATES = "/apis/resource.k8s.io/v1/namespaces/llm/resourceclaimtemplates"


def template(owner: str) -> dict[str, Any]:
    metadata = {"name": "tiny-gpu-1", "namespace": bodies.NAMESPACE, "ownerReferences": [{"name": owner, "uid": owner}]}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": metadata}


async def test_what_has_to_be_there_is_made_once_and_before_what_refers_to_it() -> None:
    async with world() as it:
        ensure = Ensure(Kind.CLAIM_TEMPLATE, template("model-uid"))

        await it.apply(ensure, Create(Kind.JOB, bodies.job("new")))
        again = await it.apply(ensure)

        assert it.server.writes() == [("POST", TEMPLATES), ("POST", JOBS), ("POST", TEMPLATES)]
        assert not again.calls_for_decision


async def test_what_has_to_be_there_must_be_the_models_own() -> None:
    async with world() as it:
        it.server.put(f"{TEMPLATES}/tiny-gpu-1", template("another-uid"))

        with pytest.raises(NameTakenError, match="ResourceClaimTemplate tiny-gpu-1 exists already"):
            await it.apply(Ensure(Kind.CLAIM_TEMPLATE, template("model-uid")))


async def test_the_first_failure_ends_its_lane_and_no_other() -> None:
    async with world() as it:
        model, run = it.has(Kind.MODEL, bodies.model()), it.has(Kind.RUN, bodies.run())
        done = it.has(Kind.JOB, bodies.job("done", "done"))
        it.server.fail_before = lambda request: 403 if request.method == "POST" else None
        create = Create(Kind.JOB, bodies.job())

        applied = await it.try_(
            Plan.all(
                Plan.of(Lane.REPORT, StatusUpdate(model, {"nSpec": 3})),
                Plan.of(Lane.TUNING, StatusUpdate(run, {"n": 1}), create, Delete(run)),
                Plan.of(Lane.SERVING, Delete(done)),
            )
        )

        assert it.server.writes() == [
            ("PATCH", f"{RUNS}/tiny-1/status"),
            ("POST", JOBS),
            ("DELETE", f"{JOBS}/done"),
            ("PATCH", f"{MODELS}/tiny/status"),
        ]
        assert {lane: failed.action for lane, failed in applied.failures.items()} == {Lane.TUNING: create}


async def test_a_namesake_is_never_written_to() -> None:
    async with world() as it:
        run = it.has(Kind.RUN, bodies.run(uid="old"))
        it.server.put(f"{RUNS}/tiny-1", bodies.run(uid="new"))

        for action in (StatusUpdate(run, {"n": 1}), Release(run)):
            with pytest.raises(StalePlanError):
                await it.apply(action)
        await it.apply(Delete(run))

        assert "status" not in it.server.objects[f"{RUNS}/tiny-1"]
        assert [one["metadata"]["uid"] for one in it.cache.snapshot(KEY).runs] == ["new"]


async def test_a_status_is_not_written_to_a_version_that_it_was_not_computed_for() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model(spec={"nSpec": 1}))
        it.server.put(f"{MODELS}/tiny", bodies.model(spec={"nSpec": 2}))

        with pytest.raises(StalePlanError):
            await it.apply(StatusUpdate(model, {"nSpec": 1}))

        assert "status" not in it.server.objects[f"{MODELS}/tiny"]
        seen = it.cache.snapshot(KEY).model
        assert seen is not None
        assert seen["spec"] == {"nSpec": 2}


async def test_a_status_is_not_written_to_a_spec_that_was_edited_after_the_decision() -> None:
    async with world() as it:
        model = it.has(Kind.MODEL, bodies.model(spec={"nSpec": 1}))
        decided_on = str(it.cache.version("model-uid"))
        it.has(Kind.MODEL, bodies.model(spec={"nSpec": 2}))

        with pytest.raises(StalePlanError):
            await it.apply(StatusUpdate(model, {"nSpec": 1}, version=decided_on))

        assert "status" not in it.server.objects[f"{MODELS}/tiny"]


async def test_what_is_gone_already_counts_as_deleted() -> None:
    async with world() as it:
        job = it.has(Kind.JOB, bodies.job())
        del it.server.objects[f"{JOBS}/tiny-1-n0"]

        applied = await it.apply(Delete(job))

        assert applied.writes == []
        assert applied.learned
        assert it.cache.snapshot(KEY).jobs == []


async def test_an_object_whose_deletion_is_refused_with_a_conflict_is_not_taken_for_gone() -> None:
    async with world() as it:
        job = it.has(Kind.JOB, bodies.job())
        it.server.fail_before = lambda asked: 409 if asked.method == "DELETE" else None

        with pytest.raises(StalePlanError):
            await it.apply(Delete(job))

        assert [one["metadata"]["uid"] for one in it.cache.snapshot(KEY).jobs] == ["job-uid"]


async def test_an_object_that_ended_meanwhile_makes_the_plan_stale_and_is_forgotten() -> None:
    async with world() as it:
        job = it.has(Kind.JOB, bodies.job())
        del it.server.objects[f"{JOBS}/tiny-1-n0"]

        with pytest.raises(StalePlanError):
            await it.apply(StopTrial(job))

        assert it.cache.snapshot(KEY).jobs == []


async def test_a_lost_lease_stops_a_plan_between_two_writes() -> None:
    async with world(may_write=iter([True, False])) as it:
        model, run = it.has(Kind.MODEL, bodies.model()), it.has(Kind.RUN, bodies.run())

        with pytest.raises(WritesStoppedError):
            await it.apply(StatusUpdate(run, {"n": 1}), StatusUpdate(model, {"nSpec": 3}))

        assert it.server.writes() == [("PATCH", f"{RUNS}/tiny-1/status")]


async def test_events_of_an_object_are_listed_by_its_uid_and_call_for_a_decision_once() -> None:
    async with world() as it:
        job = it.has(Kind.JOB, bodies.job())
        it.server.put(f"{EVENTS}/e", {"metadata": {"name": "e"}, "reason": "FailedCreate", "message": "quota"})

        first = await it.apply(EventsRead(job))
        again = await it.apply(EventsRead(job))

        assert (first.calls_for_decision, again.calls_for_decision) == (True, False)
        assert it.server.requests[0].query["fieldSelector"] == "involvedObject.uid=job-uid"
        _, events = it.cache.snapshot(KEY).events["job-uid"]
        assert [event["reason"] for event in events] == ["FailedCreate"]


async def test_a_fetch_is_asked_how_far_it_is_and_its_answer_calls_for_a_decision_once() -> None:
    async with world() as it:
        pod = it.has(Kind.POD, bodies.pod())
        read = ProgressRead(pod.uid, "10.0.0.7")

        for _ in range(2):
            assert not (await it.apply(read)).calls_for_decision
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        assert (it.asked, it.woken) == (["10.0.0.7"] * 2, [KEY])
        assert it.cache.snapshot(KEY).progress["pod-uid"].progress == FetchProgress(fetched_bytes=7)
        assert it.server.requests == []


async def test_pods_that_do_not_answer_hold_up_nobody() -> None:
    """In a namespace that lets nothing in, no fetch ever answers."""
    async with world() as it:
        for number in range(200):
            pod = it.has(Kind.POD, bodies.pod(f"pod-{number}", f"uid-{number}"))
            for _ in range(2):
                await it.apply(ProgressRead(pod.uid, f"10.1.0.{number}"))
        await asyncio.sleep(0)

        assert len(it.asked) == AT_ONCE


CLAIM_PATH = "/api/v1/namespaces/llm/persistentvolumeclaims/tiny-weights"


def claim(owner: str = "model-uid", of: str = "tiny", **metadata: Any) -> dict[str, Any]:
    owners = [{"kind": "MTPModel", "name": of, "uid": owner}]
    metadata = {"namespace": "llm", "name": "tiny-weights", "ownerReferences": owners, **metadata}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata}


async def test_a_claim_is_made_unless_it_is_there() -> None:
    async with world() as it:
        await it.apply(Ensure(Kind.CLAIM, claim()))
        assert it.server.writes() == [("POST", CLAIM_PATH.rpartition("/")[0])]

        assert not (await it.apply(Ensure(Kind.CLAIM, claim()))).calls_for_decision
        it.server.put(CLAIM_PATH, claim("other", of="other"))
        with pytest.raises(NameTakenError, match="tiny-weights exists already"):
            await it.apply(Ensure(Kind.CLAIM, claim()))


@pytest.mark.parametrize(
    "left", [claim("old-uid"), claim("model-uid", deletionTimestamp="2026-01-01T00:00:00Z")], ids=["owner", "deleted"]
)
async def test_a_claim_that_a_deleted_model_left_is_waited_for(left: dict[str, Any]) -> None:
    async with world() as it:
        it.server.put(CLAIM_PATH, left)

        with pytest.raises(BeingDeletedError, match="is still being deleted"):
            await it.apply(Ensure(Kind.CLAIM, claim()))

        del it.server.objects[CLAIM_PATH]
        assert (await it.apply(Ensure(Kind.CLAIM, claim()))).writes == ["create PersistentVolumeClaim/tiny-weights"]


async def test_an_empty_plan_sends_nothing() -> None:
    async with world() as it:
        assert not (await it.try_(Plan(wake_after_seconds=5))).calls_for_decision
        assert it.server.requests == []
