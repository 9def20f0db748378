"""Weights are fetched before anything is tried, once, and a model says how far they are."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from mtp_operator.api.fetch import FetchFailure, FetchProgress, FetchResult, FetchStage
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.reconcile.observed import SeenProgress
from mtp_operator.reconcile.plan import ProgressRead

from .givens import model_body, planned
from .world import World

COMMIT = "c" * 40
MODEL = "hf://google/gemma"
DRAFTER = "hf://google/gemma-assistant"


def model(**spec: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": {"uri": MODEL}, "storage": {"newClaim": {"size": "100Gi"}}, **spec}
    return model_body(**fields)


def fetched(*uris: str) -> str:
    sources = tuple(FetchedSource(uri=uri, revision=COMMIT) for uri in uris or (MODEL,))
    return FetchResult(fetched=sources, total_bytes=28_000_000_000).to_json()


def failed(reason: str, message: str) -> str:
    return FetchResult(failure=FetchFailure(reason=reason, message=message)).to_json()


def status(world: World) -> dict[str, Any]:
    assert world.model is not None
    answer: dict[str, Any] = world.model["status"]
    return answer


def fetch(world: World) -> None:
    """The open Job runs to a good end."""
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.settle()
    world.end_fetch(pod, 0, fetched(), "Complete")
    world.settle()


def test_trials_wait_for_the_weights_and_use_the_commit_that_was_fetched() -> None:
    world = World(model())
    world.settle()

    job = world.open_job()
    assert job["metadata"]["name"].startswith("gemma-fetch-")
    assert world.claims["gemma-weights"]["spec"]["resources"] == {"requests": {"storage": "100Gi"}}
    assert world.runs == {}
    assert world.model_condition("WeightsReady")["status"] == "False"
    assert world.model_condition("Ready")["reason"] == "Fetching"

    fetch(world)
    assert world.model_condition("WeightsReady")["status"] == "True"
    assert status(world)["weights"]["fetched"] == [{"uri": MODEL, "revision": COMMIT}]
    assert world.run()["spec"]["model"] == {
        "uri": MODEL,
        "revision": COMMIT,
        "servedName": "gemma",
        "aliases": [],
    }
    assert world.run()["spec"]["weightsClaim"] == "gemma-weights"
    assert [reason for reason, _ in world.events].count("WeightsReady") == 1
    world.finish()
    assert status(world)["nSpec"] == 3


@pytest.mark.parametrize(
    "change",
    [
        {"speculation": {"nSpec": 2}, "serving": {"replicas": 1}},
        {"tuning": {"mode": "Disabled"}, "serving": {"replicas": 1}},
        {"serving": {"replicas": 1, "whileTuning": "Baseline"}},
    ],
    ids=["pinned", "disabled", "baseline"],
)
def test_what_needs_no_measuring_is_served_once_the_weights_are_there(change: dict[str, Any]) -> None:
    world = World(model(**change))
    world.settle()
    assert world.children == {}

    fetch(world)
    (engine,) = world.deployment()["spec"]["template"]["spec"]["containers"]
    assert any(COMMIT in argument for argument in engine["args"])


def test_the_job_stays_until_its_result_is_in_the_status() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 0, fetched(), "Complete")
    world.writes.clear()
    world.settle()

    (told, *_), (gone, *_) = (
        [place for place, write in enumerate(world.writes) if write.startswith(start)]
        for start in ("status MTPModel", "delete Job gemma-fetch")
    )
    assert told < gone


def test_what_is_fetched_is_not_fetched_again() -> None:
    world = World(model())
    fetch(world)
    world.finish()
    world.writes.clear()
    world.change_spec(tuning={"maxNSpec": 4, "retuneRequest": 1})
    world.finish()

    assert not any("fetch" in write for write in world.writes)


def test_another_revision_is_fetched() -> None:
    world = World(model())
    fetch(world)
    world.finish()
    world.change_spec(model={"uri": MODEL, "revision": "d" * 40})
    world.settle()

    assert world.open_job()["metadata"]["name"].startswith("gemma-fetch-")
    assert world.model_condition("WeightsReady")["status"] == "False"


def test_a_fetch_that_nobody_asks_for_any_more_ends() -> None:
    world = World(model())
    world.settle()
    old = world.open_job()["metadata"]["name"]
    world.change_spec(model={"uri": "hf://google/other"})
    world.settle()

    assert old not in world.jobs
    assert world.open_job()["metadata"]["name"] != old


def test_a_drafter_is_fetched_by_the_same_job() -> None:
    world = World(model(speculation={"method": "DraftModel", "drafter": {"uri": DRAFTER}}))
    world.settle()
    (arguments,) = (one["args"] for one in world.open_job()["spec"]["template"]["spec"]["containers"])
    assert MODEL in arguments[-1]
    assert DRAFTER in arguments[-1]

    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 0, fetched(MODEL, DRAFTER), "Complete")
    world.settle()

    assert world.run()["spec"]["speculation"]["drafter"] == {"uri": DRAFTER, "revision": COMMIT}


def test_only_the_drafter_is_fetched_where_the_model_lies_on_a_claim() -> None:
    drafter = {"method": "DraftModel", "drafter": {"uri": DRAFTER}}
    world = World(model(model={"uri": "pvc://weights/gemma"}, speculation=drafter))
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 0, fetched(DRAFTER), "Complete")
    world.settle()

    assert world.run()["spec"]["model"] == {
        "uri": "pvc://weights/gemma",
        "servedName": "gemma",
        "aliases": [],
    }
    assert world.run()["spec"]["speculation"]["drafter"]["revision"] == COMMIT


def test_what_lies_on_a_claim_is_not_fetched() -> None:
    world = World()
    world.settle()

    assert world.model_condition("WeightsReady")["reason"] == "NoDownloadNeeded"
    assert "weights" not in status(world)
    assert list(world.runs)


def test_an_image_is_pulled_by_the_node_and_not_fetched() -> None:
    world = World(model_body(model={"uri": "oci://ghcr.io/team/gemma:1.0/fp8"}))
    world.settle()

    cached = world.model_condition("WeightsReady")
    assert (cached["status"], cached["reason"]) == ("True", "PulledByNode")
    assert cached["message"].startswith("ghcr.io/team/gemma:1.0: ")
    assert world.run()["spec"]["model"]["uri"] == "oci://ghcr.io/team/gemma:1.0/fp8"
    assert "weights" not in status(world)


def test_a_failure_stalls_the_model_with_its_reason() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 3, failed("GatedRepository", "hf://google/gemma is gated: accept its terms"), "Failed")
    world.settle()

    for type_ in ("Stalled", "WeightsReady"):
        condition = world.model_condition(type_)
        assert condition["reason"] == "GatedRepository"
        assert "accept its terms" in condition["message"]
    assert world.model_condition("Stalled")["status"] == "True"
    assert (
        "increase spec.tuning.retuneRequest or delete Job gemma-fetch-" in world.model_condition("Stalled")["message"]
    )
    assert ("GatedRepository", world.model_condition("Stalled")["message"]) in world.events


@pytest.mark.parametrize("mend", ["raise the request", "delete the Job"])
def test_a_failed_fetch_is_tried_again_when_a_person_says_so(mend: str) -> None:
    world = World(model())
    world.settle()
    job = world.open_job()
    pod = world.start_fetch(job)
    world.end_fetch(pod, 3, failed("ClaimFull", "the PVC is full"), "Failed")
    world.settle()
    if mend == "raise the request":
        world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    else:
        del world.jobs[job["metadata"]["name"]]
        world.pods.clear()
    world.settle()
    assert world.model_condition("Stalled")["status"] == "False"

    fetch(world)
    assert world.model_condition("WeightsReady")["status"] == "True"


def test_a_passing_failure_is_told_while_the_job_goes_on() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 1, failed("RateLimited", "the hub limits the rate of requests"))
    world.settle()
    assert world.model_condition("WeightsReady")["reason"] == "RateLimited"
    assert world.model_condition("Stalled")["status"] == "False"

    world.tick(10)
    world.start_fetch(world.open_job())
    world.settle()
    assert world.model_condition("WeightsReady")["reason"] == "Fetching"


def test_a_result_that_nobody_saw_is_looked_up_again() -> None:
    world = World(model())
    world.settle()
    job = world.open_job()["metadata"]
    world.end_job(job["name"], "Complete")
    world.settle()

    assert world.open_job()["metadata"]["uid"] != job["uid"]


def test_nothing_is_fetched_again_where_news_of_the_job_come_before_those_of_its_pod() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.settle()
    world.end_job(pod["job"], "Complete")
    world.settle()
    assert pod["job"] in world.jobs

    world.end_fetch(pod, 0, fetched())
    world.settle()
    assert world.model_condition("WeightsReady")["status"] == "True"
    assert pod["job"] not in world.jobs


def test_progress_is_asked_for_and_written_at_most_every_30_seconds() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.settle()
    plan = world.plan()
    (read,) = planned(plan, ProgressRead)
    assert (read.uid, read.address) == (pod["metadata"]["uid"], "10.0.0.7")

    said = FetchProgress(
        stage=FetchStage.FETCHING,
        fetched_bytes=7_000_000_000,
        total_bytes=28_000_000_000,
        bytes_per_second=100_000_000,
    )
    world.progress[read.uid] = SeenProgress(world.now, said)
    world.settle()
    assert status(world)["weights"] | {"requestHash": ""} == {
        "requestHash": "",
        "claim": "gemma-weights",
        "fetched": [],
        "fetchedBytes": 7_000_000_000,
        "totalBytes": 28_000_000_000,
        "bytesPerSecond": 100_000_000,
        "remainingSeconds": 210,
    }
    message = world.model_condition("WeightsReady")["message"]
    assert message == f"fetching {MODEL}: 7.0 of 28.0 GB (25%), 100 MB/s, about 3m30s left"

    world.tick(29)
    assert planned(world.plan(), ProgressRead) == []
    assert world.plan().wake_after_seconds == pytest.approx(1)
    assert world.plan().actions == ()
    world.tick(1)
    assert planned(world.plan(), ProgressRead) == [read]


def test_a_pod_that_does_not_answer_hinders_nothing() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job())
    world.progress[pod["metadata"]["uid"]] = SeenProgress(world.now + timedelta(seconds=1), None)
    world.settle()

    assert world.model_condition("WeightsReady")["message"] == f"fetching {MODEL}: under way"


def test_a_claim_that_is_not_there_is_told_by_its_field() -> None:
    world = World(model(storage={"existingClaim": "nowhere"}))
    world.settle()
    assert world.claims == {}
    waiting = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": 'persistentvolumeclaim "nowhere" not found',
    }
    pod = world.start_fetch(world.open_job(), containerStatuses=[], phase="Pending", conditions=[waiting])
    del pod["spec"]["nodeName"]
    world.settle()

    assert world.model_condition("Stalled")["reason"] == "ClaimUnusable"
    assert "spec.storage" in world.model_condition("Stalled")["message"]


def test_a_claim_in_use_on_another_node() -> None:
    world = World(model())
    world.settle()
    pod = world.start_fetch(world.open_job(), containerStatuses=[], phase="Pending")
    refusal = {"reason": "FailedAttachVolume", "message": 'Multi-Attach error for volume "pv-1"'}
    world.event_snapshots[pod["metadata"]["uid"]] = (world.now, [copy.deepcopy(refusal)])
    world.settle()

    assert world.model_condition("Stalled")["reason"] == "ClaimOnAnotherNode"
    assert "ReadWriteMany" in world.model_condition("Stalled")["message"]


def test_settings_that_an_engine_refuses_are_not_fetched_for() -> None:
    world = World(model(engine={"type": "VLLM", "extraArgs": ["--max-num-seqs=4"]}))
    world.settle()

    assert world.jobs == {}
    assert world.model_condition("Stalled")["reason"] == "InvalidSettings"


def test_a_pinned_model_is_ready_once_its_weights_are_there() -> None:
    world = World(model(speculation={"nSpec": 3}))
    world.settle()
    assert world.model_condition("Ready")["status"] == "False"

    fetch(world)
    assert world.model_condition("Ready")["status"] == "True"
    assert status(world)["nSpec"] == 3
