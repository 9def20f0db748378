"""Which nodes have the GPU that is asked for."""

from typing import Any

import pytest

from mtp_operator.api.spec import AcceleratorSpec
from mtp_operator.resources.placement import fits, found_gpus

RTX_PRO_6000 = {
    "nvidia.com/gpu.product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
    "nvidia.com/gpu.family": "blackwell",
    "nvidia.com/gpu.compute.major": "12",
    "nvidia.com/gpu.compute.minor": "0",
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.sharing-strategy": "none",
}
B200 = RTX_PRO_6000 | {
    "nvidia.com/gpu.product": "NVIDIA-B200",
    "nvidia.com/gpu.compute.major": "10",
    "nvidia.com/gpu.count": "8",
}
L4 = {
    "nvidia.com/gpu.product": "NVIDIA-L4",
    "nvidia.com/gpu.family": "ada-lovelace",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "9",
}
SHARED = B200 | {"nvidia.com/gpu.sharing-strategy": "time-slicing"}


@pytest.mark.parametrize(
    ("accelerator", "labels", "expected"),
    [
        pytest.param({}, B200, True, id="Blackwell"),
        pytest.param({}, L4, False, id="not Blackwell"),
        pytest.param({}, {}, False, id="no labels"),
        pytest.param({}, SHARED, False, id="shared with others"),
        pytest.param({"architecture": "Any"}, L4, True, id="any"),
        pytest.param({"architecture": "Any"}, {}, True, id="any, no labels"),
        pytest.param({"computeCapabilities": ["12.0"]}, B200, False, id="sm_100 is not sm_120"),
        pytest.param({"computeCapabilities": ["10.0", "12.0"]}, RTX_PRO_6000, True, id="one of two capabilities"),
        pytest.param({"products": ["NVIDIA-B200"]}, B200, True, id="product"),
        pytest.param({"products": ["NVIDIA-B200"]}, RTX_PRO_6000, False, id="another product"),
    ],
)
def test_fits(accelerator: dict[str, Any], labels: dict[str, str], expected: bool) -> None:
    assert fits(AcceleratorSpec.model_validate(accelerator), labels) is expected


def test_gpus_are_counted_by_product() -> None:
    nodes = [B200, L4, B200, RTX_PRO_6000]

    assert found_gpus(nodes) == "16 x NVIDIA-B200, 1 x NVIDIA-L4, 1 x NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
    assert found_gpus([]) == "no node with the labels of GPU Feature Discovery"
