"""Objects as the API server sends them, with just what the cache and the writes read."""

from typing import Any

from mtp_operator.reconcile.observed import Kind, Reference
from mtp_operator.resources.labels import MODEL_LABEL

NAMESPACE = "llm"


def model(name: str = "tiny", uid: str = "model-uid", version: int = 1, **more: Any) -> dict[str, Any]:
    return {"kind": "MTPModel", "metadata": _metadata(name, uid, version), **more}


def run(name: str = "tiny-1", uid: str = "run-uid", version: int = 1, of: str = "tiny", **more: Any) -> dict[str, Any]:
    return {"kind": "MTPTuningRun", "metadata": _metadata(name, uid, version), "spec": {"modelName": of}, **more}


def job(
    name: str = "tiny-1-n0", uid: str = "job-uid", version: int = 1, of: str | None = "tiny", **more: Any
) -> dict[str, Any]:
    labels = {} if of is None else {MODEL_LABEL: of}
    owners = [{"kind": "MTPTuningRun", "name": f"{of}-1", "uid": f"{of}-run-uid", "controller": True}]
    metadata = _metadata(name, uid, version) | {"labels": labels, "ownerReferences": owners}
    return {"kind": "Job", "metadata": metadata, "spec": {}, **more}


def pod(name: str = "tiny-1-n0-x", uid: str = "pod-uid", version: int = 1, **more: Any) -> dict[str, Any]:
    owners = [{"kind": "Job", "name": "tiny-1-n0", "uid": "job-uid", "controller": True}]
    metadata = _metadata(name, uid, version) | {"labels": {MODEL_LABEL: "tiny"}, "ownerReferences": owners}
    return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {}, **more}


def node(name: str = "gpu-1", uid: str = "node-uid", version: int = 1, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version), "labels": labels, "annotations": {"a": "b"}}
    return {"kind": "Node", "metadata": metadata, "status": {"capacity": {"cpu": "2"}}}


def reference(kind: Kind, body: dict[str, Any]) -> Reference:
    metadata = body["metadata"]
    return Reference(kind, metadata["namespace"], metadata["name"], metadata["uid"])


def _metadata(name: str, uid: str, version: int) -> dict[str, Any]:
    return {"namespace": NAMESPACE, "name": name, "uid": uid, "resourceVersion": str(version)}
