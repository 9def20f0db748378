"""The GPUs and the node of a run: claimed, lost, shut, without labels."""

from __future__ import annotations

import pytest

from mtp_operator.api.run import TrialState

from .givens import NODE, UNSCHEDULABLE, model_body
from .world import World, trials


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
    assert trials(world)[0][1] == TrialState.MEASURED
    assert (world.plan().wake_after_seconds or 0) <= world.settings.node_gone_seconds
    world.tick(world.settings.node_gone_seconds)
    world.settle()
    assert {state for _, state in trials(world)[:2]} == {TrialState.INVALIDATED}
    world.pods.clear()
    for job in world.jobs.values():
        if not job["status"].get("conditions"):
            world.end_job(job["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.nodes = [NODE]
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


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
    assert trials(world)[0][1] == TrialState.MEASURED

    world.tick(1)
    world.settle()

    (first, *_) = world.run()["status"]["trials"]
    assert (first["state"] == TrialState.INVALIDATED) == goes_elsewhere
    assert ("accepts no pods any more" in first.get("message", "")) == goes_elsewhere


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
    assert trials(world)[0][1] == TrialState.MEASURED
