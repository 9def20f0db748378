"""The least document that a JSON schema allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def least_document(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A document that follows the schema, as small as it may be; of the schema's words, the common ones are known.

    Args:
        schema: or a part of one.
        root: the whole one, where references lead to.
    """
    root = schema if root is None else root
    if reference := schema.get("$ref"):
        part: Any = root
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        return least_document(part, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return least_document(schema[several][0], root)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: least_document(properties.get(name, {}), root) for name in schema.get("required", ())}
        case "array":
            return [least_document(schema.get("items", {}), root)] * schema.get("minItems", 0)
        case "integer" | "number":
            return max(0, schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
        case "boolean":
            return True
        case "string":
            return "a" * schema.get("minLength", 1)
        case _:
            return None
