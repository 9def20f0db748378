"""Where the user's own prompts lie, and how the bench container sees them."""

from typing import Any, Final

from mtp_operator.api.spec import Prompts
from mtp_operator.api.trial_documents import PlannedPrompts

PROMPTS_FIELD: Final = "spec.tuning.workload.prompts"

_FOLDER: Final = "/prompts"
_VOLUME: Final = "prompts"
_FILE: Final = "prompts.jsonl"
"""What a key of a ConfigMap is called in the container."""


def planned_prompts(source: Prompts) -> PlannedPrompts:
    """What the bench is told about its prompts."""
    if source.config_map is not None:
        field = f"{PROMPTS_FIELD}.configMap: {source.config_map.name}/{source.config_map.key}"
        return PlannedPrompts(file=f"{_FOLDER}/{_FILE}", field=field)
    if source.pvc is not None:
        field = f"{PROMPTS_FIELD}.pvc: {source.pvc.claim}/{source.pvc.path}"
        return PlannedPrompts(file=f"{_FOLDER}/{source.pvc.path}", field=field)
    return PlannedPrompts(built_in=source.built_in or ())


def prompt_volumes(source: Prompts) -> list[dict[str, Any]]:
    """The volume with the file; none for built-in prompts."""
    if source.config_map is not None:
        items = [{"key": source.config_map.key, "path": _FILE}]
        return [{"name": _VOLUME, "configMap": {"name": source.config_map.name, "items": items}}]
    if source.pvc is not None:
        return [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": source.pvc.claim}}]
    return []


def prompt_mounts(source: Prompts) -> list[dict[str, Any]]:
    """Its mount in the bench container."""
    return [{"name": one["name"], "mountPath": _FOLDER, "readOnly": True} for one in prompt_volumes(source)]
