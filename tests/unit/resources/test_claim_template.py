"""The template by which pods claim GPUs with Dynamic Resource Allocation."""

from typing import Any

import pytest

from mtp_operator.api.spec import AcceleratorSpec
from mtp_operator.resources.claim_template import claim_template, claim_template_name

GPU = "device.attributes['gpu.nvidia.com']"


def request_of(**accelerator: Any) -> dict[str, Any]:
    template = claim_template("llm", "qwen", "model-uid", AcceleratorSpec.model_validate(accelerator))
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    exactly: dict[str, Any] = request["exactly"]
    return exactly


@pytest.mark.parametrize(
    ("accelerator", "conditions"),
    [
        pytest.param({}, [f"{GPU}.architecture == 'Blackwell'"], id="default"),
        pytest.param(
            {"architecture": "Any", "products": ["NVIDIA-L4", "NVIDIA-B200"]},
            [f"{GPU}.productName.replace(' ', '-') in ['NVIDIA-L4', 'NVIDIA-B200']"],
            id="products",
        ),
        pytest.param(
            {"architecture": "Any", "computeCapabilities": ["10.0", "12.0"]},
            [
                f"{GPU}.cudaComputeCapability.compareTo(semver('10.0.0')) == 0 || "
                f"{GPU}.cudaComputeCapability.compareTo(semver('12.0.0')) == 0"
            ],
            id="capabilities",
        ),
    ],
)
def test_conditions_on_the_device(accelerator: dict[str, Any], conditions: list[str]) -> None:
    assert [one["cel"]["expression"] for one in request_of(**accelerator)["selectors"]] == conditions


def test_any_gpu_has_no_condition() -> None:
    assert request_of(architecture="Any", count=2) == {
        "deviceClassName": "gpu.nvidia.com",
        "allocationMode": "ExactCount",
        "count": 2,
    }


def test_another_accelerator_is_another_template() -> None:
    names = {claim_template_name("m" * 40, AcceleratorSpec(count=count)) for count in (1, 2)}

    assert len(names) == 2
    assert {len(name) for name in names} == {55}
