"""Which nodes a pod with GPUs may run on, by the labels of GPU Feature Discovery."""

from collections.abc import Iterable
from typing import Any, Final

from mtp_operator.api.spec import AcceleratorSpec, Architecture

FAMILY_LABEL: Final = "nvidia.com/gpu.family"
PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
COMPUTE_MAJOR_LABEL: Final = "nvidia.com/gpu.compute.major"
COMPUTE_MINOR_LABEL: Final = "nvidia.com/gpu.compute.minor"
SHARING_LABEL: Final = "nvidia.com/gpu.sharing-strategy"


def gpu_tolerations() -> list[dict[str, Any]]:
    """For the taint that keeps other pods off GPU nodes, whatever the resource is called."""
    return [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def gpu_affinity(accelerator: AcceleratorSpec, pinned_node: str | None) -> dict[str, Any]:
    """The affinity that only nodes with a GPU as asked for satisfy.

    Args:
        accelerator: the GPU.
        pinned_node: the only node that will do, if there is one.
    """
    common = [*_gpu_expressions(accelerator)]
    capabilities = [_capability_expressions(one) for one in accelerator.compute_capabilities] or [[]]
    # Terms are alternatives, and what is inside one holds together: a capability is two labels.
    terms = [{"matchExpressions": [*common, *capability], **_pin(pinned_node)} for capability in capabilities]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _gpu_expressions(accelerator: AcceleratorSpec) -> Iterable[dict[str, Any]]:
    # A GPU that others use at the same time cannot be measured.
    yield {"key": SHARING_LABEL, "operator": "NotIn", "values": ["time-slicing", "mps"]}
    if accelerator.architecture is not Architecture.ANY:
        yield _is_one_of(FAMILY_LABEL, accelerator.architecture.value.lower())
    if accelerator.products:
        yield _is_one_of(PRODUCT_LABEL, *accelerator.products)


def _capability_expressions(capability: str) -> list[dict[str, Any]]:
    major, _, minor = capability.partition(".")
    return [_is_one_of(COMPUTE_MAJOR_LABEL, major), _is_one_of(COMPUTE_MINOR_LABEL, minor)]


def _is_one_of(label: str, *values: str) -> dict[str, Any]:
    return {"key": label, "operator": "In", "values": list(values)}


def _pin(node: str | None) -> dict[str, Any]:
    # By name: the hostname label may differ from it, and may be changed.
    if node is None:
        return {}
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
