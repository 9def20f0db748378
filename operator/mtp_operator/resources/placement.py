"""Which GPUs a pod gets, and so which nodes it may run on.

With a device plugin nodes are chosen by the labels of GPU Feature Discovery; with Dynamic Resource Allocation (DRA) the
scheduler chooses devices by their attributes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mtp_operator.api.spec import AcceleratorSpec, Allocation, Architecture

FAMILY_LABEL: Final = "nvidia.com/gpu.family"
PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
COUNT_LABEL: Final = "nvidia.com/gpu.count"
COMPUTE_MAJOR_LABEL: Final = "nvidia.com/gpu.compute.major"
COMPUTE_MINOR_LABEL: Final = "nvidia.com/gpu.compute.minor"
SHARING_LABEL: Final = "nvidia.com/gpu.sharing-strategy"

_CLAIM: Final = "gpu"
"""Name of the claim inside a pod."""


def gpu_tolerations() -> list[dict[str, Any]]:
    """For the taint that keeps other pods off GPU nodes, whatever the resource is called."""
    return [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def gpu_affinity(accelerator: AcceleratorSpec, pinned_node: str | None) -> dict[str, Any]:
    """The affinity that only nodes with a GPU as asked for satisfy; empty where any node will do.

    Args:
        accelerator: the GPU.
        pinned_node: the only node that will do, if there is one.
    """
    terms = [{**term, **_pin(pinned_node)} for term in _label_terms(accelerator)]
    if not any(terms):
        return {}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def gpu_limits(accelerator: AcceleratorSpec) -> dict[str, str]:
    """The GPUs in `resources.limits` of a container; empty with DRA, where a claim stands for them."""
    if accelerator.allocation is Allocation.DYNAMIC_RESOURCE_ALLOCATION:
        return {}
    return {accelerator.resource_name: str(accelerator.count)}


def container_claims(accelerator: AcceleratorSpec) -> dict[str, Any]:
    """The part of a container's `resources` that takes the pod's claim, with DRA."""
    return {"claims": [{"name": _CLAIM}]} if accelerator.allocation is not Allocation.DEVICE_PLUGIN else {}


def pod_claims(accelerator: AcceleratorSpec, template_name: str) -> dict[str, Any]:
    """The part of a pod's spec that claims devices, with DRA; each pod gets a claim of its own from the template."""
    if accelerator.allocation is Allocation.DEVICE_PLUGIN:
        return {}
    return {"resourceClaims": [{"name": _CLAIM, "resourceClaimTemplateName": template_name}]}


def fits(accelerator: AcceleratorSpec, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels has such GPUs, free or not."""
    return any(
        all(_holds(expression, labels) for expression in term.get("matchExpressions", ()))
        for term in _label_terms(accelerator)
    )


def found_gpus(nodes: Iterable[Mapping[str, str]]) -> str:
    """What GPUs there are, from the labels of each node: `2 x NVIDIA-L4, 8 x NVIDIA-B200`."""
    counts: Counter[str] = Counter()
    for labels in nodes:
        count = labels.get(COUNT_LABEL, "1")
        counts[labels.get(PRODUCT_LABEL, "unnamed GPU")] += int(count) if count.isdecimal() else 1
    if not counts:
        return "no node with the labels of GPU Feature Discovery"
    return ", ".join(f"{count} x {product}" for product, count in sorted(counts.items()))


def _label_terms(accelerator: AcceleratorSpec) -> list[dict[str, Any]]:
    """Node selector terms: they are alternatives, and what is inside one holds together."""
    if accelerator.allocation is Allocation.DYNAMIC_RESOURCE_ALLOCATION:
        return [{}]
    common = [*_gpu_expressions(accelerator)]
    # A capability is two labels.
    capabilities = [_capability_expressions(one) for one in accelerator.compute_capabilities] or [[]]
    return [{"matchExpressions": [*common, *capability]} for capability in capabilities]


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


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Kubernetes' own rule: a label that is not there is not in any list, and so holds for NotIn."""
    is_one_of_them = labels.get(expression["key"]) in expression["values"]
    return is_one_of_them if expression["operator"] == "In" else not is_one_of_them


def _pin(node: str | None) -> dict[str, Any]:
    # By name: the hostname label may differ from it, and may be changed.
    if node is None:
        return {}
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
