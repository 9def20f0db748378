"""A service of a compose file."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

from .found import ConvertError, Deployed, Mount
from .shell import engine_in, expanded, named_volume

_TAKEN_OVER: Final = frozenset(
    {"image", "command", "entrypoint", "environment", "volumes", "ports", "deploy", "shm_size"}
)

_WHY: Final = {
    "ipc": "the pod has /dev/shm of its own",
    "restart": "Kubernetes restarts servers",
    "healthcheck": "the operator has probes of its own",
    "runtime": "name it in spec.template.runtimeClassName",
    "network_mode": "the pod has its own network",
    "networks": "the Service has the model's name",
    "user": "set spec.template.securityContext.runAsUser",
    "mem_limit": "set spec.template.resources.limits.memory",
    "ulimits": "set limits on the nodes",
    "depends_on": "the pod has no other containers than the operator's",
    "container_name": "the model's name is metadata.name",
}


def from_compose(document: Mapping[str, Any], service: str | None = None) -> Deployed:
    """What a service of a compose file starts.

    Args:
        document: the file.
        service: its name; needed where several start an engine.

    Raises:
        ConvertError: no service, or more than one, starts an engine that is known.
    """
    services = document.get("services") or {}
    if service is not None:
        if service not in services:
            raise ConvertError(f"service {service} does not exist; there are {', '.join(services) or 'none'}")
        return _service(service, services[service])
    found, reasons = {}, []
    for name, one in services.items():
        try:
            found[name] = _service(name, one)
        except ConvertError as error:
            reasons.append(f"{name} {error}")
    if len(found) != 1:
        raise ConvertError(
            f"several services start an engine, name one with --service: {', '.join(found)}"
            if found
            else "; ".join(reasons) or "the file has no services"
        )
    return next(iter(found.values()))


def _service(name: str, service: Mapping[str, Any]) -> Deployed:
    environment = _environment(service.get("environment"))
    image = expanded(str(service.get("image", "")))
    words = [*_words(service.get("entrypoint"), environment), *_words(service.get("command"), environment)]
    engine, arguments = engine_in(words, image)
    left_out = [f"{key}: {_WHY.get(key, 'has no place in a pod')}" for key in service if key not in _TAKEN_OVER]
    spec: dict[str, Any] = {}
    memory = str(service.get("shm_size") or "").lower().removesuffix("b")
    if memory[-1:] in ("g", "m") and memory[:-1].isdigit():
        spec["template"] = {"sharedMemory": f"{memory[:-1]}{memory[-1].upper()}i"}
    mounts = [mount for volume in service.get("volumes") or () for mount in _volume(volume)]
    return Deployed(
        engine,
        arguments,
        name,
        image,
        {key: expanded(value, environment) for key, value in environment.items() if value},
        mounts,
        _gpus(service),
        spec=spec,
        left_out=left_out,
    )


def _words(stated: Any, environment: Mapping[str, str]) -> list[str]:
    if isinstance(stated, str):
        return shlex.split(expanded(stated, environment))
    # `${NAME:+--flag value}` may have been split into words; one that is not set takes all of them with it.
    text = "\0".join(map(str, stated or ()))
    return [word for word in expanded(text, environment).split("\0") if word]


def _environment(stated: Any) -> dict[str, str]:
    if isinstance(stated, Mapping):
        return {str(key): "" if value is None else str(value) for key, value in stated.items()}
    pairs = (str(one).partition("=") for one in stated or ())
    return {key: value for key, _, value in pairs}


def _volume(stated: Any) -> list[Mount]:
    if isinstance(stated, Mapping):
        stated = f"{stated.get('source', '')}:{stated.get('target', '')}"
    return named_volume(expanded(str(stated)))


def _gpus(service: Mapping[str, Any]) -> int | None:
    reserved = ((service.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    for device in reserved.get("devices") or ():
        if isinstance(device.get("count"), int):
            return int(device["count"])
        if device.get("device_ids"):
            return len(device["device_ids"])
    return None
