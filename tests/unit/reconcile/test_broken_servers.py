"""Servers that do not come up."""

from __future__ import annotations

from mtp_operator.reconcile.observed import Failure, FailureReason, Lane

from .givens import SETTINGS, model_body
from .served import IN_PLACE, PINNED, SURGE, reason, settled, status, template_n_spec, tuned, world_with
from .world import World


def test_in_place_the_last_good_n_comes_back_and_the_failed_one_is_not_tried_again() -> None:
    world = world_with(IN_PLACE, speculation=PINNED)
    settled(world)
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    world.stop_server(world.servers()[0])
    crashing = world.start_server(ready=False, restarts=1, said="ValueError: no such kernel")
    world.settle()
    assert template_n_spec(world) == 5
    assert reason(world, "Serving") == ("False", "EngineCrashed")
    crashing["status"]["containerStatuses"][0]["restartCount"] = 2
    world.settle()
    assert template_n_spec(world) == 2

    settled(world)

    assert template_n_spec(world) == 2
    assert status(world)["servedNSpec"] == 2
    assert reason(world, "Serving") == ("True", "RolledBack")
    assert "n_spec=5 did not become ready" in world.model_condition("Serving")["message"]
    assert "no such kernel" in world.model_condition("Serving")["message"]
    assert reason(world, "Stalled") == ("True", "RolledBack")
    world.writes.clear()
    assert not world.step()

    world.change_spec(speculation={"method": "MTP", "nSpec": 4})
    world.settle()
    assert template_n_spec(world) == 4


def test_in_place_a_server_that_takes_too_long_is_given_up() -> None:
    world = world_with(IN_PLACE, speculation=PINNED)
    settled(world)
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    world.stop_server(world.servers()[0])
    world.start_server(ready=False)
    world.roll({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"})
    world.settle()
    assert template_n_spec(world) == 5, "the Deployment's clock began before the server had a GPU"
    assert world.plan().wake_after_seconds is not None

    world.tick(SETTINGS.ready_seconds)
    world.settle()
    assert template_n_spec(world) == 2


def test_a_server_that_kubelet_does_not_let_in_is_told() -> None:
    world = world_with(SURGE, speculation=PINNED)
    pod = world.start_server(ready=False)
    pod["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no GPU is allocatable"}
    world.settle()

    assert reason(world, "Ready") == ("False", "ServerRefused")
    message = world.model_condition("Ready")["message"]
    assert (
        f"rejects pod {pod['metadata']['name']} at admission (UnexpectedAdmissionError: no GPU is allocatable)"
        in message
    )

    world.start_server(ready=True)
    world.settle()
    assert world.model_condition("Ready")["status"] == "True"


def test_a_choice_that_fails_in_place_leaves_a_model_ready_that_is_served_with_another() -> None:
    world = tuned(IN_PLACE, tuning={"maxNSpec": 6, "disruption": "Allowed"})
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1, "disruption": "Allowed"})
    world.settle()
    world.stop_server(world.servers()[0])
    world.finish({**dict.fromkeys(range(7), 60.0), 0: 57.0, 1: 125.0})
    assert template_n_spec(world) == 1
    world.start_server(ready=False, restarts=2)
    settled(world)

    assert template_n_spec(world) == 3
    assert world.model_condition("Ready")["status"] == "True"
    assert reason(world, "Serving") == ("True", "RolledBack")


def test_by_surge_the_old_server_goes_on() -> None:
    world = world_with(SURGE, speculation=PINNED)
    settled(world)
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    world.start_server(ready=False, restarts=3, said="ValueError: no such kernel")
    world.settle()

    assert template_n_spec(world) == 5
    assert status(world)["servedNSpec"] == 2
    assert reason(world, "Serving") == ("True", "EngineCrashed")
    assert "n_spec=2 continues to serve" in world.model_condition("Serving")["message"]
    assert reason(world, "Stalled") == ("True", "EngineCrashed")


def test_reasons_of_a_server_that_does_not_start() -> None:
    world = world_with(SURGE, speculation=PINNED)
    world.roll({"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota: gpus"})
    world.settle()
    assert reason(world, "Ready") == ("False", "ServerRefused")
    assert world.model_condition("Stalled")["status"] == "False"

    pod = world.start_server(ready=False)
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    world.settle()
    assert reason(world, "Stalled") == ("True", "ImageUnavailable")

    del pod["spec"]["nodeName"]
    pod["status"]["containerStatuses"] = []
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]
    world.settle()
    assert reason(world, "Ready") == ("False", "NoNodeFits")


def test_a_second_server_that_cannot_have_the_claim_is_told_and_the_first_goes_on() -> None:
    world = settled(world_with({"replicas": 2}, speculation=PINNED))
    world.stop_server(world.servers()[-1])
    stuck = world.start_server(ready=False)
    for containers in ("initContainerStatuses", "containerStatuses"):
        stuck["status"][containers][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    attach = {"reason": "FailedAttachVolume", "message": 'Multi-Attach error for volume "pv-1"'}
    world.event_snapshots[stuck["metadata"]["uid"]] = (world.now, [attach])
    world.settle()

    assert reason(world, "Stalled") == ("True", "ClaimOnAnotherNode")
    assert world.model_condition("Serving")["status"] == "True"


def test_a_refused_write_is_told() -> None:
    world = World(model_body(serving=SURGE, speculation=PINNED))
    refusal = "Service gemma exists already and is not of this model: remove or rename it"
    world.failures[Lane.SERVING] = Failure(FailureReason.WRITE_REFUSED, refusal)
    world.step()

    assert reason(world, "Stalled") == ("True", "WriteRefused")
    assert "Service gemma exists already" in world.model_condition("Ready")["message"]
