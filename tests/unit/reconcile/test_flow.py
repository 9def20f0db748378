"""Decisions followed to their end in a cluster in memory."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.run import TrialState

from .givens import SPEEDS, model_body, result
from .world import World, trials


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
        "WeightsReady": "True",
        "Tuned": "True",
        "Serving": "False",
    }
    assert world.jobs == {}
    assert "ownerReferences" not in world.run()["metadata"]
    assert [reason for reason, _ in world.events].count("NSpecChosen") == 1
    assert [reason for reason, _ in world.events[:3]] == ["TuningStarted", "TrialMeasured", "TrialPlanned"]


def test_baseline_is_the_first_trial_and_its_job_follows_the_plan_in_the_status() -> None:
    world = World()
    world.settle()
    (run_name,) = world.runs
    planned = world.writes.index(f"status MTPTuningRun {run_name}")
    assert planned < world.writes.index(f"create Job {run_name}-t1-a0")
    assert trials(world) == [(0, TrialState.RUNNING)]


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
    assert trials(world)[-1][1] == TrialState.PLANNED
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


SMALL = model_body(tuning={"maxNSpec": 3})


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
    assert [trial["nSpec"] for trial in disturbed.run()["status"]["trials"]] == [
        trial["nSpec"] for trial in expected.run()["status"]["trials"]
    ]
