"""tuning.mode Advisory: what is measured is reported, and what the spec states is served."""

from __future__ import annotations

from typing import Any

import pytest

from .givens import model_body
from .served import SURGE, reason, settled, status, template_n_spec
from .world import World

ADVISORY = {"mode": "Advisory", "maxNSpec": 6}


def advised(**spec: Any) -> World:
    """An advisory model that has been measured: n=3 is the fastest."""
    world = World(model_body(serving=SURGE, tuning=ADVISORY, **spec))
    world.settle()
    settled(world)
    world.finish()
    return world


def test_what_the_spec_states_is_served_and_ready_while_it_is_measured() -> None:
    world = World(model_body(serving=SURGE, tuning=ADVISORY))
    world.settle()
    assert template_n_spec(world) == 0

    settled(world)

    assert reason(world, "Ready") == ("True", "Tuning")
    assert reason(world, "Tuned") == ("False", "Tuning")
    assert world.open_job()


@pytest.mark.parametrize(("speculation", "served"), [({}, 0), ({"nSpec": 5}, 5)])
def test_the_choice_is_reported_and_never_served_by_itself(speculation: dict[str, int], served: int) -> None:
    world = advised(speculation=speculation)

    assert template_n_spec(world) == served
    assert (status(world)["nSpec"], status(world)["servedNSpec"]) == (3, served)
    assert float(status(world)["speedup"]) > 2
    assert reason(world, "Ready") == ("True", "Selected")
    assert reason(world, "Tuned") == ("True", "Selected")


def test_pinning_what_was_measured_serves_it_and_measures_nothing_again() -> None:
    world = advised()
    runs = set(world.runs)

    world.change_spec(speculation={"nSpec": 3})
    settled(world)

    assert set(world.runs) == runs
    assert world.jobs == {}
    assert (status(world)["nSpec"], status(world)["servedNSpec"]) == (3, 3)
    assert reason(world, "Ready") == ("True", "Selected")


def test_a_tuning_that_fails_leaves_what_is_served_ready() -> None:
    world = World(model_body(serving=SURGE, tuning=ADVISORY))
    world.settle()
    settled(world)
    while "verdict" not in world.run()["status"]:
        world.end_bench(world.start_pod(world.open_job()), 1, "")
        world.settle()
        world.tick(3600)
        world.settle()

    assert world.run()["status"]["verdict"]["type"] == "Failed"
    assert reason(world, "Ready")[0] == "True"
    assert reason(world, "Stalled")[0] == "False"
    assert reason(world, "Tuned")[0] == "False"


def test_without_servers_it_is_ready_when_it_is_measured() -> None:
    world = World(model_body(serving={"replicas": 0}, tuning=ADVISORY))
    world.settle()
    assert reason(world, "Ready")[0] == "False"

    world.finish()

    assert reason(world, "Ready") == ("True", "Selected")
