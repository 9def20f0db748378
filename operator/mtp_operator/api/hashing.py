"""The one hash of settings."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

from pydantic.fields import FieldInfo

from .base import Schema

_UNORDERED = ("map", "set")
"""Values of `x-kubernetes-list-type` whose items have no order."""


def canonical_hash(stated: Schema, *, exclude: Collection[str] = ()) -> str:
    """sha256 over effective settings, in canonical JSON, as `sha256:<64 hex>`: equal settings have equal hashes.

    A value that is the default does not count, whether it is written out or left out, so that a field with a default
    which a later version adds changes no hash. The order of items that have none does not count either.

    Args:
        stated: the settings.
        exclude: names of fields that do not count.
    """
    canonical = json.dumps(_effective(stated, exclude), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _effective(stated: Schema, exclude: Collection[str] = ()) -> dict[str, Any]:
    document = {}
    for name, field in type(stated).model_fields.items():
        value = getattr(stated, name)
        if name in exclude or value is None or value == field.get_default(call_default_factory=True):
            continue
        plain = _plain(value, field)
        # A part that only states defaults says as much as one that is absent.
        if plain not in ({}, []):
            document[field.alias or name] = plain
    return document


def _plain(value: Any, field: FieldInfo) -> Any:
    if isinstance(value, Schema):
        return _effective(value)
    if isinstance(value, tuple):
        items = [_plain(item, field) for item in value]
        return sorted(items, key=json.dumps) if _is_unordered(field) else items
    return value


def _is_unordered(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("x-kubernetes-list-type") in _UNORDERED
