"""The GPUs that a pod asks for: what it refers to for them, and what is said where no node has them."""

from typing import Final

from mtp_operator.api.spec import AcceleratorSpec, Allocation, Architecture
from mtp_operator.resources.claim_template import DRIVER, claim_template
from mtp_operator.resources.placement import fits, found_gpus

from .observed import Kind, Observed, OperatorSettings, Reference
from .plan import Ensure

_TAINTED: Final = "untolerated taint"
_ABOUT_TAINTS: Final = (
    "spec.template.tolerations has none for a taint of these nodes (`kubectl describe nodes` shows their taints)"
)
"""The scheduler does not name the taint: who may read pods need not be one who may read nodes."""


def no_node_fits(accelerator: AcceleratorSpec, observed: Observed, settings: OperatorSettings, message: str) -> str:
    """What was looked for, what there is, and the scheduler's words."""
    wanted = looked_for(accelerator)
    if _TAINTED in message:
        message = f"{message.rstrip('.')}; {_ABOUT_TAINTS}"
    if accelerator.allocation is not Allocation.DEVICE_PLUGIN or not settings.nodes_readable:
        return f"no node has {wanted} free: {message}"
    labels = [node.labels for node in observed.nodes.values()]
    fitting = [one for one in labels if fits(accelerator, one)]
    if not fitting:
        return f"no node has {wanted}; found: {found_gpus(labels)}: {message}"
    return f"no node has {wanted} free; found: {found_gpus(fitting)}: {message}"


def gpu_claims(model: Reference, accelerator: AcceleratorSpec) -> tuple[Ensure, ...]:
    """What a pod with these GPUs refers to, and nothing watches."""
    if accelerator.allocation is Allocation.DEVICE_PLUGIN:
        return ()
    return (Ensure(Kind.CLAIM_TEMPLATE, claim_template(model.namespace, model.name, model.uid, accelerator)),)


def looked_for(accelerator: AcceleratorSpec) -> str:
    """The GPU that is asked for, in words."""
    by_claim = accelerator.allocation is Allocation.DYNAMIC_RESOURCE_ALLOCATION
    wanted = [f"{accelerator.count} x {DRIVER if by_claim else accelerator.resource_name}"]
    if accelerator.architecture is not Architecture.ANY:
        wanted.append(f"of family {accelerator.architecture.value.lower()}")
    if accelerator.products:
        wanted.append("of product " + " or ".join(accelerator.products))
    if accelerator.compute_capabilities:
        wanted.append("of compute capability " + " or ".join(accelerator.compute_capabilities))
    return " ".join(wanted)
