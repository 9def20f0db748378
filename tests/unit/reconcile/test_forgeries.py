"""Objects that others have made look like the operator's own: none of them is adopted, and none stops a model."""

import copy
import json
from typing import Any

import pytest

from mtp_operator.api.conditions import format_time
from mtp_operator.api.fetch import FetchResult
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.resources.labels import COMPONENT_LABEL, MANAGED_BY_LABEL, MANAGER, MODEL_LABEL, SERVER

from .givens import model_body, result
from .world import World

COMMIT = "a" * 40
EVIL_IMAGE = "evil.example/forged-bench:1"


def wanted_run(**changes: Any) -> dict[str, Any]:
    """The run that the model will ask for, as somebody can compute it beforehand; then with changes in its spec."""
    world = World()
    world.settle()
    run = copy.deepcopy(world.run())
    run["metadata"] = {**run["metadata"], "uid": "uid-forged", "ownerReferences": []}
    run["spec"] |= changes
    run["status"] = {"observedGeneration": -1}
    return run


CHANGES = [
    {},
    {"benchImage": EVIL_IMAGE},
    {"weightsClaim": "somebody-elses"},
    {"model": {"uri": "pvc://somebody-elses-claim/x"}},
    {"budget": {"maxTrials": 60, "maxGPUMinutes": 9999}},
]


def squatted(run: dict[str, Any]) -> World:
    world = World()
    world.runs[run["metadata"]["name"]] = run
    world.settle()
    return world


@pytest.mark.parametrize("changes", CHANGES, ids=repr)
def test_a_run_without_an_owner_starts_no_trial(changes: dict[str, Any]) -> None:
    world = squatted(wanted_run(**changes))

    assert world.jobs == {}
    stalled = world.model_condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "UnmanagedRun")
    name = world.run()["metadata"]["name"]
    assert name in stalled["message"]

    del world.runs[name]
    world.finish()
    assert world.model_condition("Ready")["status"] == "True"


@pytest.mark.parametrize("changes", CHANGES[1:], ids=repr)
def test_a_run_that_only_names_the_model_as_its_owner_decides_nothing(changes: dict[str, Any]) -> None:
    forged = wanted_run(**changes)
    forged["metadata"]["ownerReferences"] = [{"kind": "MTPModel", "uid": "uid-gemma", "controller": True}]

    world = squatted(forged)

    jobs = json.dumps(list(world.jobs.values()))
    assert EVIL_IMAGE not in jobs
    assert "somebody-elses" not in jobs
    verdict = world.runs[forged["metadata"]["name"]]["status"].get("verdict", {})
    assert verdict.get("type") == "Superseded" or world.model_condition("Stalled")["status"] == "True"


def test_a_choice_that_nobody_has_measured_is_not_served() -> None:
    forged = wanted_run()
    forged["status"] |= {
        "completedAt": "2026-11-01T08:30:00Z",
        "verdict": {"type": "Selected", "nSpec": 6, "speedup": "9.00", "reason": "Selected", "message": "trust me"},
    }

    world = squatted(forged)

    assert world.model is not None
    assert world.model["status"].get("nSpec") is None
    assert world.children == {}


def stranger(job_uid: str | None = None, **labels: str) -> dict[str, Any]:
    owners = [] if job_uid is None else [{"kind": "Job", "uid": job_uid, "controller": True}]
    return {
        "metadata": {
            "name": "stranger",
            "uid": "uid-stranger",
            "creationTimestamp": "2026-11-01T09:00:30Z",
            "labels": {MANAGED_BY_LABEL: MANAGER, MODEL_LABEL: "gemma", **labels},
            "ownerReferences": owners,
        },
        "spec": {"containers": []},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    "pod",
    [
        stranger(),
        stranger(**{COMPONENT_LABEL: SERVER}),
        stranger(**{COMPONENT_LABEL: SERVER, "mtp-operator.dev/n-spec": "abc"}),
        {**stranger(), "status": {"phase": ["Running"], "conditions": 7}},
        {**stranger(), "metadata": {**stranger()["metadata"], "ownerReferences": "nobody"}},
        {**stranger(), "metadata": {**stranger()["metadata"], "ownerReferences": [{"kind": "Pod", "uid": "x"}]}},
    ],
    ids=range(6),
)
def test_a_pod_with_the_operators_labels_and_no_controller_stops_nothing(pod: dict[str, Any]) -> None:
    world = World()
    world.pods["stranger"] = pod

    world.finish()

    assert world.model is not None
    assert world.model["status"]["nSpec"] == 3


