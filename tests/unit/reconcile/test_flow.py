"""Decisions followed to their end in a cluster in memory."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.conditions import format_time
from mtp_operator.api.run import MAX_LOSSES, ArmState
from mtp_operator.api.spec import LatencyMetric
from mtp_operator.api.trial_documents import LimitCount
from mtp_operator.reconcile.records import Apply, EventsRead, Failure, FailureReason, Lane

from .world import NODE, SPEEDS, World, disqualified, model_body, planned, result


def arms(world: World) -> list[tuple[int, str]]:
    return [(arm["nSpec"], arm["state"]) for arm in world.run()["status"]["arms"]]


def test_a_model_is_tuned_and_its_evidence_outlives_it() -> None:
    world = World()
    world.finish()
    assert world.model is not None
    status = world.model["status"]
    assert status["nSpec"] == 3
    assert float(status["speedup"]) == pytest.approx(125 / 57, rel=0.05)
    assert status["outputTokensPerSecond"] == 125
    assert float(status["acceptanceLength"]) == pytest.approx(1 + 0.91 + 0.85 + 0.76, rel=0.01)
    assert status["gpuProduct"] == "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "ModelCached": "True",
        "Tuned": "True",
        "Serving": "False",
    }
    assert world.jobs == {}
    assert "ownerReferences" not in world.run()["metadata"]
    assert [reason for reason, _ in world.events].count("NSpecChosen") == 1
    assert [reason for reason, _ in world.events[:2]] == ["TuningStarted", "TrialPlanned"]


def test_baseline_is_the_first_arm_and_its_job_follows_the_plan_in_the_status() -> None:
    world = World()
    world.settle()
    (run_name,) = world.runs
    planned = world.writes.index(f"status MTPTuningRun {run_name}")
    assert planned < world.writes.index(f"create Job {run_name}-n0-b0-a0")
    assert arms(world) == [(0, ArmState.RUNNING)]


def test_a_settled_model_is_left_alone() -> None:
    world = World()
    world.finish()
    world.writes.clear()
    world.tick(24 * 3600)
    assert not world.step()
    assert world.writes == []


def test_no_trial_starts_while_a_pod_of_the_model_still_holds_a_gpu() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.settle()
    world.end_bench(pod, 0, result(0, 57).encode())
    pod["status"]["phase"] = "Running"
    world.settle()
    assert len(world.jobs) == 1
    assert arms(world)[-1][1] == ArmState.PLANNED
    pod["status"]["phase"] = "Succeeded"
    world.settle()
    assert len(world.jobs) == 2


def test_jobs_stay_as_tombstones_until_the_verdict() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    world.run_trial()
    world.settle()
    assert len(world.jobs) == 3


def test_trials_after_the_first_are_bound_to_its_node() -> None:
    world = World()
    world.settle()
    assert "node-a" not in str(world.open_job()["spec"])
    world.run_trial()
    world.settle()
    assert "node-a" in str(world.open_job()["spec"]["template"]["spec"]["affinity"])


def test_a_crashing_engine_ends_its_arm_at_once_and_harms_no_other() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    crashing = world.open_job()
    pod = world.start_pod(crashing)
    engine = pod["status"]["initContainerStatuses"][0]
    engine["restartCount"] = 1
    engine["lastState"] = {"terminated": {"exitCode": 1, "message": "ValueError: no such kernel"}}
    world.settle()
    assert crashing["spec"]["activeDeadlineSeconds"] == 1
    assert arms(world)[-1][1] == ArmState.ENDING
    pod["status"]["phase"] = "Failed"
    world.end_job(crashing["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.settle()
    failed = next(arm for arm in world.run()["status"]["arms"] if arm["state"] == ArmState.FAILED)
    assert failed["reason"] == "EngineCrashed"
    assert "code 1" in failed["message"]
    assert "no such kernel" in failed["message"]
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] != failed["nSpec"]
    assert world.run()["status"]["verdict"]["type"] == "Selected"


def test_a_pod_that_vanishes_after_its_trial_was_ended_changes_nothing() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    job = world.open_job()
    pod = world.start_pod(job)
    pod["status"]["initContainerStatuses"][0] |= {
        "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": ""}},
    }
    world.settle()
    world.pods.clear()
    world.end_job(job["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.settle()
    failed = next(arm for arm in world.run()["status"]["arms"] if arm["state"] == ArmState.FAILED)
    assert failed["reason"] == "OOMKilled"


def test_a_lost_pod_is_repeated_and_not_counted() -> None:
    world = World()
    world.settle()
    job = world.open_job()
    world.start_pod(job)
    world.settle()
    world.pods.clear()
    world.lose_trial()
    (arm,) = world.run()["status"]["arms"]
    assert (arm["attempt"], arm["jobName"][-2:]) == (1, "a1")
    assert world.run()["status"]["trials"]["lost"] == 1
    assert len(world.jobs) == 2
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def drifting(world: World) -> dict[str, Any]:
    """The open trial ends with sinking throughput; answers its arm, after everything has settled."""
    return failing(world, "Drifting", "throughput sank by 20%")


def too_slow(world: World) -> dict[str, Any]:
    """The open trial ends without enough passes."""
    return failing(world, "TooSlow", "only 1 of the 4 passes needed")


def planned_level_seconds(world: World) -> float:
    """Time of a level of the open trial."""
    (bench,) = world.open_job()["spec"]["template"]["spec"]["containers"]
    seconds: float = json.loads(bench["args"][-1].replace("$$", "$"))["levelSeconds"]
    return seconds


def failing(world: World, reason: str, message: str) -> dict[str, Any]:
    """The open trial ends with this against it; answers its arm, after everything has settled."""
    job = world.open_job()
    n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
    pod = world.start_pod(job)
    world.settle()
    world.tick(60)
    world.end_bench(pod, 0, disqualified(n_spec, reason, message).encode())
    world.settle()
    arm: dict[str, Any] = next(one for one in world.run()["status"]["arms"] if one["nSpec"] == n_spec)
    return arm


def test_a_drifting_trial_is_repeated_once_and_counts_neither_as_lost_nor_as_failed() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()

    arm = drifting(world)

    assert (arm["state"], arm["attempt"], arm["drifted"]) == ("Running", 1, 1)
    assert (arm["reason"], arm["message"]) == ("Drifting", "throughput sank by 20%")
    assert world.events[-1] == ("TrialDrifted", f"n={arm['nSpec']}: throughput sank by 20%; it is repeated")
    assert world.run()["status"]["trials"] == {"measured": 1, "failed": 0, "lost": 0, "gpuSeconds": 90}
    world.finish()
    assert world.model is not None
    assert world.model["status"]["nSpec"] == 3


def test_an_arm_that_drifts_twice_is_unstable() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    drifting(world)

    arm = drifting(world)

    assert (arm["state"], arm["reason"]) == ("Failed", "Unstable")
    assert arm["message"] == "throughput sank by 20%; so it did when it was measured before"
    assert world.run()["status"]["trials"]["failed"] == 1


def test_a_lost_attempt_in_between_does_not_make_up_for_drifting() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    drifting(world)
    world.jobs.pop(world.open_job()["metadata"]["name"])
    world.settle()
    world.tick(10)
    world.settle()

    assert drifting(world)["reason"] == "Unstable"


def test_an_arm_that_is_too_slow_is_tried_again_with_twice_the_time_before_it_counts() -> None:
    world = World()
    world.settle()
    usual = planned_level_seconds(world)

    arm = too_slow(world)

    assert (arm["state"], arm["attempt"], arm["reason"]) == ("Running", 1, "TooSlow")
    assert world.events[-1] == (
        "TrialTooSlow",
        "n=0: only 1 of the 4 passes needed; it is repeated with twice the time",
    )
    assert planned_level_seconds(world) == 2 * usual
    assert world.run()["status"]["trials"]["failed"] == 0
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def test_an_arm_that_is_too_slow_twice_has_failed() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    too_slow(world)

    arm = too_slow(world)

    assert (arm["state"], arm["reason"]) == ("Failed", "TooSlow")
    assert world.run()["status"]["trials"]["failed"] == 1


def test_a_lost_attempt_in_between_does_not_take_the_time_from_a_slow_arm() -> None:
    world = World()
    world.settle()
    usual = planned_level_seconds(world)
    too_slow(world)

    world.jobs.pop(world.open_job()["metadata"]["name"])
    world.settle()
    world.tick(10)
    world.settle()

    assert planned_level_seconds(world) == 2 * usual
    assert world.events[-1][0] == "TrialLost"
    assert drifting(world)["state"] == "Running"
    assert planned_level_seconds(world) == 2 * usual
    assert too_slow(world)["state"] == "Failed"


def test_losses_in_a_row_are_waited_out_and_told_and_end_no_run() -> None:
    """A device plugin that restarts refuses three pods in six seconds."""
    world = World()
    world.settle()
    for pause, type_ in ((10, "Reconciling"), (60, "Reconciling"), (300, "Stalled")):
        world.lose_trial(pause - 1)
        assert all(job["status"].get("conditions") for job in world.jobs.values())
        assert world.plan().wake_after_seconds == 1
        assert world.model_condition(type_)["status"] == "True"
        assert world.model_condition("Ready")["reason"] == "TrialLost"
        world.tick(1)
        world.settle()
        world.open_job()
        assert world.model_condition("Stalled")["status"] == "False"
    world.finish()

    assert world.run()["status"]["verdict"]["nSpec"] == 3
    assert world.run()["status"]["trials"]["lost"] == 3
    assert "retryAfter" not in world.run()["status"]["arms"][0]


def test_an_arm_that_is_lost_eight_times_fails() -> None:
    world = World()
    world.settle()
    for _ in range(MAX_LOSSES):
        world.lose_trial(3600)
    arm = world.run()["status"]["arms"][0]
    assert (arm["state"], arm["reason"]) == (ArmState.FAILED, "LostTooOften")


def test_a_deleted_job_is_repeated() -> None:
    world = World()
    world.settle()
    world.jobs.clear()
    world.settle()
    world.tick(10)
    world.settle()
    assert next(iter(world.jobs)).endswith("-n0-b0-a1")


def test_a_baseline_that_failed_once_is_tried_again_and_then_compared_with() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.end_bench(pod, 0, disqualified(0, "EngineFailed", "CUDA error: an illegal memory access").encode())
    world.finish()
    assert arms(world)[:3] == [(0, ArmState.FAILED), (6, ArmState.MEASURED), (0, ArmState.MEASURED)]
    verdict = world.run()["status"]["verdict"]
    assert (verdict["type"], verdict["nSpec"]) == ("Selected", 3)
    assert "n=0, failed 1 of 2 times" in verdict["message"]


def test_a_baseline_that_failed_twice_ends_the_run_with_the_engines_words() -> None:
    world = World()
    for _ in range(3):
        world.settle()
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        missing = disqualified(n_spec, "ModelMissing", "spec.model.uri: nothing at gemma in claim weights")
        world.end_bench(world.start_pod(job), 0, missing.encode())
    world.settle()
    assert [n_spec for n_spec, _ in arms(world)] == [0, 6, 0]
    assert world.run()["status"]["verdict"]["type"] == "Failed"
    stalled = world.model_condition("Stalled")
    assert stalled["status"] == "True"
    assert stalled["reason"] == "ModelMissing"
    assert "spec.model.uri" in stalled["message"]
    assert world.jobs == {}


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
    world.lookups[read.target.uid] = (world.now, [{"reason": "FailedCreate", "message": refusal}])
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
    world.change_spec(serving={"replicas": 3}, tuning={"maxNSpec": 6, "request": 1})
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


def test_devices_are_claimed_by_one_template_of_the_model() -> None:
    world = World(model_body(accelerator={"allocation": "DynamicResourceAllocation"}))

    world.finish()

    ((name, template),) = world.claim_templates.items()
    (owner,) = template["metadata"]["ownerReferences"]
    assert world.model is not None
    assert owner["uid"] == world.model["metadata"]["uid"]
    assert world.model["status"]["nSpec"] == 3
    assert name.startswith("gemma-gpu-")


def test_a_run_whose_node_is_gone_starts_over_elsewhere() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    pod = world.start_pod(world.open_job())
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending"}
    world.nodes = [{"metadata": {"name": "node-b", "labels": {}}}]
    world.settle()
    assert arms(world)[0][1] == ArmState.MEASURED
    assert (world.plan().wake_after_seconds or 0) <= world.settings.node_gone_seconds
    world.tick(world.settings.node_gone_seconds)
    world.settle()
    assert {state for _, state in arms(world)[:2]} == {ArmState.SET_ASIDE}
    world.pods.clear()
    for job in world.jobs.values():
        if not job["status"].get("conditions"):
            world.end_job(job["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.nodes = [NODE]
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


UNSCHEDULABLE = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "


@pytest.mark.parametrize(
    ("why", "goes_elsewhere"),
    [
        ("1 node(s) were unschedulable.", True),
        ("1 node(s) had untolerated taint(s).", True),
        ("1 Insufficient nvidia.com/gpu.", False),
    ],
)
def test_a_run_whose_node_is_cordoned_starts_over_elsewhere(why: str, goes_elsewhere: bool) -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE + why}
    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[waits], containerStatuses=[])
    del pod["spec"]["nodeName"], pod["status"]["startTime"]
    pod["status"]["initContainerStatuses"] = []
    world.settle()
    world.tick(3599)
    world.settle()
    assert arms(world)[0][1] == ArmState.MEASURED

    world.tick(1)
    world.settle()

    (first, *_) = world.run()["status"]["arms"]
    assert (first["state"] == ArmState.SET_ASIDE) == goes_elsewhere
    assert ("takes no pods any more" in first.get("message", "")) == goes_elsewhere


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
    assert world.run()["status"]["trials"]["lost"] == 0, "it was suspended again, and starts again"

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


def test_labels_of_a_node_that_vanish_for_a_moment_set_nothing_aside() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    pod = world.start_pod(world.open_job())
    node = pod["spec"].pop("nodeName")
    pod["status"] = {"phase": "Pending"}
    world.nodes = []
    world.tick(60)
    world.settle()
    world.nodes = [NODE]
    pod["spec"]["nodeName"] = node
    world.settle()
    assert arms(world)[0][1] == ArmState.MEASURED


def end_with_prompts(world: World, prompts_sha256: str) -> int:
    """The open trial ends well; it has read these prompts."""
    job = world.open_job()
    n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
    found = result(n_spec, SPEEDS[n_spec]).model_copy(update={"prompts_sha256": prompts_sha256})
    world.end_bench(world.start_pod(job), 0, found.encode())
    world.settle()
    return n_spec


def test_prompts_that_change_under_a_run_set_aside_what_had_the_old_ones() -> None:
    world = World()
    world.settle()
    old = [end_with_prompts(world, "0" * 64) for _ in range(2)]
    fingerprint = world.run()["status"]["fingerprint"]
    new = end_with_prompts(world, "1" * 64)
    status = world.run()["status"]
    assert [(arm["nSpec"], arm.get("reason")) for arm in status["arms"][:3]] == [
        (old[0], "PromptsChanged"),
        (old[1], "PromptsChanged"),
        (new, None),
    ]
    assert "spec.tuning.workload.prompts" in status["arms"][0]["message"]
    assert status["observed"]["promptsSha256"] == "1" * 64
    assert status["observed"]["node"] == "node-a"
    assert status["fingerprint"] != fingerprint
    assert [one for one, _ in world.events].count("ArmSetAside") == 2
    while "verdict" not in world.run()["status"]:
        end_with_prompts(world, "1" * 64)
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def test_prompts_that_are_wrong_stall_the_model_whatever_the_arm() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    message = "spec.tuning.workload.prompts.configMap: own/prompts.jsonl: line 3: prompt: must not be empty"
    pod = world.start_pod(world.open_job())
    world.end_bench(pod, 1, disqualified(8, "PromptsUnusable", message).encode())
    world.settle()
    assert world.run()["status"]["verdict"]["type"] == "Failed"
    stalled = world.model_condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "PromptsUnusable")
    assert message in stalled["message"]
    assert "increase spec.tuning.request" in stalled["message"]


def test_a_claim_with_prompts_that_does_not_exist_is_named_by_its_field() -> None:
    prompts = {"pvc": {"claim": "nowhere", "path": "a.jsonl"}}
    world = World(model_body(tuning={"maxNSpec": 6, "workload": {"prompts": prompts}}))
    world.settle()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": '0/1 nodes are available: persistentvolumeclaim "nowhere" not found.',
    }
    pod = world.start_pod(world.open_job())
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending", "conditions": [condition]}
    world.settle()
    assert world.model_condition("Ready")["reason"] == "ClaimUnusable"
    assert world.model_condition("Ready")["message"].startswith("spec.tuning.workload.prompts.pvc: ")


LIMIT = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": 800}


def tune_within_limit(world: World, exceeding: dict[int, int], requests: int = 120) -> None:
    """All trials end well; so many requests of an n take longer than the limit."""
    world.settle()
    while "verdict" not in world.run()["status"]:
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        found = result(n_spec, SPEEDS[n_spec])
        count = LimitCount(
            metric=LatencyMetric.P95_TTFT, max_milliseconds=800, requests=requests, exceeding=exceeding.get(n_spec, 0)
        )
        levels = (found.levels[0].model_copy(update={"limits": (count,)}),)
        world.end_bench(world.start_pod(job), 0, found.model_copy(update={"levels": levels}).encode())
        world.settle()


def test_an_n_that_breaks_a_limit_is_not_chosen() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    tune_within_limit(world, {3: 30})
    assert world.run()["status"]["verdict"]["nSpec"] == 4


def test_an_n_that_cannot_be_shown_to_keep_a_limit_is_not_chosen() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    tune_within_limit(world, {}, requests=20)
    assert world.run()["status"]["verdict"]["type"] != "Selected"


def test_a_limit_whose_latency_was_not_measured_fails_the_arm() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    world.finish()
    for arm in world.run()["status"]["arms"]:
        assert (arm["state"], arm["reason"]) == (ArmState.FAILED, "Unmeasurable")
    assert "spec.tuning.objective.constraints[P95TimeToFirstToken]" in world.model_condition("Stalled")["message"]


def test_interactivity_is_maximized_where_it_is_asked_for() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"maximize": "Interactivity"}}))
    world.settle()
    while "verdict" not in world.run()["status"]:
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        found = result(n_spec, SPEEDS[n_spec])
        seen = result(n_spec, 60.0 + 10 * (n_spec == 1)).levels[0].windows
        levels = (found.levels[0].model_copy(update={"interactivity": seen}),)
        world.end_bench(world.start_pod(job), 0, found.model_copy(update={"levels": levels}).encode())
        world.settle()
    assert world.run()["status"]["verdict"]["nSpec"] == 1


@pytest.mark.parametrize(
    ("change", "n_spec"),
    [
        ({"speculation": {"method": "MTP", "nSpec": 5}}, 5),
        ({"tuning": {"maxNSpec": 6, "mode": "Disabled"}}, 0),
        ({"tuning": {"maxNSpec": 6, "suspend": True}}, None),
    ],
)
def test_a_run_ends_at_once_when_nothing_shall_be_measured(change: dict[str, object], n_spec: int | None) -> None:
    world = World()
    world.settle()
    world.start_pod(world.open_job())
    world.settle()
    world.change_spec(**change)
    world.settle()
    assert world.run()["status"]["verdict"]["type"] == "Superseded"
    assert world.jobs == {}
    assert world.model is not None
    assert world.model["status"].get("nSpec") == n_spec


def test_settings_that_the_engine_refuses_start_nothing() -> None:
    world = World(model_body(engine={"type": "VLLM", "extraArgs": ["--pipeline-parallel-size=2"]}))
    world.settle()
    assert world.runs == {}
    stalled = world.model_condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "SettingsRefused")
    assert "spec.engine.extraArgs[0]: must not be --pipeline-parallel-size" in stalled["message"]


def test_a_changed_spec_supersedes_and_the_old_wish_can_be_had_again() -> None:
    world = World()
    world.settle()
    world.start_pod(world.open_job())
    world.settle()
    world.change_spec(tuning={"maxNSpec": 4})
    world.settle()
    assert sorted(
        (run["spec"]["maxNSpec"], run["status"].get("verdict", {}).get("type", "")) for run in world.runs.values()
    ) == [(4, ""), (6, "Superseded")]
    assert len(world.jobs) == 1
    world.change_spec(tuning={"maxNSpec": 6})
    world.settle()
    world.finish()
    assert world.model is not None
    assert world.model["status"]["nSpec"] == 3


def test_a_kept_run_answers_the_same_settings_without_new_trials() -> None:
    world = World()
    world.finish()
    name = world.run()["metadata"]["name"]
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    world.change_spec(speculation={"method": "MTP"})
    world.settle()
    assert world.model is not None
    assert world.model["status"]["tuningRunRef"]["name"] == name
    assert world.model["status"]["nSpec"] == 3
    assert world.jobs == {}


def test_a_new_request_measures_again_while_the_choice_stays_ready() -> None:
    world = World()
    world.finish()
    world.tick(60)
    world.change_spec(tuning={"maxNSpec": 6, "request": 1})
    world.settle()
    assert len(world.runs) == 2
    assert world.model_condition("Ready")["status"] == "True"
    assert world.model is not None
    assert world.model["status"]["nSpec"] == 3


def test_an_upgrade_of_the_operator_changes_nothing_that_is_settled() -> None:
    world = World()
    world.finish()
    world.writes.clear()
    newer = dict(world.settings.engine_images)
    world.settings = type(world.settings)(engine_images=dict.fromkeys(newer, "engine:2"), bench_image="operator:2")
    world.settle()
    assert not any(write.startswith("create") for write in world.writes)
    assert "engine:2" in world.model_condition("Tuned")["message"]


def test_a_namesakes_run_is_never_taken_for_ones_own() -> None:
    world = World()
    world.settle()
    assert world.model is not None
    world.model["metadata"]["uid"] = "uid-reborn"
    world.model["status"] = {"observedGeneration": -1}
    before = list(world.writes)
    world.settle()
    assert [write for write in world.writes[len(before) :] if "MTPModel" not in write] == []
    world.runs.clear()
    world.trials_policies.clear()
    world.jobs.clear()
    world.finish()
    assert world.model["status"]["nSpec"] == 3


def test_a_run_made_by_somebody_else_is_ignored_and_told_so() -> None:
    world = World()
    world.settle()
    stranger = {**world.run(), "metadata": {**world.run()["metadata"], "name": "gemma-by-hand", "uid": "uid-hand"}}
    stranger["status"] = {"observedGeneration": -1}
    world.runs["gemma-by-hand"] = stranger
    world.settle()
    conditions = world.runs["gemma-by-hand"]["status"]["conditions"]
    assert next(one for one in conditions if one["type"] == "Ready")["reason"] == "NotMadeByOperator"
    assert "verdict" not in world.runs["gemma-by-hand"]["status"]


def test_history_keeps_the_newest_and_drops_what_is_old_even_without_the_model() -> None:
    world = World()
    for request in range(5):
        world.change_spec(tuning={"maxNSpec": 6, "request": request})
        world.finish()
        world.tick(60)
    assert len(world.runs) == 3
    world.model = None
    world.settle()
    assert len(world.runs) == 3
    assert (world.plan().wake_after_seconds or 0) > 29 * 24 * 3600
    world.tick(31 * 24 * 3600)
    world.settle()
    assert world.runs == {}


def test_what_a_deleted_model_had_kept_is_kept_whatever_its_history_limit_was() -> None:
    world = World()
    for request in range(6):
        world.change_spec(tuning={"maxNSpec": 6, "request": request, "historyLimit": 20})
        world.finish()
        world.tick(60)
    world.model = None
    world.settle()
    assert len(world.runs) == 6


SMALL = model_body(tuning={"maxNSpec": 3})
"""Tuned in eight boots, and in a third of the time."""


def finished_with_crashes(crashes: list[int]) -> World:
    """The operator dies after the given numbers of writes, one number for each of its lives."""
    world = World(SMALL)
    lives = iter(crashes)

    def live() -> None:
        for writes in lives:
            if not world.step(writes):
                return
        world.settle()

    for _ in range(60):
        live()
        if world.run()["status"].get("verdict"):
            world.settle()
            return world
        if any(not job["status"].get("conditions") for job in world.jobs.values()):
            job = world.open_job()
            n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
            pod = world.start_pod(job)
            world.tick(30)
            world.end_bench(pod, 0, result(n_spec, SPEEDS[n_spec]).encode())
    raise AssertionError("the run does not end")


@functools.cache
def undisturbed() -> World:
    world = World(SMALL)
    world.finish()
    return world


@settings(max_examples=60)
@given(st.lists(st.integers(min_value=0, max_value=2), max_size=70))
def test_dying_after_any_write_leads_to_the_same_end(crashes: list[int]) -> None:
    disturbed = finished_with_crashes(crashes)
    expected = undisturbed()
    assert disturbed.model is not None
    assert expected.model is not None
    for field in ("nSpec", "speedup", "outputTokensPerSecond", "acceptanceLength", "tuningRunRef", "fingerprint"):
        assert disturbed.model["status"][field] == expected.model["status"][field]
    assert [arm["nSpec"] for arm in disturbed.run()["status"]["arms"]] == [
        arm["nSpec"] for arm in expected.run()["status"]["arms"]
    ]
