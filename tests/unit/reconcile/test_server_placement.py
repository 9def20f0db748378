"""Servers are placed on the GPU product that their n_spec was measured on."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.api.serving_record import Served, ServingRecord, Surroundings
from mtp_operator.api.template import PodTemplate
from mtp_operator.reconcile.server_placement import placed
from mtp_operator.resources.tuning_run import run_settings

from .givens import model_body
from .world import World

MEASURED = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
BASELINE = {"replicas": 1, "whileTuning": "Baseline"}


def served_on(**accelerator: Any) -> ServingRecord:
    settings = run_settings(MTPModel.from_wire(model_body(accelerator=accelerator)), "vllm:1", "operator:1")
    return ServingRecord(
        served=Served.of(settings, 3, PodTemplate()),
        surroundings=Surroundings(probe_image="operator:1", ready_seconds=60),
    )


@pytest.mark.parametrize(
    ("stated", "product", "served", "expected"),
    [
        pytest.param({}, None, None, [], id="nothing was measured, nothing is served"),
        pytest.param({}, "A", None, ["A"], id="measured"),
        pytest.param({"products": ["A", "B"]}, "A", None, ["A"], id="measured, of several that are allowed"),
        pytest.param({}, "A", {"products": ["B"]}, ["A"], id="measured on another product than is served"),
        pytest.param({}, None, {"products": ["A"]}, ["A"], id="what is served stays where it is"),
        pytest.param({}, None, {}, [], id="what is served was never placed"),
        pytest.param({"products": ["A", "B"]}, None, {"products": ["A"]}, ["A"], id="and is still allowed there"),
        pytest.param({"products": ["B"]}, None, {"products": ["A"]}, ["B"], id="and is allowed there no more"),
        pytest.param({"count": 2}, None, {"products": ["A"]}, [], id="and the GPUs are others"),
    ],
)
def test_where_a_server_is_placed(
    stated: dict[str, Any], product: str | None, served: dict[str, Any] | None, expected: list[str]
) -> None:
    asked = run_settings(MTPModel.from_wire(model_body(accelerator=stated)), "vllm:1", "operator:1")

    found = placed(asked, product, served_on(**served) if served is not None else None)

    assert list(found.accelerator.products) == expected
    assert found.replace(accelerator=asked.accelerator) == asked


def required(world: World) -> list[tuple[str, list[str]]]:
    """What the labels of a server's node must be, of product and zone."""
    affinity = world.deployment()["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [
        (one["key"], one["values"])
        for one in term["matchExpressions"]
        if one["key"] in ("nvidia.com/gpu.product", "zone")
    ]


def serving(world: World) -> World:
    world.settle()
    world.replace_servers()
    world.settle()
    return world


def test_the_winner_is_served_where_it_was_measured_and_where_the_template_says() -> None:
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [zone]}}}
    world = World(model_body(serving=BASELINE, template={"affinity": affinity}))
    world.settle()
    assert required(world) == [("zone", ["a"])]

    world.finish()

    assert required(world) == [("nvidia.com/gpu.product", [MEASURED]), ("zone", ["a"])]
    serving(world)
    assert world.model_condition("Ready")["status"] == "True"


def test_a_baseline_that_stays_is_not_restarted_for_another_place() -> None:
    world = World(model_body(serving=BASELINE))
    world.settle()
    before = world.deployment()["spec"]["template"]

    world.finish({n_spec: 57.0 - 3 * n_spec for n_spec in range(9)})

    assert world.deployment()["spec"]["template"] == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"speculation": {"method": "MTP", "nSpec": 3}}, id="a person pins what was measured"),
        pytest.param({"tuning": {"maxNSpec": 5}}, id="it is measured again"),
        pytest.param({"tuning": {"maxNSpec": 6, "suspend": True}}, id="tuning is suspended"),
    ],
)
def test_what_is_placed_is_left_alone(change: dict[str, Any]) -> None:
    world = World(model_body(serving={"replicas": 1}))
    world.finish()
    serving(world)
    before = world.deployment()["spec"]["template"]

    world.change_spec(**change)
    world.settle()

    assert world.deployment()["spec"]["template"] == before
    assert world.model_condition("Serving")["status"] == "True"
    assert world.model_condition("Ready")["status"] == "True"


@pytest.mark.parametrize("product", ["Unknown", "", "no label", "x" * 64])
def test_a_product_that_no_label_can_name_places_nothing(product: str) -> None:
    world = World(model_body(serving={"replicas": 1}))
    world.finish()
    world.run()["status"]["observed"]["gpuProduct"] = product
    world.children.clear()

    world.settle()

    assert required(world) == []


def test_a_server_of_a_version_that_placed_none_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(model_body(serving={"replicas": 1}))
    with monkeypatch.context() as before_the_upgrade:
        before_the_upgrade.setattr("mtp_operator.reconcile.serving.placed", lambda settings, *_: settings)
        world.finish()
        serving(world)
    before = world.deployment()["spec"]["template"]

    world.settle()
    assert world.deployment()["spec"]["template"] == before

    assert world.model is not None
    world.change_spec(tuning={**world.model["spec"]["tuning"], "historyLimit": 5})
    world.settle()
    assert world.deployment()["spec"]["template"] == before
    assert world.model_condition("Ready")["status"] == "True"