def test_a_pod_that_calls_a_trials_job_its_controller_is_not_believed() -> None:
    world = World()
    world.settle()
    job = world.open_job()
    true = world.start_pod(job)
    world.settle()
    world.tick(5)
    forged = world.start_pod(job)
    state = {"exitCode": 0, "message": result(0, 1.0).encode(), "finishedAt": "2026-11-01T09:00:06Z"}
    forged["status"]["containerStatuses"][0]["state"] = {"terminated": state}
    forged["status"]["phase"] = "Succeeded"
    world.settle()
    assert world.run()["status"]["trials"][0]["state"] == "Running"

    world.tick(30)
    world.end_bench(true, 0, result(0, 57.0).encode())
    world.settle()

    assert world.run()["status"]["trials"][0]["outputTokensPerSecond"].startswith("57")


def test_a_pod_that_a_trial_waits_for_is_named() -> None:
    world = World()
    hanging = stranger("uid-of-a-job-that-is-gone")
    hanging["metadata"]["deletionTimestamp"] = "2026-11-01T09:00:31Z"
    world.pods["stranger"] = hanging
    world.tick(300)
    world.settle()

    assert world.jobs == {}
    told = world.model_condition("Ready")
    assert told["reason"] == "WaitsForPod"
    assert "pod stranger" in told["message"]


def test_a_pod_that_hangs_on_a_dead_node_stalls_and_says_what_to_do() -> None:
    world = World()
    hanging = stranger("uid-of-a-job-that-is-gone")
    hanging["metadata"]["deletionTimestamp"] = format_time(world.now)
    hanging["spec"]["nodeName"] = "node-dead"
    world.pods["stranger"] = hanging
    world.tick(299)
    world.settle()
    assert world.model_condition("Stalled")["status"] == "False"
    wake = world.plan().wake_after_seconds
    assert wake is not None
    assert wake <= 60

    world.tick(1)
    world.settle()
    stalled = world.model_condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "WaitsForPod")
    assert "pod stranger" in stalled["message"]
    assert "node node-dead does not respond" in stalled["message"]
    assert "Delete the node, or force-delete the pod" in stalled["message"]


def fetching() -> World:
    world = World(
        model_body(model={"uri": "hf://llm/tiny", "revision": COMMIT}, storage={"newClaim": {"size": "10Gi"}})
    )
    world.settle()
    return world


def source(uri: str, revision: str = COMMIT) -> FetchedSource:
    return FetchedSource(uri=uri, revision=revision)


@pytest.mark.parametrize(
    "fetched",
    [
        (),
        (source("hf://llm/other"),),
        (source("hf://llm/tiny", "b" * 40),),
        (source("hf://llm/tiny"), source("hf://llm/tiny")),
    ],
    ids=range(4),
)
def test_a_fetch_of_something_else_is_not_served(fetched: tuple[FetchedSource, ...]) -> None:
    world = fetching()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 0, FetchResult(fetched=fetched).to_json(), job_ends="Failed")
    world.settle()

    told = world.model_condition("WeightsReady")
    assert (told["status"], told["reason"]) == ("False", "ResultImplausible")


@pytest.mark.parametrize(
    "message",
    [
        '{"version":1,"fetched":[{"uri":"hf://llm/tiny","revision":"../../../cache/0123456789abcdef"}]}',
        '{"version":1,"fetched":[{"uri":"hf://llm/tiny/../..","revision":"' + COMMIT + '"}]}',
        '{"version":1,"totalBytes":' + "9" * 400 + "}",
        "[" * 2000,
    ],
    ids=range(4),
)
def test_a_fetchs_word_that_is_no_path_is_no_result(message: str) -> None:
    world = fetching()
    pod = world.start_fetch(world.open_job())
    world.end_fetch(pod, 0, message, job_ends="Failed")
    world.settle()

    told = world.model_condition("WeightsReady")
    assert (told["status"], told["reason"]) == ("False", "FetchFailed")


def test_a_trials_pod_is_locked_in_before_it_is_made_and_stays_so() -> None:
    world = World()
    world.finish()

    (policy,) = world.trials_policies.values()
    assert policy["metadata"]["name"] == "gemma-trials"
    assert (policy["spec"]["ingress"], policy["spec"]["egress"]) == ([], [])
