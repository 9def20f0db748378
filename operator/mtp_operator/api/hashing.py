"""The one hash of settings."""

import hashlib
import json
from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

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


class _Field(NamedTuple):
    """What the hash needs to know of a field."""

    name: str
    key: str
    default: Any
    is_unordered: bool


@cache
def _fields(schema: type[Schema]) -> tuple[_Field, ...]:
    """The fields of a type: pydantic copies a default each time that it is asked for it."""
    return tuple(
        _Field(name, field.alias or name, field.get_default(call_default_factory=True), _is_unordered(field))
        for name, field in schema.model_fields.items()
    )


def _effective(stated: Schema, exclude: Collection[str] = ()) -> dict[str, Any]:
    document = {}
    for name, key, default, is_unordered in _fields(type(stated)):
        value = getattr(stated, name)
        if name in exclude or value is None or value == default:
            continue
        plain = _plain(value, is_unordered=is_unordered)
        # A part that only states defaults says as much as one that is absent.
        if plain not in ({}, []):
            document[key] = plain
    return document


def _plain(value: Any, *, is_unordered: bool) -> Any:
    if isinstance(value, Schema):
        return _effective(value)
    if isinstance(value, tuple):
        items = [_plain(item, is_unordered=is_unordered) for item in value]
        return sorted(items, key=json.dumps) if is_unordered else items
    return value


def _is_unordered(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("x-kubernetes-list-type") in _UNORDERED
