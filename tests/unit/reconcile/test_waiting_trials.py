"""What keeps trials from running, and how that is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtp_operator.api.conditions import format_time
from mtp_operator.reconcile.observed import Failure, FailureReason, Lane
from mtp_operator.reconcile.plan import Apply, EventsRead

from .givens import UNSCHEDULABLE, model_body, planned
from .world import World


def test_an_unavailable_image_stalls_the_model_and_a_repaired_one_goes_on() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job(), phase="Pending")
    engine = pod["status"]["initContainerStatuses"][0]
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
    engine["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    world.settle()
    assert world.model_condition("Stalled")["reason"] == "ImageUnavailable"
    assert "spec.engine.image" in world.model_condition("Ready")["message"]
    assert world.model_condition("Reconciling")["status"] == "False"
    engine["state"] = {"running": {}}
    pod["status"]["containerStatuses"][0]["state"] = {"running": {}}
    pod["status"]["phase"] = "Running"
    world.settle()
    assert world.model_condition("Stalled")["status"] == "False"


@pytest.mark.parametrize(
    ("image", "field"),
    [
        ("ghcr.io/team/gemma:1.0", "spec.model.uri"),
        ("ghcr.io/team/small:latest", "spec.speculation.drafter.uri"),
        ("ghcr.io/team/small-engine:1.0", "spec.engine.image"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_told_by_the_field_that_names_it(image: str, field: str) -> None:
    drafter = {"method": "DraftModel", "drafter": {"uri": "oci://ghcr.io/team/small"}}
    world = World(model_body(model={"uri": "oci://ghcr.io/team/gemma:1.0/fp8"}, speculation=drafter))
    world.settle()
    pod = world.start_pod(world.open_job(), phase="Pending")
    # Kubelet says the same of every container that mounts the image.
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}": not found'}}
    pod["status"]["initContainerStatuses"][0]["state"] = waiting
    pod["status"]["containerStatuses"][0]["state"] = waiting
    world.settle()

    assert world.model_condition("Stalled")["reason"] == "ImageUnavailable"
    assert world.model_condition("Ready")["message"].startswith(f"{field} cannot be pulled")


def test_a_refused_pod_is_looked_up_and_its_reason_reported() -> None:
    world = World()
    world.settle()
    job = world.open_job()
    assert planned(world.plan(), EventsRead) == []
    assert 0 < (world.plan().wake_after_seconds or 0) <= 15
    world.tick(15)
    (read,) = planned(world.plan(), EventsRead)
    assert read.target.uid == job["metadata"]["uid"]
    refusal = 'pods "x" is forbidden: exceeded quota: none'
    world.event_snapshots[read.target.uid] = (world.now, [{"reason": "FailedCreate", "message": refusal}])
    world.settle()
    assert planned(world.plan(), EventsRead) == []
    assert world.model_condition("Ready")["reason"] == "TrialRefused"
    assert refusal in world.model_condition("Ready")["message"]
    assert ("TrialRefused", world.model_condition("Ready")["message"]) in world.events
    world.tick(60)
    assert len(planned(world.plan(), EventsRead)) == 1


def test_a_refused_trial_is_told_as_such_and_does_not_hold_up_the_servers() -> None:
    world = World(model_body(serving={"replicas": 1}))
    world.finish()
    world.settle()
    world.replace_servers()
    world.settle()
    world.change_spec(serving={"replicas": 3}, tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.step()
    world.failures[Lane.TUNING] = Failure(FailureReason.WRITE_REFUSED, "403 Forbidden: POST jobs: no Jobs on Fridays")

    plan = world.plan()
    world.step()

    assert planned(plan, Apply)
    assert world.deployment()["spec"]["replicas"] == 3
    tuned, serving = world.model_condition("Tuned"), world.model_condition("Serving")
    assert (tuned["reason"], tuned["message"]) == ("WriteRefused", "403 Forbidden: POST jobs: no Jobs on Fridays")
    assert serving["reason"] != "WriteRefused"


def test_a_template_that_lets_trials_start_begins_a_run_anew_that_has_measured_nothing() -> None:
    world = World()
    world.settle()
    stuck = world.open_job()["metadata"]["uid"]

    world.change_spec(template={"runtimeClassName": "nvidia"})
    world.settle()

    job = world.open_job()
    assert job["metadata"]["uid"] != stuck
    assert job["spec"]["template"]["spec"]["runtimeClassName"] == "nvidia"
    world.finish()
    assert world.model_condition("Tuned")["status"] == "True"


def test_a_run_that_has_measured_finishes_with_the_template_it_began_with() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    uid = world.run()["metadata"]["uid"]

    world.change_spec(template={"labels": {"team": "search"}})
    world.settle()

    assert world.run()["metadata"]["uid"] == uid
    assert "team" not in world.open_job()["spec"]["template"]["metadata"]["labels"]


def test_a_trial_that_a_quota_refuses_waits_and_needs_nobody() -> None:
    world = World()
    world.failures[Lane.TUNING] = Failure(FailureReason.WRITE_REFUSED, "403 Forbidden: exceeded quota: no-jobs")
    world.step()

    assert world.model_condition("Ready")["reason"] == "WriteRefused"
    assert "exceeded quota" in world.model_condition("Ready")["message"]
    assert world.model_condition("Stalled")["status"] == "False"
    assert world.model_condition("Reconciling")["status"] == "True"

    world.failures.clear()
    world.finish()
    assert world.model_condition("Ready")["status"] == "True"


def test_an_api_server_that_keeps_failing_is_told_and_stalls_nothing() -> None:
    world = World()
    world.failures[Lane.TUNING] = Failure(FailureReason.API_SERVER_FAILING, "500 InternalError: webhook is down")
    world.step()

    assert world.model_condition("Ready")["reason"] == "APIServerFailing"
    assert "webhook is down" in world.model_condition("Tuned")["message"]
    assert world.model_condition("Stalled")["status"] == "False"


def test_a_clean_up_that_is_refused_is_told_beside_the_verdict() -> None:
    world = World()
    world.finish()
    world.settle()
    said = world.model_condition("Tuned")["message"]
    world.failures[Lane.TUNING] = Failure(FailureReason.WRITE_REFUSED, "403 Forbidden: DELETE jobs")
    world.step()

    assert world.model_condition("Ready")["status"] == "True"
    assert world.model_condition("Tuned")["message"] == f"{said}; 403 Forbidden: DELETE jobs"


def test_a_gpu_that_no_node_has_is_waited_for_with_the_reason() -> None:
    world = World(model_body(accelerator={"products": ["NVIDIA-B200"], "count": 2}))
    world.settle()
    pod = world.start_pod(world.open_job(), phase="Pending")
    del pod["spec"]["nodeName"]
    pod["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
        ],
    }
    world.settle()
    ready = world.model_condition("Ready")
    assert ready["reason"] == "NoNodeFits"
    assert "2 x nvidia.com/gpu of family blackwell of product NVIDIA-B200" in ready["message"]
    assert "0/1 nodes" in ready["message"]
    assert world.model_condition("Stalled")["status"] == "False"
    world.tick(3600)
    world.settle()
    assert world.model_condition("Stalled")["status"] == "True"


L4 = {
    "nvidia.com/gpu.product": "NVIDIA-L4",
    "nvidia.com/gpu.family": "ada-lovelace",
    "nvidia.com/gpu.count": "2",
}
B200 = {"nvidia.com/gpu.product": "NVIDIA-B200", "nvidia.com/gpu.family": "blackwell", "nvidia.com/gpu.count": "8"}
WANTED = "no node has 1 x nvidia.com/gpu of family blackwell"


@pytest.mark.parametrize(
    ("nodes", "readable", "message"),
    [
        pytest.param([], True, f"{WANTED}; found: no node with the labels of GPU Feature Discovery: 0/1", id="none"),
        pytest.param([L4], True, f"{WANTED}; found: 2 x NVIDIA-L4: 0/1", id="another one"),
        pytest.param([L4, B200, B200], True, f"{WANTED} free; found: 16 x NVIDIA-B200: 0/1", id="taken"),
        pytest.param([], False, f"{WANTED} free: 0/1", id="nodes may not be read"),
    ],
)
def test_what_was_looked_for_and_what_there_is(nodes: list[dict[str, str]], readable: bool, message: str) -> None:
    world = World()
    world.nodes = [{"metadata": {"name": f"node-{n}", "labels": labels}} for n, labels in enumerate(nodes)]
    world.settings = replace(world.settings, nodes_readable=readable)
    world.settle()
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}

    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[unschedulable], containerStatuses=[])
    pod["spec"] = {}
    world.settle()

    assert world.model_condition("Ready")["message"].startswith(message)


def test_a_trial_that_a_queue_holds_back_is_told_and_waited_for() -> None:
    world = World()
    world.settle()
    job = world.open_job()
    job["spec"]["suspend"] = True
    world.tick(7200)
    world.settle()
    queued = world.model_condition("Ready")
    assert (queued["reason"], world.model_condition("Stalled")["status"]) == ("Queued", "False")
    assert f"Job {job['metadata']['name']} is suspended" in queued["message"]

    pod = world.start_pod(job)
    pod["metadata"]["deletionTimestamp"] = format_time(world.now)
    world.settle()
    assert world.run()["status"]["counters"]["lost"] == 0, "it was suspended again, and starts again"

    world.pods.clear()
    job["spec"]["suspend"] = False
    world.settle()
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


@pytest.mark.parametrize(
    ("kubelet", "message", "stalls"),
    [
        ("ErrImagePull", "toomanyrequests: 429", False),
        ("ImagePullBackOff", "dial tcp: i/o timeout", False),
        ("ErrImagePull", 'failed to resolve "engine:1": not found', True),
        ("ErrImagePull", "401 Unauthorized: authentication required", True),
        ("InvalidImageName", "", True),
    ],
)
def test_an_image_that_may_still_come_does_not_stall_for_some_minutes(kubelet: str, message: str, stalls: bool) -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job(), phase="Pending")
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
    pod["status"]["initContainerStatuses"][0]["state"] = {"waiting": {"reason": kubelet, "message": message}}
    world.settle()
    assert world.model_condition("Ready")["reason"] == "ImageUnavailable"
    assert world.model_condition("Stalled")["status"] == str(stalls)

    wake = world.plan().wake_after_seconds
    assert wake is not None
    assert wake <= 300
    world.tick(300)
    world.settle()
    assert world.model_condition("Stalled")["status"] == "True"


@pytest.mark.parametrize(
    ("message", "is_tainted"),
    [("0/1 nodes are available: 1 node(s) had untolerated taint(s).", True), (UNSCHEDULABLE, False)],
)
def test_a_taint_is_told_with_the_field_that_tolerates_it(message: str, is_tainted: bool) -> None:
    world = World()
    world.settle()
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[waits], containerStatuses=[])
    pod["spec"] = {}
    world.settle()

    ready = world.model_condition("Ready")
    assert ready["reason"] == "NoNodeFits"
    assert message.rstrip(".") in ready["message"]
    assert ("spec.template.tolerations" in ready["message"]) is is_tainted


@pytest.mark.parametrize("message", ["pod has unbound immediate PersistentVolumeClaims", UNSCHEDULABLE])
def test_a_claim_without_a_volume_is_no_missing_gpu(message: str) -> None:
    world = World()
    world.settle()
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[waits], containerStatuses=[])
    pod["spec"] = {}
    del pod["status"]["startTime"]
    world.settle()
    reason = "ClaimUnusable" if "Claims" in message else "NoNodeFits"
    assert world.model_condition("Ready")["reason"] == reason
    assert world.model_condition("Stalled")["status"] == "False", "a volume may be being made"

    world.tick(300)
    world.settle()
    assert world.model_condition("Stalled")["status"] == str(reason == "ClaimUnusable")
