"""Volumes and mounts of `spec.files`."""

from collections.abc import Sequence
from typing import Any

from mtp_operator.api.files import EngineFile


def file_volumes(files: Sequence[EngineFile]) -> list[dict[str, Any]]:
    """One volume a file."""
    return [{"name": _volume(index), **_source(file)} for index, file in enumerate(files)]


def file_mounts(files: Sequence[EngineFile]) -> list[dict[str, Any]]:
    """Each file at its own path: a folder of them would have to be one volume."""
    return [
        {"name": _volume(index), "mountPath": file.path, "subPath": _path(file), "readOnly": True}
        for index, file in enumerate(files)
    ]


def _volume(index: int) -> str:
    return f"file-{index}"


def _source(file: EngineFile) -> dict[str, Any]:
    if file.config_map is not None:
        return {"configMap": {"name": file.config_map.name}}
    return {"persistentVolumeClaim": {"claimName": file.pvc.claim if file.pvc else ""}}


def _path(file: EngineFile) -> str:
    if file.config_map is not None:
        return file.config_map.key
    return file.pvc.path if file.pvc else ""
