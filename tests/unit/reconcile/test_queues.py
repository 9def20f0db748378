"""Trials whose Jobs a queue, such as Kueue, starts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mtp_operator.api.conditions import format_time
from mtp_operator.reconcile.plan import Create, Delete, EventsRead, StopTrial
from mtp_operator.resources.labels import QUEUE_LABEL

from .givens import NODE, UNSCHEDULABLE, model_body, planned
from .world import World

QUEUED = {"maxNSpec": 6, "queueName": "gpus"}


def queued(**spec: Any) -> World:
    """A model whose first trial is in the queue."""
    world = World(model_body(tuning=QUEUED, **spec))
    world.settle()
    return world


def resume(job: dict[str, Any]) -> None:
    """The queue lets the Job run."""
    job["spec"]["suspend"] = False


def test_a_job_is_made_for_the_queue_and_left_to_it() -> None:
    world = queued()
    job = world.open_job()
    assert job["metadata"]["labels"][QUEUE_LABEL] == "gpus"
    assert job["spec"]["suspend"] is True
    assert QUEUE_LABEL not in job["spec"]["template"]["metadata"]["labels"]

    world.writes.clear()
    resume(job)
    world.start_pod(job)
    world.settle()

    assert job["spec"]["suspend"] is False
    assert not [write for write in world.writes if "Job" in write]


@pytest.mark.parametrize("waits", [timedelta(seconds=20), timedelta(hours=3), timedelta(days=40)])
def test_a_queued_trial_waits_as_long_as_it_takes_and_nobody_is_called(waits: timedelta) -> None:
    world = queued()
    world.tick(waits.total_seconds())
    plan = world.plan()
    world.settle()

    for condition in ("Ready", "Reconciling"):
        assert world.model_condition(condition)["reason"] == "Queued"
    assert world.model_condition("Stalled")["status"] == "False"
    assert planned(plan, EventsRead) == []
    assert plan.wake_after_seconds is None
    assert world.run()["status"]["counters"]["lost"] == 0


def test_a_trial_that_is_taken_back_into_the_queue_is_not_lost() -> None:
    world = queued()
    resume(world.open_job())
    world.run_trial()
    world.settle()
    job = world.open_job()
    resume(job)
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}]
    pod = world.start_pod(job, phase="Pending", conditions=conditions, containerStatuses=[])
    world.settle()

    job["spec"]["suspend"] = True
    pod["metadata"]["deletionTimestamp"] = format_time(world.now)
    pod["spec"].pop("nodeName")
    world.nodes = []
    world.tick(7200)
    world.settle()
    assert world.model_condition("Ready")["reason"] == "Queued"
    assert world.model_condition("Stalled")["status"] == "False"

    world.nodes = [NODE]
    world.pods.clear()
    resume(job)
    world.finish()
    status = world.run()["status"]
    assert (status["verdict"]["nSpec"], status["counters"]["lost"]) == (3, 0)
    assert "Invalidated" not in {trial["state"] for trial in status["trials"]}


def crashed(world: World) -> None:
    """The engine has failed for certain, and then the queue takes the Job back."""
    job = world.open_job()
    resume(job)
    pod = world.start_pod(job)
    dead = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": format_time(world.now)}}
    pod["status"]["initContainerStatuses"][0] |= {"restartCount": 3, "lastState": dead}
    world.step()
    job["spec"]["suspend"] = True
    world.pods.clear()


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(lambda world: world.change_spec(tuning={**QUEUED, "suspend": True}), id="tuning is suspended"),
        pytest.param(lambda world: world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1}), id="another run"),
        pytest.param(lambda world: world.change_spec(tuning={"maxNSpec": 6}), id="no queue any more"),
        pytest.param(crashed, id="the engine crashed before"),
    ],
)
def test_a_queued_trial_that_ends_is_deleted_because_no_deadline_ends_it(ends: Any) -> None:
    world = queued()
    name = world.open_job()["metadata"]["name"]
    uid = world.open_job()["metadata"]["uid"]

    ends(world)
    ended: list[str] = []
    deleted: list[str] = []
    for _ in range(10):
        plan = world.plan()
        deleted += [action.target.name for action in planned(plan, Delete) if action.target.uid == uid]
        if world.jobs.get(name, {}).get("spec", {}).get("suspend"):
            ended += [action.target.name for action in planned(plan, StopTrial)]
        world.step()

    assert deleted == [name]
    assert ended == []


def test_a_run_without_a_measurement_starts_again_in_the_queue_that_is_named_now() -> None:
    world = World()
    world.settle()
    assert QUEUE_LABEL not in world.open_job()["metadata"]["labels"]

    world.change_spec(tuning=QUEUED)
    world.settle()

    assert world.open_job()["metadata"]["labels"][QUEUE_LABEL] == "gpus"


def test_a_queue_is_no_part_of_what_is_measured() -> None:
    world = World()
    world.finish()
    verdict, writes = world.run()["status"]["verdict"], len(world.writes)

    world.change_spec(tuning=QUEUED)
    world.settle()

    assert world.run()["status"]["verdict"] == verdict
    assert not planned(world.plan(), Create)
    assert not [write for write in world.writes[writes:] if "create" in write]
