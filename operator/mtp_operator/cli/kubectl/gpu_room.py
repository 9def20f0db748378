"""Which GPUs are free now, from nodes and the pods on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtp_operator.api.spec import AcceleratorSpec, Allocation
from mtp_operator.resources.placement import FAMILY_LABEL, PRODUCT_LABEL, fits

from .seen import Bodies, Body, Unseen

GPU_RESOURCE = "nvidia.com/gpu"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class GpuNode:
    """A node with GPUs."""

    name: str
    product: str
    family: str
    allocatable: int
    free: int
    labels: dict[str, str]
    is_open: bool
    """Whether it takes new pods."""


def gpu_nodes(nodes: Iterable[Body], pods: Iterable[Body], resource: str = GPU_RESOURCE) -> list[GpuNode]:
    """The nodes that have such GPUs, with how many no pod has asked for."""
    taken: dict[str, int] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and pod.get("status", {}).get("phase") not in _ENDED:
            taken[node] = taken.get(node, 0) + _requested_gpus(pod, resource)
    found = []
    for node in nodes:
        count = _whole((node.get("status", {}).get("allocatable") or {}).get(resource))
        if not count:
            continue
        name, labels = node["metadata"]["name"], dict(node["metadata"].get("labels") or {})
        found.append(
            GpuNode(
                name=name,
                product=labels.get(PRODUCT_LABEL, ""),
                family=labels.get(FAMILY_LABEL, ""),
                allocatable=count,
                free=max(0, count - taken.get(name, 0)),
                labels=labels,
                is_open=not node.get("spec", {}).get("unschedulable"),
            )
        )
    return found


def room_for(accelerator: AcceleratorSpec, nodes: Bodies, pods: Bodies) -> str:
    """What a pod of the model needs, and where it fits now, in words."""
    wanted = f"{accelerator.count} x {accelerator.resource_name}, architecture {accelerator.architecture.value}"
    if accelerator.allocation is not Allocation.DEVICE_PLUGIN:
        return f"{accelerator.count} GPUs by Dynamic Resource Allocation: what is free is not known before scheduling"
    if isinstance(nodes, Unseen) or isinstance(pods, Unseen):
        why = nodes.why if isinstance(nodes, Unseen) else pods.why if isinstance(pods, Unseen) else ""
        return f"{wanted}; what is free is not known: {why}"
    there = gpu_nodes(nodes, pods, accelerator.resource_name)
    fitting = [one for one in there if fits(accelerator, one.labels)]
    open_now = [one for one in fitting if one.is_open and one.free >= accelerator.count]
    if open_now:
        return f"{wanted}; fits now on {_listed(open_now)}"
    if fitting:
        return f"{wanted}; no node has room now: {_listed(fitting)}"
    others = _listed(there) if there else f"no node has any {accelerator.resource_name}"
    return f"{wanted}; no node has such a GPU: {others}"


def _listed(nodes: Sequence[GpuNode]) -> str:
    named = [f"{one.name} ({one.free} of {one.allocatable} {one.product or 'GPUs'} free)" for one in nodes[:4]]
    more = f" and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
    return ", ".join(named) + more


def _requested_gpus(pod: Body, resource: str) -> int:
    """As the scheduler counts: all containers and sidecars together, or the largest init container."""
    spec = pod["spec"]
    inits = spec.get("initContainers") or ()
    lasting = [*(spec.get("containers") or ()), *(one for one in inits if one.get("restartPolicy") == "Always")]
    passing = [one for one in inits if one.get("restartPolicy") != "Always"]
    return max(sum(_limit(one, resource) for one in lasting), *(_limit(one, resource) for one in passing), 0)


def _limit(container: Body, resource: str) -> int:
    return _whole(((container.get("resources") or {}).get("limits") or {}).get(resource))


def _whole(quantity: object) -> int:
    text = str(quantity or "")
    return int(text) if text.isdecimal() else 0
