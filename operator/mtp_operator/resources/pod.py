"""What every pod that needs a GPU, or has to be where one is, takes over from `spec.template`."""

from typing import Any

from mtp_operator.api.spec import AcceleratorSpec
from mtp_operator.api.template import USER_ID, Identity, PodSecurity, PodTemplate

from .placement import gpu_affinity, gpu_tolerations


def pod_fields(
    template: PodTemplate, accelerator: AcceleratorSpec, pinned_node: str | None, security: dict[str, Any]
) -> dict[str, Any]:
    """The part of a pod's spec that is the same for all of them.

    Args:
        template: the user's own wishes.
        accelerator: the GPU.
        pinned_node: the only node that will do, if there is one.
        security: what `pod_security` says.
    """
    stated = template.model_dump(
        mode="json",
        by_alias=True,
        include={
            "node_selector",
            "priority_class_name",
            "runtime_class_name",
            "scheduler_name",
            "service_account_name",
            "image_pull_secrets",
            "dns_config",
        },
    )
    return {
        "automountServiceAccountToken": False,
        # Variables of a Service named like the engine would be read as its settings (VLLM_PORT).
        "enableServiceLinks": False,
        "securityContext": security,
        "affinity": _affinity(template, gpu_affinity(accelerator, pinned_node)),
        "tolerations": [*gpu_tolerations(), *(one.to_wire() for one in template.tolerations)],
        **stated,
    }


def pod_security(stated: PodSecurity, *, owns_volume: bool = False) -> dict[str, Any]:
    """The user and groups of a pod.

    Args:
        stated: the user's own wishes.
        owns_volume: whether the pod fills a volume that may belong to somebody else.
    """
    context: dict[str, Any] = {"runAsNonRoot": True}
    fs_group = stated.fs_group
    if stated.identity is Identity.FIXED:
        group = USER_ID if stated.run_as_group is None else stated.run_as_group
        context |= {"runAsUser": stated.run_as_user or USER_ID, "runAsGroup": group}
        fs_group = group if fs_group is None and owns_volume else fs_group
    if fs_group is not None:
        # Only its root folder is looked at, so that a full volume is left as it is.
        context |= {"fsGroup": fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    if stated.supplemental_groups:
        context["supplementalGroups"] = list(stated.supplemental_groups)
    return {**context, "seccompProfile": {"type": "RuntimeDefault"}}


def spread(template: PodTemplate, selector: dict[str, str]) -> dict[str, Any]:
    """How the pods with these labels are spread; empty where nobody has asked for it."""
    constraints = [
        {**one.to_wire(), "labelSelector": {"matchLabels": selector}} for one in template.topology_spread_constraints
    ]
    return {"topologySpreadConstraints": constraints} if constraints else {}


def _affinity(template: PodTemplate, gpu: dict[str, Any]) -> dict[str, Any]:
    """The user's affinity and the GPU's: terms are alternatives, so that each of one is joined to each of the other."""
    stated = template.affinity.to_wire() if template.affinity else {}
    if not gpu:
        return stated
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    node = {**stated.get("nodeAffinity", {})}
    ours = gpu["nodeAffinity"][required]["nodeSelectorTerms"]
    theirs = node.get(required, {}).get("nodeSelectorTerms", [{}])
    node[required] = {"nodeSelectorTerms": [_both(one, other) for one in ours for other in theirs]}
    return {**stated, "nodeAffinity": node}


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {**one, **{key: [*one.get(key, ()), *requirements] for key, requirements in other.items()}}
