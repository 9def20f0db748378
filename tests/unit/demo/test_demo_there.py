"""What the demo does on a cluster that is there."""

from __future__ import annotations

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.resources.placement import fits, gpu_limits
from tests.e2e.demo_there import RESOURCE, Target, UnreachableError

_METADATA = {
    "name": "demo",
    "namespace": "mtp-demo",
    "uid": "1",
    "generation": 1,
    "creationTimestamp": "2026-11-01T08:00:00Z",
}


@pytest.mark.parametrize(
    ("context", "registry", "command"),
    [
        ("kind-kind", None, "kind load docker-image localhost/mtp-operator/operator:1 --name kind"),
        ("kind-a-b", None, "kind load docker-image localhost/mtp-operator/operator:1 --name a-b"),
        ("k3d-dev", None, "k3d image import localhost/mtp-operator/operator:1 --cluster dev"),
        ("minikube", None, "minikube image load localhost/mtp-operator/operator:1"),
        ("production", "registry.example/mtp", "docker push registry.example/mtp/operator:1"),
        ("kind-kind", "localhost:5000", "docker push localhost:5000/operator:1"),
    ],
)
def test_images_get_into_the_cluster(context: str, registry: str | None, command: str) -> None:
    assert " ".join(Target(context, registry, "1").delivery("operator")) == command


@pytest.mark.parametrize("context", ["production", "kind", "kind-", "k3d-", "gke_project_zone_kind-kind"])
def test_a_cluster_that_no_image_gets_into_is_refused(context: str) -> None:
    with pytest.raises(UnreachableError, match=rf"CONTEXT={context}: .* REGISTRY=HOST/PATH"):
        Target(context, None, "1").delivery("operator")


def test_images_are_the_same_in_chart_and_model() -> None:
    target = Target("production", "localhost:5000/mtp", "v1-dirty")
    model = MTPModel.from_wire({**target.objects()[-1], "metadata": _METADATA})

    assert target.values()["image"] == {"repository": "localhost:5000/mtp/operator", "tag": "v1-dirty"}
    assert model.spec.engine.image == "localhost:5000/mtp/simulated-gpu:v1-dirty"


@pytest.mark.parametrize(("target", "speed"), [(Target("k", None, "1"), "1"), (Target("k", None, "1", "8"), "8")])
def test_a_demo_may_be_made_shorter(target: Target, speed: str) -> None:
    model = MTPModel.from_wire({**target.objects()[-1], "metadata": _METADATA})

    assert ("SIMULATED_GPU_SPEED", speed) in [(one.name, one.value) for one in model.spec.engine.env]


def test_any_node_will_do_that_has_the_resource() -> None:
    model = MTPModel.from_wire({**Target("minikube", None, "1").objects()[-1], "metadata": _METADATA})

    assert fits(model.spec.accelerator, {})
    assert gpu_limits(model.spec.accelerator) == {RESOURCE: "1"}
