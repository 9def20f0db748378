"""What is asked of the API server: the node's GPUs and labels, and volumes for what lies on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster import paths, tools

_GPU = "nvidia.com/gpu"
#: A command that waits for something says itself for how long; this ends one that hangs.
_REQUEST_TIMEOUT_SECONDS = 900


def kubectl(*arguments: str, document: object = None) -> str:
    """Runs kubectl as the cluster's administrator and returns its output; `document` goes to its input as JSON.

    Raises:
        RuntimeError: with kubectl's message, if it fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [tools.find("kubectl"), f"--kubeconfig={paths.kubeconfig()}", *arguments],
        input=None if document is None else json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
        timeout=_REQUEST_TIMEOUT_SECONDS,
        env=environment,
    )
    if done.returncode:
        message = f"`kubectl {' '.join(arguments)}`: {done.stderr.strip()}"
        raise RuntimeError(message)
    return done.stdout


def gpu_labels(gpus: int) -> dict[str, str]:
    """What GPU Feature Discovery writes on a node with RTX PRO 6000 Blackwell Server Edition GPUs."""
    labels = {
        "cuda.driver-version.full": "580.95.05",
        "cuda.driver-version.major": "580",
        "cuda.driver-version.minor": "95",
        "cuda.driver-version.revision": "05",
        "cuda.runtime-version.full": "13.0",
        "cuda.runtime-version.major": "13",
        "cuda.runtime-version.minor": "0",
        "gpu.compute.major": "12",
        "gpu.compute.minor": "0",
        "gpu.count": str(gpus),
        "gpu.family": "blackwell",
        "gpu.memory": "97887",
        "gpu.mode": "compute",
        "gpu.product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
        "gpu.replicas": "1",
        "gpu.sharing-strategy": "none",
        "mig.capable": "true",
        "mig.strategy": "none",
    }
    return {f"nvidia.com/{name}": value for name, value in labels.items()} | {"nvidia.com/gpu.present": "true"}


def get() -> dict[str, Any] | None:
    """The node as the API server has it; None before kubelet has registered it."""
    text = kubectl("get", "node", paths.node_name(), "--ignore-not-found", "--output=json")
    node: dict[str, Any] | None = json.loads(text) if text else None
    return node


def is_ready(node: dict[str, Any]) -> bool:
    """Whether kubelet says that pods can run."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def has_gpus(node: dict[str, Any], gpus: int) -> bool:
    """Whether the node offers that many GPUs and describes them."""
    status, labels = node.get("status", {}), node["metadata"].get("labels", {})
    offered = {status.get(place, {}).get(_GPU) for place in ("capacity", "allocatable")}
    return offered == {str(gpus)} and gpu_labels(gpus).items() <= labels.items()


def set_gpus(gpus: int) -> None:
    """Makes the node offer GPUs that are not there; kubelet leaves a resource alone that it does not manage."""
    metadata = {"metadata": {"labels": gpu_labels(gpus)}}
    status = {"status": {place: {_GPU: str(gpus)} for place in ("capacity", "allocatable")}}
    patch = ("patch", "node", paths.node_name(), "--type=merge")
    kubectl(*patch, f"--patch={json.dumps(metadata)}")
    kubectl(*patch, "--subresource=status", f"--patch={json.dumps(status)}")


def create_volume(namespace: str, claim: str, folder: Path) -> None:
    """Makes a claim whose volume is a folder of this machine.

    Again for the same claim, it replaces a volume that is spent or shows another folder.

    Raises:
        ValueError: if there is no such folder.
    """
    if not folder.is_dir():
        message = f"--path: {folder} is not a folder"
        raise ValueError(message)
    name = f"{namespace}-{claim}"
    template = "--output=jsonpath={.status.phase} {.spec.hostPath.path}"
    known = kubectl("get", "persistentvolume", name, "--ignore-not-found", template)
    if known and known != f"Bound {folder.absolute()}":
        kubectl("delete", "persistentvolumeclaim", claim, f"--namespace={namespace}", "--ignore-not-found")
        kubectl("delete", "persistentvolume", name)
    common = {"accessModes": ["ReadWriteMany", "ReadOnlyMany"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": common
        | {
            "capacity": size,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder.absolute()), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": claim},
        },
    }
    request = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "namespace": namespace},
        "spec": common | {"volumeName": name, "resources": {"requests": size}},
    }
    kubectl("apply", "--filename=-", document={"apiVersion": "v1", "kind": "List", "items": [volume, request]})
    kubectl(
        "wait", f"persistentvolumeclaim/{claim}", f"--namespace={namespace}", "--for=jsonpath={.status.phase}=Bound"
    )
