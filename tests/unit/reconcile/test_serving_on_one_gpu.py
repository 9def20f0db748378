"""Servers and trials that share one GPU."""

from __future__ import annotations

from .served import IN_PLACE, PINNED, reason, settled, tuned, world_with


def test_in_place_the_old_server_ends_before_the_new_one_starts() -> None:
    world = tuned(IN_PLACE)
    assert world.deployment()["spec"]["strategy"] == {"type": "Recreate"}
    world.change_spec(serving={**IN_PLACE, "replicas": 2})
    world.settle()

    assert world.deployment()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_in_place_the_pause_is_told() -> None:
    world = world_with(IN_PLACE, speculation=PINNED)
    settled(world)
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.servers()[0]["metadata"]["deletionTimestamp"] = "2026-11-01T10:00:00Z"
    world.settle()

    assert reason(world, "Ready") == ("False", "Replacing")
    assert "it starts when pod server-4 has ended" in world.model_condition("Serving")["message"]


def test_no_server_starts_while_a_trial_has_the_gpu() -> None:
    world = world_with(IN_PLACE)
    pod = world.start_pod(world.open_job())
    world.settle()
    world.change_spec(speculation=PINNED)
    world.settle()
    assert world.jobs == {}
    world.pods[pod["metadata"]["name"]] = pod
    world.settle()
    assert world.deployment()["spec"]["replicas"] == 0
    assert reason(world, "Serving") == ("False", "Paused")

    del world.pods[pod["metadata"]["name"]]
    world.settle()

    assert world.deployment()["spec"]["replicas"] == 1


def test_what_has_ended_for_a_trial_comes_back_when_the_tuning_has_ended() -> None:
    world = world_with(IN_PLACE)
    pod = world.start_pod(world.open_job())
    world.settle()
    world.change_spec(speculation=PINNED)
    world.settle()
    world.pods[pod["metadata"]["name"]] = pod
    world.settle()
    world.roll()
    del world.pods[pod["metadata"]["name"]]
    world.change_spec(speculation={"method": "MTP"})
    world.settle()

    assert world.deployment()["spec"]["replicas"] == 0
    assert len(world.jobs) == 1
    world.finish()
    assert world.deployment()["spec"]["replicas"] == 1


def test_tuning_waits_for_servers_that_must_not_be_disturbed() -> None:
    world = tuned(IN_PLACE)
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()

    assert world.jobs == {}
    assert reason(world, "Ready") == ("True", "WaitingForDisruption")
    assert "spec.tuning.disruption" in world.model_condition("Tuned")["message"]
    assert reason(world, "Serving") == ("True", "Available")


def test_changed_settings_that_may_not_be_tuned_want_a_person() -> None:
    world = tuned(IN_PLACE)
    world.change_spec(engine={"type": "VLLM", "image": "vllm:2"})
    world.settle()

    assert world.jobs == {}
    assert reason(world, "Stalled") == ("True", "WaitingForDisruption")
    assert reason(world, "Serving") == ("True", "Available")


def test_a_trial_starts_when_no_server_is_left_and_the_server_when_no_trial_is() -> None:
    world = tuned(IN_PLACE)
    (server,) = world.servers()
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1, "disruption": "Allowed"})
    world.settle()
    assert world.deployment()["spec"]["replicas"] == 0
    assert world.jobs == {}
    world.roll()
    world.settle()
    assert world.jobs == {}
    world.stop_server(server)
    world.settle()
    assert len(world.jobs) == 1
    assert reason(world, "Serving") == ("False", "Paused")

    world.finish()

    assert world.deployment()["spec"]["replicas"] == 1
    settled(world)
    assert reason(world, "Ready") == ("True", "Selected")


def test_a_deployment_that_is_about_to_make_a_pod_holds_the_gpu() -> None:
    world = tuned(IN_PLACE)
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1, "disruption": "Allowed"})
    del world.pods[world.servers()[0]["metadata"]["name"]]
    world.settle()
    assert world.jobs == {}
    world.roll()
    world.settle()

    assert len(world.jobs) == 1
