"""Mistakes in `spec.template` and `spec.accelerator`, and what the API server says of them."""

from __future__ import annotations

from typing import Any

from tests.documents import model

POD_MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "label that the operator sets": (
        model(("spec.template.labels", {"mtp-operator.dev/model": "other"})),
        "spec.template.labels",
        "must have no label that the operator itself sets",
    ),
    "label that the operator finds its pods by": (
        model(("spec.template.labels", {"app.kubernetes.io/managed-by": "me"})),
        "spec.template.labels",
        "must have no label that the operator itself sets",
    ),
    "label that is none": (
        model(("spec.template.labels", {"a b": "c"})),
        "spec.template.labels",
        "must have keys of labels",
    ),
    "value that is none of a label": (
        model(("spec.template.nodeSelector", {"zone": "a b"})),
        "spec.template.nodeSelector[zone]",
        "must be the value of a label",
    ),
    "annotation that the operator sets": (
        model(("spec.template.annotations", {"mtp-operator.dev/serving": "{}"})),
        "spec.template.annotations",
        "must have no annotation that the operator itself sets",
    ),
    "more memory than there may be": (
        model(("spec.template.resources", {"requests": {"memory": "2Ti"}, "limits": {"memory": "64Gi"}})),
        "spec.template.resources.requests.memory",
        "must be at most limits.memory",
    ),
    "memory without a unit": (
        model(("spec.template.resources.requests", {"memory": "64"})),
        "spec.template.resources.requests.memory",
        "for example 64Gi",
    ),
    "a bench that asks for more than its limit": (
        model(("spec.template.helperResources", {"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}})),
        "spec.template.helperResources.requests.cpu",
        "must be at most limits.cpu",
    ),
    "user root": (
        model(("spec.template.securityContext.runAsUser", 0)),
        "spec.template.securityContext.runAsUser",
        "greater than or equal to 1",
    ),
    "ids of two": (
        model(("spec.template.securityContext", {"identity": "Assigned", "fsGroup": 1000})),
        "spec.template.securityContext.identity",
        "must be Fixed where runAsUser",
    ),
    "toleration of every taint by value": (
        model(("spec.template.tolerations", [{"value": "gpu"}])),
        "spec.template.tolerations[0].operator",
        "must be Exists where key is left out",
    ),
    "toleration with a value that nobody reads": (
        model(("spec.template.tolerations", [{"key": "sku", "operator": "Exists", "value": "gpu"}])),
        "spec.template.tolerations[0].value",
        "must be left out where operator is Exists",
    ),
    "unknown allocation": (
        model(("spec.accelerator.allocation", "MPS")),
        "spec.accelerator.allocation",
        '"DevicePlugin", "DynamicResourceAllocation"',
    ),
    "extended resource that is claimed": (
        model(
            ("spec.accelerator.allocation", "DynamicResourceAllocation"),
            ("spec.accelerator.resourceName", "nvidia.com/mig-2g.48gb"),
        ),
        "spec.accelerator.resourceName",
        "must be left out where allocation is DynamicResourceAllocation",
    ),
    "code of the model by a word": (
        model(("spec.engine.vllm.trustRemoteCode", "true")),
        "spec.engine.vllm.trustRemoteCode",
        '"Enabled", "Disabled"',
    ),
    "unknown architecture": (
        model(("spec.accelerator.architecture", "Hopper")),
        "spec.accelerator.architecture",
        '"Blackwell", "Any"',
    ),
    "product that is not a label value": (
        model(("spec.accelerator.products", ["RTX PRO 6000"])),
        "spec.accelerator.products[0]",
        "must be the value of a node label",
    ),
    "compute capability by architecture": (
        model(("spec.accelerator.computeCapabilities", ["sm_120"])),
        "spec.accelerator.computeCapabilities[0]",
        "for example 12.0",
    ),
    "no GPU": (model(("spec.accelerator.count", 0)), "spec.accelerator.count", "greater than or equal to 1"),
    "resource without a domain": (
        model(("spec.accelerator.resourceName", "gpu")),
        "spec.accelerator.resourceName",
        "<domain>/<name>",
    ),
}
