"""Objects that cannot be read: each is set aside by itself, told, and freezes nothing."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.reconcile.observed import Kind
from mtp_operator.reconcile.plan import Delete, StatusUpdate

from .givens import model_body, planned
from .world import World

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    float("nan"),
    "",
    "nonsense",
    "\ud800",
    "x" * 5000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "2026-01-01T00:00:00",
    "2026-13-01T00:00:00Z",
    [],
    [None],
    {},
    {"a": {"b": None}},
)

Path = tuple[str | int, ...]

IDENTITY: tuple[Path, ...] = (("metadata",), *(("metadata", name) for name in ("namespace", "name", "uid")))
"""What an object is found by: the API server vouches for it."""


def paths(body: Any, here: Path = ()) -> Iterator[Path]:
    """Every place in a body."""
    items: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(body, Mapping):
        items = iter(body.items())
    elif isinstance(body, list):
        items = iter(enumerate(body))
    for name, value in items:
        yield (*here, name)
        yield from paths(value, (*here, name))


def spoil(body: dict[str, Any], path: Path, *odd: Any) -> None:
    """Replaces what is at a place, or removes it where nothing is given instead."""
    *parents, last = path
    at: Any = body
    for name in parents:
        at = at[name]
    if odd:
        at[last] = copy.deepcopy(odd[0])
    else:
        del at[last]


@functools.cache
def _fetching() -> World:
    world = World(model_body(model={"uri": "hf://google/gemma"}, storage={"newClaim": {"size": "50Gi"}}))
    world.settle()
    world.start_fetch(world.open_job())
    world.settle()
    return world


@functools.cache
def _fetched() -> World:
    world = copy.deepcopy(_fetching())
    world.end_fetch(next(iter(world.pods.values())), 0, '{"fetched": [], "totalBytes": 7}', "Complete")
    return world


@functools.cache
def _measuring() -> World:
    """A second run is going on while the choice of the first one is served."""
    world = World(model_body(serving={"replicas": 2}))
    world.finish()
    world.settle()
    world.replace_servers()
    world.settle()
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()
    world.run_trial()
    world.settle()
    world.start_pod(world.open_job())
    world.settle()
    return world


@functools.cache
def _measured() -> World:
    world = copy.deepcopy(_measuring())
    world.end_trial()
    return world


def trial_pods(world: World) -> list[dict[str, Any]]:
    return [pod for pod in world.pods.values() if pod not in world.servers()]


WHERE: dict[str, tuple[Callable[[], World], Callable[[World], dict[str, Any]]]] = {
    "a fetch's pod": (_fetching, lambda world: trial_pods(world)[0]),
    "a fetch's pod that has ended": (_fetched, lambda world: trial_pods(world)[0]),
    "a fetch's Job": (_fetching, lambda world: next(iter(world.jobs.values()))),
    "a trial's pod": (_measuring, lambda world: trial_pods(world)[-1]),
    "a trial's pod that has ended": (_measured, lambda world: trial_pods(world)[-1]),
    "a trial's Job": (_measuring, lambda world: world.open_job()),
    "a trial's Job that has ended": (_measured, lambda world: list(world.jobs.values())[-1]),
    "a server's pod": (_measuring, lambda world: world.servers()[0]),
    "the run with the choice": (_measuring, lambda world: next(iter(world.runs.values()))),
    "the run that goes on": (_measuring, lambda world: list(world.runs.values())[-1]),
    "the Deployment": (_measuring, lambda world: world.deployment()),
    "the model": (_measuring, lambda world: world.model or {}),
}


@pytest.mark.parametrize("where", WHERE)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_is_in_an_object_its_model_is_decided_and_told(where: str, data: st.DataObject) -> None:
    make, find = WHERE[where]
    world = copy.deepcopy(make())
    body = find(world)
    places = [path for path in paths(body) if path not in IDENTITY]
    spoil(body, data.draw(st.sampled_from(places)), *data.draw(st.lists(st.sampled_from(ODD), max_size=1)))

    plan = world.plan()

    for aside in world.observed().unreadable:
        told = [update for update in planned(plan, StatusUpdate) if update.target.kind is Kind.MODEL]
        assert any(aside.why[:40] in str(condition.get("message")) for condition in told[-1].status["conditions"])
        assert aside.reference not in [delete.target for delete in planned(plan, Delete)]


def test_a_run_that_a_newer_version_wrote_does_not_stop_its_model_from_being_scaled() -> None:
    world = copy.deepcopy(_measuring())
    world.end_trial()
    world.finish()
    world.settle()
    old = next(iter(world.runs.values()))
    old["status"]["verdict"]["type"] = "SelectedByCanary"
    world.change_spec(serving={"replicas": 3})

    world.settle()

    assert world.deployment()["spec"]["replicas"] == 3
    assert old in world.runs.values()
    tuned = world.model_condition("Tuned")
    assert f"MTPTuningRun {old['metadata']['name']} (status.verdict.type: " in tuned["message"]
    assert tuned["status"] == "True"


def test_the_run_that_is_asked_for_is_not_made_again_while_it_cannot_be_read() -> None:
    world = copy.deepcopy(_measuring())
    run = list(world.runs.values())[-1]
    run["status"]["trials"][0]["state"] = "Thawing"

    world.settle()

    assert list(world.runs.values())[-1] is run
    tuned = world.model_condition("Tuned")
    assert tuned["reason"] == "Unreadable"
    assert "fix it or delete it" in tuned["message"]
    assert world.model_condition("Serving")["status"] == "True"


def test_a_result_that_cannot_be_is_told_and_does_not_stop_the_servers() -> None:
    world = copy.deepcopy(_measuring())
    run = list(world.runs.values())[-1]
    run["status"]["trials"][0]["levels"][0]["windows"] = ["0"]
    world.end_trial()
    world.change_spec(serving={"replicas": 3})

    world.settle()

    assert world.deployment()["spec"]["replicas"] == 3
    assert world.model_condition("Tuned")["reason"] == "Unreadable"


def test_a_trial_pod_that_cannot_be_read_is_waited_for_and_left_alone() -> None:
    world = copy.deepcopy(_measuring())
    pod = trial_pods(world)[-1]
    pod["status"]["phase"] = 7
    jobs = dict(world.jobs)

    world.settle()

    assert world.jobs == jobs
    assert f"Pod {pod['metadata']['name']} (phase: " in world.model_condition("Tuned")["message"]

    pod["status"]["phase"] = "Running"
    world.settle()
    assert world.model_condition("Tuned")["reason"] == "Tuning"


def test_a_deployment_that_cannot_be_read_loses_neither_its_service_nor_its_pods() -> None:
    world = copy.deepcopy(_measuring())
    world.deployment()["spec"]["replicas"] = "many"
    children = set(world.children)

    world.settle()

    assert set(world.children) == children
    serving = world.model_condition("Serving")
    assert (serving["status"], serving["reason"]) == ("True", "Unreadable")


def test_a_model_that_cannot_be_read_is_stalled_and_keeps_everything() -> None:
    world = copy.deepcopy(_measuring())
    assert world.model is not None
    world.model["spec"]["engine"]["type"] = "Abacus"
    world.model["metadata"]["generation"] += 1
    n_spec, children, runs = world.model["status"]["nSpec"], set(world.children), list(world.runs)

    world.settle()

    assert (world.model["status"]["nSpec"], set(world.children), list(world.runs)) == (n_spec, children, runs)
    assert world.model["status"]["observedGeneration"] == world.model["metadata"]["generation"]
    told = {type_: world.model_condition(type_) for type_ in ("Ready", "Reconciling", "Stalled")}
    assert {type_: one["status"] for type_, one in told.items()} == {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "True",
    }
    assert "engine.type" in told["Stalled"]["message"]

    world.tick(60)
    assert world.plan().actions == ()
    world.change_spec(engine={"type": "VLLM"})
    world.settle()
    assert world.model_condition("Stalled")["status"] == "False"
