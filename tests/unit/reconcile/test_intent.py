"""What a model wants is derived once, and one thing follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.reconcile.intent import (
    Intent,
    NotYet,
    Off,
    Pinned,
    Refused,
    Tune,
    chosen_n_spec,
    desired_state,
    fixed_n_spec,
    intent,
    why_no_trials,
)
from mtp_operator.resources.fetch_job import request_hash

from .givens import SETTINGS, model_body
from .world import World

FETCHED: dict[str, Any] = {"model": {"uri": "hf://google/gemma"}, "storage": {"newClaim": {"size": "50Gi"}}}
UNFIT: dict[str, Any] = {"engine": {"type": "VLLM", "extraArgs": ["--pipeline-parallel-size=2"]}}
PIN: dict[str, Any] = {"speculation": {"method": "MTP", "nSpec": 5}}
OFF: dict[str, Any] = {"tuning": {"mode": "Disabled"}}


def wanted(*specs: dict[str, Any], runs: tuple[MTPTuningRun, ...] = ()) -> Intent:
    spec = {name: value for one in specs for name, value in one.items()}
    return desired_state(MTPModel.from_wire(model_body(**spec)), SETTINGS, runs).intent


@pytest.mark.parametrize(
    ("specs", "kind", "n_spec", "no_trials"),
    [
        pytest.param([], Tune, None, None, id="tuned"),
        pytest.param([{"tuning": {"suspend": True}}], Tune, None, "suspended", id="suspended"),
        pytest.param([OFF], Off, 0, "disabled", id="off"),
        pytest.param([PIN], Pinned, 5, "n_spec=5 is pinned", id="pinned"),
        pytest.param([PIN, OFF], Pinned, 5, "n_spec=5 is pinned", id="a pin wins over off"),
        pytest.param([PIN, FETCHED], NotYet, None, "weights are not there", id="no weights yet"),
        pytest.param([PIN, UNFIT], Refused, None, "--pipeline-parallel-size", id="refused"),
        pytest.param([UNFIT, FETCHED], Refused, None, "--pipeline-parallel-size", id="refused before it is fetched"),
    ],
)
def test_one_thing_is_wanted(
    specs: list[dict[str, Any]], kind: type[Intent], n_spec: int | None, no_trials: str | None
) -> None:
    found = wanted(*specs)

    assert isinstance(found, kind)
    assert fixed_n_spec(found) == chosen_n_spec(found, None) == n_spec
    assert (no_trials or "") in (why_no_trials(found) or "")
    assert (no_trials is None) == (why_no_trials(found) is None)


def drafting(block_size: int | None, **speculation: Any) -> Intent:
    """What is wanted once a DSpark checkpoint has been fetched, whose config.json states this block."""
    body = model_body(**FETCHED, speculation={"method": "DSpark", **speculation})
    source = {"uri": "hf://google/gemma", "revision": "a" * 40, "blockSize": block_size}
    asked = request_hash(MTPModel.from_wire(body))
    body["status"]["weights"] = {"requestHash": asked, "claim": "gemma-weights", "fetched": [source]}
    return desired_state(MTPModel.from_wire(body), SETTINGS, ()).intent


@pytest.mark.parametrize(
    ("block_size", "speculation", "why"),
    [
        pytest.param(5, {}, None, id="the checkpoint says it"),
        pytest.param(None, {"blockSize": 5}, None, id="the spec says it"),
        pytest.param(4, {"blockSize": 5, "nSpec": 5}, None, id="the spec knows better"),
        pytest.param(None, {}, "spec.speculation.blockSize: must be set", id="nobody says it"),
        pytest.param(None, {"nSpec": 3}, None, id="nobody has to: it is pinned"),
        pytest.param(5, {"nSpec": 6}, "spec.speculation.nSpec: must be at most 5", id="a pin above it"),
    ],
)
def test_a_drafter_of_blocks_drafts_no_more_than_one(
    block_size: int | None, speculation: dict[str, Any], why: str | None
) -> None:
    found = drafting(block_size, **speculation)

    assert isinstance(found, Refused) == (why is not None)
    assert (why or "") in (why_no_trials(found) or "")


@pytest.mark.parametrize(("block_size", "most"), [(2, 2), (4, 4), (9, 6)])
def test_no_n_above_the_block_is_measured(block_size: int, most: int) -> None:
    tuning = {"maxNSpec": 6, "firstNSpec": 6}
    world = World(model_body(speculation={"method": "DSpark", "blockSize": block_size}, tuning=tuning))

    world.finish()

    run = world.run()
    assert run["spec"]["maxNSpec"] == most
    assert max(trial["nSpec"] for trial in run["status"]["trials"]) <= most


def test_what_a_run_has_found_stands_while_tuning_is_suspended() -> None:
    world = World()
    world.finish()
    world.change_spec(tuning={"maxNSpec": 6, "suspend": True})
    run = MTPTuningRun.from_wire(world.run())
    assert world.model is not None
    found = desired_state(MTPModel.from_wire(world.model), SETTINGS, [run]).intent

    assert chosen_n_spec(found, run) == 3
    assert why_no_trials(found) is not None


def test_a_run_that_was_given_up_is_followed_by_another_of_the_same_settings() -> None:
    world = World()
    world.settle()
    first = wanted({"tuning": {"maxNSpec": 6}}, runs=(MTPTuningRun.from_wire(world.run()),))
    world.change_spec(tuning={"maxNSpec": 6, "suspend": True})
    world.settle()
    second = wanted({"tuning": {"maxNSpec": 6}}, runs=(MTPTuningRun.from_wire(world.run()),))

    assert isinstance(first, Tune)
    assert isinstance(second, Tune)
    assert (first.epoch, second.epoch) == (0, 1)
    assert first.run_name == world.run()["metadata"]["name"] != second.run_name


def test_what_a_file_wants_needs_no_cluster() -> None:
    model = MTPModel.from_wire(model_body(**PIN))
    asked = desired_state(model, SETTINGS, ())

    assert intent(model, asked.settings) == asked.intent
