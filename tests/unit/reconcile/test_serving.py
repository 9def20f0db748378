"""What is served, by whom and when, followed through a cluster in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.reconcile.observed import Kind

from .givens import SETTINGS, disqualified, model_body
from .served import PINNED, SURGE, kinds, reason, settled, status, template_n_spec, tuned, world_with
from .world import World


def test_nothing_is_served_before_the_first_choice_and_then_the_winner() -> None:
    world = world_with(SURGE)
    assert world.children == {}
    assert reason(world, "Serving") == ("False", "WaitingForTuning")
    world.finish()
    assert kinds(world) == {Kind.DEPLOYMENT, Kind.SERVICE, Kind.NETWORK_POLICY}
    assert template_n_spec(world) == 3
    assert reason(world, "Ready") == ("False", "Starting")
    assert reason(world, "Tuned") == ("True", "Selected")

    settled(world)

    assert reason(world, "Ready") == ("True", "Selected")
    assert reason(world, "Serving") == ("True", "Available")
    assert status(world)["servedNSpec"] == 3
    assert status(world)["url"] == "http://gemma.team.svc:8000/v1"
    assert status(world)["replicas"] == 1
    assert (
        status(world)["selector"]
        == "mtp-operator.dev/model=gemma,app.kubernetes.io/component=server,mtp-operator.dev/track=stable"
    )
    assert "NSpecServed" in [name for name, _ in world.events]


def test_the_baseline_serves_beside_the_trials_until_the_winner_takes_over() -> None:
    world = world_with({**SURGE, "whileTuning": "Baseline"})
    assert template_n_spec(world) == 0
    assert reason(world, "Ready") == ("False", "Tuning")
    assert reason(world, "Serving") == ("False", "Starting")
    baseline = world.start_server(ready=True)
    world.settle()
    assert reason(world, "Serving") == ("True", "Available")
    # What the spec asks to be served now is served, so that nobody who waits for Ready waits for the trials.
    assert reason(world, "Ready") == ("True", "Tuning")
    assert reason(world, "Reconciling")[0] == "False"
    assert reason(world, "Tuned") == ("False", "Tuning")

    world.finish()
    assert template_n_spec(world) == 3
    world.start_server(ready=True)
    world.settle()
    assert status(world)["servedNSpec"] == 0
    assert reason(world, "Serving") == ("True", "RollingOut")
    world.stop_server(baseline)
    world.settle()

    assert status(world)["servedNSpec"] == 3
    assert reason(world, "Serving") == ("True", "Available")


def test_a_baseline_makes_nobody_wait_for_settings_that_cannot_be_tuned() -> None:
    world = tuned({**SURGE, "whileTuning": "Baseline"})
    world.change_spec(engine={"type": "VLLM", "vllm": {"maxNumSeqs": 1, "maxModelLen": 8192}})
    world.settle()
    assert reason(world, "Reconciling")[0] == "True"

    while jobs := [job for job in world.jobs.values() if not job["status"].get("conditions")]:
        pod = world.start_pod(jobs[0])
        world.settle()
        n_spec = int(jobs[0]["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        world.end_bench(pod, 0, disqualified(n_spec, "NoDrafts", "the engine drafted nothing").encode())
        world.settle()

    assert reason(world, "Ready") == ("False", "NoDrafts")
    assert reason(world, "Stalled") == ("True", "NoDrafts")
    assert reason(world, "Serving")[0] == "True"


@pytest.mark.parametrize(
    ("spec", "n_spec"),
    [({"speculation": PINNED}, 2), ({"tuning": {"mode": "Disabled"}}, 0)],
)
def test_what_a_person_has_decided_is_served_at_once(spec: dict[str, Any], n_spec: int) -> None:
    world = world_with(SURGE, **spec)
    assert template_n_spec(world) == n_spec
    assert reason(world, "Ready") == ("False", "Starting")

    settled(world)

    assert world.model_condition("Ready")["status"] == "True"
    assert status(world)["servedNSpec"] == n_spec


def test_without_replicas_nothing_is_served_and_the_model_is_ready_when_it_is_tuned() -> None:
    world = tuned(SURGE)
    world.change_spec(serving={"replicas": 0})
    world.settle()

    assert world.children == {}
    assert reason(world, "Ready") == ("True", "Selected")
    assert reason(world, "Serving") == ("True", "ScaledToZero")


def test_a_budget_from_two_servers_on() -> None:
    world = tuned({"replicas": 2})
    assert Kind.DISRUPTION_BUDGET in kinds(world)
    world.change_spec(serving={"replicas": 1})
    world.settle()

    assert Kind.DISRUPTION_BUDGET not in kinds(world)


def test_no_network_policy_where_the_installation_wants_none() -> None:
    world = World(model_body(serving=SURGE, speculation=PINNED))
    world.settle()
    world.settings = type(SETTINGS)(**{**vars(SETTINGS), "network_policies": False})
    world.settle()

    assert kinds(world) == {Kind.DEPLOYMENT, Kind.SERVICE}


def test_a_served_model_is_left_alone() -> None:
    world = tuned({"replicas": 2})
    world.writes.clear()
    world.tick(24 * 3600)

    assert not world.step()
    assert world.writes == []


def test_scaling_neither_tunes_anew_nor_takes_newer_images() -> None:
    world = tuned(SURGE)
    world.settings = type(SETTINGS)(
        **{**vars(SETTINGS), "engine_images": {EngineType.VLLM: "vllm:2", EngineType.LLAMA_CPP: "llama:2"}}
    )
    template = world.deployment()["spec"]["template"]
    world.change_spec(serving={"replicas": 3})
    settled(world)

    assert len(world.runs) == 1
    assert world.deployment()["spec"]["replicas"] == 3
    assert world.deployment()["spec"]["template"] == template
    assert status(world)["replicas"] == 3
    assert world.model_condition("Ready")["status"] == "True"


def test_what_was_served_goes_on_while_changed_settings_are_tuned() -> None:
    world = tuned(SURGE)
    template = world.deployment()["spec"]["template"]
    world.change_spec(engine={"type": "VLLM", "image": "vllm:2", "vllm": {"maxNumSeqs": 1}})
    world.settle()

    assert world.deployment()["spec"]["template"] == template
    assert reason(world, "Ready") == ("False", "Tuning")
    assert reason(world, "Serving") == ("True", "Available")

    world.finish()
    assert "vllm:2" in json.dumps(world.deployment())


def test_tuning_the_same_settings_again_leaves_the_model_ready() -> None:
    world = tuned(SURGE)
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()

    assert len(world.jobs) == 1
    assert reason(world, "Ready") == ("True", "Tuning")


def test_settings_that_cannot_work_change_nothing_that_is_served() -> None:
    world = tuned(SURGE)
    template = world.deployment()["spec"]["template"]
    world.change_spec(speculation=PINNED, engine={"type": "VLLM", "extraArgs": ["--max-num-seqs=4"]})
    world.settle()

    assert world.deployment()["spec"]["template"] == template
    assert reason(world, "Stalled") == ("True", "InvalidSettings")


def test_a_measurement_of_the_same_settings_that_fails_leaves_a_served_model_ready() -> None:
    world = tuned({"replicas": 1})
    world.replace_servers()
    world.settle()
    chosen = status(world)["nSpec"]

    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()
    for _ in range(3):
        # A baseline that fails once is tried again, after another n.
        pod = world.start_pod(world.open_job())
        world.settle()
        world.end_bench(pod, 0, disqualified(0, "RequestsFailed", "3 of 80 requests failed").encode())
        world.settle()

    assert reason(world, "Ready")[0] == "True"
    assert reason(world, "Stalled")[0] == "False"
    assert reason(world, "Tuned") == ("False", "RequestsFailed")
    assert status(world)["nSpec"] == chosen


def test_an_upgrade_of_the_operator_restarts_no_server_whatever_is_edited_after_it() -> None:
    world = tuned({"replicas": 1})
    before = world.deployment()["spec"]["template"]
    runs = set(world.runs)

    world.settings = replace(world.settings, bench_image="operator:2", ready_seconds=77)
    world.settle()
    world.change_spec(tuning={"maxNSpec": 6, "historyLimit": 7})
    settled(world)

    assert world.deployment()["spec"]["template"] == before
    assert set(world.runs) == runs
    assert reason(world, "Ready")[0] == "True"


def test_an_edit_of_the_template_replaces_servers_and_measures_nothing() -> None:
    world = tuned({"replicas": 1})
    runs = set(world.runs)

    world.change_spec(template={"labels": {"team": "search"}})
    world.settle()
    assert reason(world, "Ready")[0] == "False"
    assert world.deployment()["spec"]["template"]["metadata"]["labels"]["team"] == "search"
    settled(world)

    assert reason(world, "Ready")[0] == "True"
    assert set(world.runs) == runs
    assert not any(not job["status"].get("conditions") for job in world.jobs.values())


@pytest.mark.parametrize("tuning", [{"suspend": True}, {"disruption": "Allowed"}, {"historyLimit": 5}, {"maxNSpec": 5}])
def test_after_an_upgrade_no_edit_but_of_the_engine_takes_the_newer_images(tuning: dict[str, Any]) -> None:
    world = tuned({"replicas": 1})
    before = status(world)["resolved"]

    newer = dict.fromkeys(world.settings.engine_images, "engine:2")
    world.settings = replace(world.settings, bench_image="operator:2", engine_images=newer)
    world.change_spec(tuning={"maxNSpec": 6, **tuning})
    world.settle()

    assert status(world)["resolved"] == before


@pytest.mark.parametrize("strategy", [{}, {"rollout": {"strategy": "InPlace"}}], ids=["Surge", "InPlace"])
@pytest.mark.parametrize(
    "edit",
    [
        {"app.kubernetes.io/component": "debug"},
        {"mtp-operator.dev/n-spec": None},
        {"mtp-operator.dev/n-spec": "three"},
        {"mtp-operator.dev/n-spec": "9" * 63},
        {"mtp-operator.dev/settings": None},
    ],
    ids=repr,
)
def test_a_servers_pod_whose_labels_are_edited_stops_no_other_and_no_decision(
    edit: dict[str, str | None], strategy: dict[str, Any]
) -> None:
    """The usual way to keep a bad pod for debugging: its ReplicaSet makes another one, or still owns this one."""
    world = tuned({"replicas": 3, **strategy})
    labels = world.servers()[0]["metadata"]["labels"]
    for name, value in edit.items():
        labels[name] = value
        if value is None:
            del labels[name]
    world.settle()

    assert world.deployment()["spec"]["replicas"] == 3
    assert reason(world, "Serving")[0] == "True" or reason(world, "Serving")[1] == "RollingOut"

    world.change_spec(serving={"replicas": 2, **strategy})
    world.settle()
    assert world.deployment()["spec"]["replicas"] == 2
    assert status(world)["observedGeneration"] == 2
