"""Weights in an image (oci://): the real node pulls and mounts it, for a trial and for a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.images import IMAGES, REPOSITORY

from . import harness

NAME = "demo-llamacpp"


@pytest.fixture(scope="module")
def image(kubeconfig: Path) -> str:
    """An image with our small model, on the node."""
    assert kubeconfig.exists()
    subprocess.run([sys.executable, "-m", "tests.cluster.images", "load", "tiny-model"], cwd=REPOSITORY, check=True)
    return IMAGES["tiny-model"].reference


def begin(namespace: str, uri: str, **changes: Any) -> None:
    """Applies the sample with its weights in an image."""
    harness.apply(harness.sample(NAME, spec__model__uri=uri, **changes), namespace)


def stalled(namespace: str, reason: str) -> str:
    """The model's message once it is Stalled for this reason."""
    harness.wait_until_placed(namespace)
    model = harness.wait_for_condition(namespace, NAME, "Stalled", "True", reason)
    message: str = harness.condition(model, "Stalled")["message"]
    return message


def test_a_model_is_served_from_an_image(namespace: str, image: str) -> None:
    begin(namespace, f"oci://{image}/model/model.gguf", spec__tuning={"mode": "Disabled"})
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True")

    cached = harness.condition(model, "WeightsReady")
    assert (cached["status"], cached["reason"]) == ("True", "PulledByNode")
    assert image in cached["message"]
    assert harness.items("jobs", namespace) == []


def test_a_trial_looks_into_the_image(namespace: str, image: str) -> None:
    begin(namespace, f"oci://{image}/model/other.gguf")

    assert "spec.model.uri: /images/model-image/model/other.gguf" in stalled(namespace, "ModelMissing")


def test_an_image_of_weights_that_does_not_exist(namespace: str) -> None:
    begin(namespace, "oci://localhost/no/such-model:1/model.gguf")

    # A registry that does not answer may do so later: nobody is called for it yet.
    model = harness.wait_for_condition(namespace, NAME, "Ready", "False", "ImageUnavailable")
    message = harness.condition(model, "Ready")["message"]
    assert message.startswith("spec.model.uri cannot be pulled")
    assert "localhost/no/such-model:1" in message
