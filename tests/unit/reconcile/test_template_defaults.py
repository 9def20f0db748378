"""What the installation asks of all pods comes below what a model asks of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mtp_operator.api.template import PodTemplateSpec
from mtp_operator.api.template_defaults import with_template_defaults
from mtp_operator.api.validation import with_defaults

from .givens import model_body
from .world import World

SKU = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
SPOT = {"key": "spot", "operator": "Exists"}


@pytest.mark.parametrize(
    ("stated", "defaults", "expected"),
    [
        pytest.param({}, {"runtimeClassName": "nvidia"}, {"runtimeClassName": "nvidia"}, id="nothing is stated"),
        pytest.param(
            {"runtimeClassName": "crun"},
            {"runtimeClassName": "nvidia"},
            {"runtimeClassName": "crun"},
            id="stated",
        ),
        pytest.param(
            {"labels": {"team": "a", "tier": "1"}},
            {"labels": {"team": "all", "cost": "gpu"}},
            {"labels": {"team": "a", "cost": "gpu", "tier": "1"}},
            id="labels are joined",
        ),
        pytest.param(
            {"tolerations": [SPOT, SKU]}, {"tolerations": [SKU]}, {"tolerations": [SKU, SPOT]}, id="each taint once"
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "32Gi"}}},
            {"resources": {"requests": {"memory": "64Gi"}}},
            {"resources": {"limits": {"memory": "32Gi"}}},
            id="resources belong together",
        ),
        pytest.param({"sharedMemory": "8Gi"}, {}, {"sharedMemory": "8Gi"}, id="no default"),
        pytest.param(
            {}, {"readOnlyRootFilesystem": False}, {"readOnlyRootFilesystem": False}, id="a default that is false"
        ),
        pytest.param(
            {},
            {"securityContext": {"identity": "Assigned"}},
            {"securityContext": {"identity": "Assigned"}},
            id="what the API server fills in is not stated",
        ),
    ],
)
def test_a_models_own_words_stand(stated: dict[str, Any], defaults: dict[str, Any], expected: dict[str, Any]) -> None:
    # As the API server stores it, with the API's own defaults.
    stored = with_defaults(model_body(template=stated))["spec"]["template"]

    found = with_template_defaults(PodTemplateSpec.model_validate(stored), PodTemplateSpec.model_validate(defaults))

    assert found == PodTemplateSpec.model_validate(expected)


def world_with(**template: Any) -> World:
    world = World(model_body(serving={"replicas": 1}))
    world.settings = replace(world.settings, template=PodTemplateSpec.model_validate(template))
    return world


def test_trials_and_servers_get_it_and_nothing_is_measured_again() -> None:
    plain, world = world_with(), world_with(tolerations=[SPOT], runtimeClassName="nvidia", labels={"cost": "gpu"})
    plain.settle()
    world.settle()
    trial = world.open_job()["spec"]["template"]

    world.finish()

    server = world.deployment()["spec"]["template"]
    for pod in (trial, server):
        assert SPOT in pod["spec"]["tolerations"]
        assert pod["spec"]["runtimeClassName"] == "nvidia"
        assert pod["metadata"]["labels"]["cost"] == "gpu"
    assert world.run()["metadata"]["name"] == plain.run()["metadata"]["name"]
    assert world.model is not None
    assert "tolerations" not in world.model["spec"].get("template", {})


def test_resources_are_measured() -> None:
    plain, world = world_with(), world_with(resources={"requests": {"cpu": "8"}})
    plain.settle()
    world.settle()

    assert world.run()["spec"]["resources"] == {"requests": {"cpu": "8"}}
    assert world.run()["metadata"]["name"] != plain.run()["metadata"]["name"]


def test_more_labels_together_than_one_may_state_are_the_api_servers_to_refuse() -> None:
    labels = {f"team.example/{number}": "x" for number in range(32)}
    world = World(model_body(template={"labels": labels}))
    world.settings = replace(world.settings, template=PodTemplateSpec(labels={"cost": "gpu"}))

    world.settle()

    assert len(world.run()["spec"]["template"]["labels"]) == 33
