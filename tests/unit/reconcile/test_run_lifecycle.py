"""When a run begins, is given up, answers again, and is deleted."""

from __future__ import annotations

import pytest

from .givens import model_body
from .world import World


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
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSettings")
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
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
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
    assert next(one for one in conditions if one["type"] == "Ready")["reason"] == "UnmanagedRun"
    assert "verdict" not in world.runs["gemma-by-hand"]["status"]


def test_history_keeps_the_newest_and_drops_what_is_old_even_without_the_model() -> None:
    world = World()
    for request in range(5):
        world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": request})
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
        world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": request, "historyLimit": 20})
        world.finish()
        world.tick(60)
    world.model = None
    world.settle()
    assert len(world.runs) == 6
