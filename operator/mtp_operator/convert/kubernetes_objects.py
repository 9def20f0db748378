"""Deployments and the like, and InferenceServices of KServe."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .found import ConvertError, Deployed, Json, Mount
from .shell import engine_in

_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"})

_TEMPLATE: Final = (
    *("nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName", "schedulerName"),
    *("imagePullSecrets", "serviceAccountName", "dnsConfig"),
)

_WHY: Final = {
    "initContainers": "the pod has no other containers than the operator's; bake what they do into the image",
    "hostNetwork": "the pod has its own network",
    "hostIPC": "the pod has /dev/shm of its own",
    "livenessProbe": "the operator has probes of its own",
    "readinessProbe": "the operator has probes of its own",
    "startupProbe": "the operator has probes of its own: spec.template.readySeconds",
    "lifecycle": "the operator drains servers itself",
    "securityContext": "pods are restricted; ids are spec.template.securityContext",
}

_OURS: Final = ("app.kubernetes.io/managed-by", "app.kubernetes.io/component", "mtp-operator.dev/")


def from_object(document: Mapping[str, Any]) -> Deployed:
    """What an object starts.

    Raises:
        ConvertError: it is of a kind that starts no engine on one node.
    """
    kind, spec = str(document.get("kind")), document.get("spec") or {}
    if kind == "InferenceService":
        return _inference_service(document, spec.get("predictor") or {})
    if kind in _WORKLOADS:
        template = {"metadata": document.get("metadata"), "spec": spec} if kind == "Pod" else spec.get("template") or {}
        return _pod(document, template, spec.get("replicas"))
    raise ConvertError(
        f"{kind} is not one of {', '.join(sorted(_WORKLOADS))} and InferenceService: what spreads an engine over "
        "several nodes cannot be expressed; see docs/limits.md"
    )


def _inference_service(document: Mapping[str, Any], predictor: Mapping[str, Any]) -> Deployed:
    if "workerSpec" in predictor:
        raise ConvertError(
            "spec.predictor.workerSpec: an engine on several nodes cannot be expressed; see docs/limits.md"
        )
    container = dict(predictor.get("model") or {})
    uri = str(container.pop("storageUri", ""))
    runtime = f"{container.pop('runtime', '')} {container.pop('modelFormat', '')} {container.get('image', '')}"
    if container or uri:
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        start = ["llama-server"] if "llama.cpp" in runtime or "llamacpp" in runtime else ["vllm", "serve"]
        model = ["--model", uri] if uri else []
        container |= {"name": "kserve-container", "command": [*start, *words, *model], "args": []}
        predictor = {**predictor, "containers": [container]}
    found = _pod(document, {"metadata": document.get("metadata"), "spec": predictor}, predictor.get("minReplicas"))
    return dataclasses.replace(found, arguments=[one.removeprefix("hf://") for one in found.arguments])


def _pod(document: Mapping[str, Any], template: Mapping[str, Any], replicas: Any) -> Deployed:
    pod: Mapping[str, Any] = template.get("spec") or {}
    containers: Sequence[Mapping[str, Any]] = pod.get("containers") or ()
    index, engine, arguments = _engine(containers)
    container = containers[index]
    others = [one for one in containers if one is not container]
    left_out = [f"container {one.get('name')}: the pod has no other containers than the operator's" for one in others]
    left_out += [f"{key}: {why}" for key, why in _WHY.items() if pod.get(key) or container.get(key)]
    environment, from_elsewhere = _environment(container.get("env") or ())
    gpus, resource, resources = _resources(container.get("resources") or {})
    wanted: Json = {key: pod[key] for key in _TEMPLATE if pod.get(key)}
    wanted |= _metadata(template.get("metadata") or {})
    if resources:
        wanted["resources"] = resources
    if memory := _shared_memory(pod, container):
        wanted["sharedMemory"] = memory
    return Deployed(
        engine,
        arguments,
        str((document.get("metadata") or {}).get("name") or ""),
        str(container.get("image") or ""),
        environment,
        list(_mounts(pod, container)),
        gpus,
        resource,
        {"template": wanted, "serving": {"replicas": replicas} if isinstance(replicas, int) else {}},
        [*left_out, *from_elsewhere],
    )


def _engine(containers: Sequence[Mapping[str, Any]]) -> tuple[int, Any, list[str]]:
    reasons = []
    for index, one in enumerate(containers):
        words = [str(word) for word in (*(one.get("command") or ()), *(one.get("args") or ()))]
        try:
            return index, *engine_in(words, str(one.get("image")))
        except ConvertError as error:
            reasons.append(f"container {one.get('name')} {error}")
    raise ConvertError("; ".join(reasons) or "the pod has no containers")


def _metadata(metadata: Mapping[str, Any]) -> Json:
    found: Json = {}
    for name in ("labels", "annotations"):
        stated = metadata.get(name) or {}
        if kept := {key: stated[key] for key in stated if not key.startswith((*_OURS, "kubectl.kubernetes.io/"))}:
            found[name] = kept
    return found


def _environment(stated: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[str]]:
    plain = {str(one["name"]): str(one["value"]) for one in stated if "value" in one}
    others = [
        f"{one['name']}: comes from elsewhere in the cluster; a hub's token is spec.model.tokenSecretRef"
        for one in stated
        if "valueFrom" in one
    ]
    return plain, others


def _resources(stated: Mapping[str, Any]) -> tuple[int | None, str, Json]:
    gpus: int | None = None
    resource = ""
    kept: Json = {}
    for part in ("requests", "limits"):
        for name, amount in (stated.get(part) or {}).items():
            if name in ("cpu", "memory"):
                kept.setdefault(part, {})[name] = str(amount)
            elif "/" in name:
                gpus, resource = int(amount), name
    return gpus, resource, kept


def _mounts(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[Mount]:
    volumes = {one["name"]: one for one in pod.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        volume, folder = volumes.get(mount["name"], {}), str(mount.get("subPath") or "").strip("/")
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield Mount(mount["mountPath"], claim, folder)
        elif config := volume.get("configMap"):
            keys = {one["path"]: one["key"] for one in config.get("items") or ()}
            yield Mount(mount["mountPath"], config_map=config["name"], keys=keys | ({"": folder} if folder else {}))


def _shared_memory(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    names = {one["name"] for one in container.get("volumeMounts") or () if one["mountPath"] == "/dev/shm"}  # noqa: S108
    for volume in pod.get("volumes") or ():
        if volume["name"] in names and (volume.get("emptyDir") or {}).get("sizeLimit"):
            return str(volume["emptyDir"]["sizeLimit"])
    return None
