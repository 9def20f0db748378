"""Two clusters as the doctor sees them: one in order, one in which most is wrong or hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mtp_operator.api.crd import KINDS
from mtp_operator.cli.kubectl.diagnosis import Facts
from mtp_operator.cli.kubectl.seen import Unseen

CRDS = [kind.definition() for kind in KINDS]
PRODUCT = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"


def node(name: str, *, labelled: bool = True, count: str = "8") -> dict[str, Any]:
    labels = {"nvidia.com/gpu.family": "blackwell", "nvidia.com/gpu.product": PRODUCT} if labelled else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": {"nvidia.com/gpu": count}},
    }


def pod(name: str, gpus: str, **status: Any) -> dict[str, Any]:
    container = {"name": "engine", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    return {
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"nodeName": "gpu-01", "containers": [container]},
        "status": {"phase": "Running", **status},
    }


def operator(version: str, ready: int, namespace: str = "mtp-system") -> dict[str, Any]:
    labels = {"app.kubernetes.io/version": version}
    return {
        "metadata": {"name": "mtp-operator", "namespace": namespace, "labels": labels},
        "status": {"readyReplicas": ready},
    }


GPU_NODES = [node("gpu-01"), node("gpu-02", count="4")]
PODS = [pod("other", "6"), pod("ended", "8", phase="Succeeded")]

HEALTHY = Facts(
    version={"gitVersion": "v1.34.2+k3s1"},
    crds=CRDS,
    own_crds=CRDS,
    operators=[operator("0.1.0", 1)],
    own_version="0.1.0",
    nodes=GPU_NODES,
    pods=PODS,
    storage_classes=[
        {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    ],
    namespace={"metadata": {"name": "team", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    namespace_pods=PODS,
    dns_endpoints=[{"endpoints": [{"conditions": {"ready": True}}, {"conditions": {"ready": True}}]}],
    models=[{"metadata": {"name": "gemma"}, "status": {"weights": {"fetched": [{}]}, "conditions": []}}],
)

STALLED = {"type": "Stalled", "status": "True", "reason": "GatedRepository", "message": "hf://google/gemma is gated"}
UNPULLED = {"image": "ghcr.io/acme/engine:9", "state": {"waiting": {"reason": "ErrImagePull"}}}

BROKEN = replace(
    HEALTHY,
    version={"gitVersion": "v1.30.1"},
    crds=[CRDS[0]],
    operators=[operator("0.1.0", 0), operator("0.0.9", 1, "mtp-test")],
    nodes=[node("gpu-01", labelled=False)],
    pods=[pod("other", "8")],
    storage_classes=[],
    namespace=Unseen("Namespace team: forbidden: ask for the right, or use another context: namespaces is forbidden"),
    namespace_pods=[pod("qwen-0", "1", containerStatuses=[UNPULLED])],
    dns_endpoints=[{"endpoints": [{"conditions": {"ready": False}}]}],
    models=[{"metadata": {"name": "gemma"}, "status": {"conditions": [STALLED]}}],
)
