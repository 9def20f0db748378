"""The ResourceClaimTemplate by which pods of a model claim GPUs with Dynamic Resource Allocation (DRA)."""

from collections.abc import Iterable
from typing import Any, Final

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.hashing import canonical_hash
from mtp_operator.api.spec import AcceleratorSpec, Architecture

from .labels import child_labels

DRIVER: Final = "gpu.nvidia.com"
"""NVIDIA's DRA driver; its DeviceClass for whole GPUs has the same name."""

_ATTRIBUTES: Final = f"device.attributes['{DRIVER}']"


def claim_template_name(model_name: str, accelerator: AcceleratorSpec) -> str:
    """Its name, of at most 55 characters: another accelerator is another template, for they cannot be changed."""
    return f"{model_name}-gpu-{canonical_hash(accelerator)[-10:]}"


def claim_template(namespace: str, model_name: str, model_uid: str, accelerator: AcceleratorSpec) -> dict[str, Any]:
    """The template; the model owns it, for its trials and its servers claim alike."""
    request: dict[str, Any] = {
        "deviceClassName": DRIVER,
        "allocationMode": "ExactCount",
        "count": accelerator.count,
    }
    selectors = [{"cel": {"expression": expression}} for expression in _conditions(accelerator)]
    if selectors:
        request["selectors"] = selectors
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {
            "name": claim_template_name(model_name, accelerator),
            "namespace": namespace,
            "labels": child_labels(model_name),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "MTPModel",
                    "name": model_name,
                    "uid": model_uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "metadata": {"labels": child_labels(model_name)},
            "spec": {"devices": {"requests": [{"name": "gpu", "exactly": request}]}},
        },
    }


def _conditions(accelerator: AcceleratorSpec) -> Iterable[str]:
    """CEL over one device; all of them hold."""
    if accelerator.architecture is not Architecture.ANY:
        yield f"{_ATTRIBUTES}.architecture == '{accelerator.architecture.value}'"
    if accelerator.products:
        # GPU Feature Discovery writes product names with '-' for blanks; the driver leaves them.
        yield f"{_ATTRIBUTES}.productName.replace(' ', '-') in {list(accelerator.products)!r}"
    if accelerator.compute_capabilities:
        yield " || ".join(
            f"{_ATTRIBUTES}.cudaComputeCapability.compareTo(semver('{capability}.0')) == 0"
            for capability in accelerator.compute_capabilities
        )
