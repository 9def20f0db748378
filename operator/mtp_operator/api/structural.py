"""From a pydantic model to the dialect of JSON schema that Kubernetes calls structural.

Nothing is said by reference, nothing is null, and there are no unions. What the API promises is checked on the way:
every field is described, and everything has bounds.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from .base import Schema

Json = dict[str, Any]

_KEYWORDS: Final = {
    *("type", "description", "default", "enum", "format", "pattern", "properties", "required", "items"),
    *("additionalProperties", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
}
_INT32_MAX: Final = 2**31 - 1


class SchemaError(ValueError):
    """A model says something that the API server would refuse, or leaves out what the API promises."""


class _KubernetesSchema(GenerateJsonSchema):
    """JSON schema without null, whose defaults leave the defaults of nested fields to those fields."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        match dft:
            case Schema():
                return dft.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            case tuple():
                return [self.encode_default(item) for item in dft]
            case _:
                return super().encode_default(dft)


def structural_schema(model: type[Schema], *, with_defaults: bool) -> Json:
    """The model in the API server's dialect.

    Args:
        model: its fields become the properties.
        with_defaults: whether the API server fills defaults in. It should not in a status: that is what was observed.

    Raises:
        SchemaError: a field has no description, no bound, or a type that the API does not have.
    """
    schema = model.model_json_schema(schema_generator=_KubernetesSchema)
    return _structural(schema, schema.get("$defs", {}), with_defaults=with_defaults, path=model.__name__)


def _structural(schema: Json, definitions: Mapping[str, Json], *, with_defaults: bool, path: str) -> Json:
    schema = _inlined(schema, definitions, path)
    if not with_defaults or schema.get("default") in (None, [], ""):
        schema.pop("default", None)

    def nested(part: Json, name: str) -> Json:
        return _structural(part, definitions, with_defaults=with_defaults, path=f"{path}{name}")

    if "properties" in schema:
        schema["properties"] = {name: nested(part, f".{name}") for name, part in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = nested(schema["items"], "[]")
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = nested(schema["additionalProperties"], ".*")
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
    _check(schema, path)
    return schema


def _inlined(schema: Json, definitions: Mapping[str, Json], path: str) -> Json:
    inlined = {key: value for key, value in schema.items() if key not in ("$ref", "$defs", "title")}
    if "$ref" not in schema:
        return inlined
    definition = _inlined(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, path)
    if overridden := [key for key in definition.keys() & inlined.keys() if key.startswith("x-")]:
        raise SchemaError(f"{path}: {', '.join(overridden)} must be on the type or on the field, not on both")
    return definition | inlined


def _check(schema: Json, path: str) -> None:
    if unknown := schema.keys() - _KEYWORDS:
        raise SchemaError(f"{path}: {', '.join(sorted(unknown))} cannot be said in a structural schema")
    for name, part in schema.get("properties", {}).items():
        if not part.get("description", "").endswith("."):
            raise SchemaError(f"{path}.{name}: a field must have a description that ends with a full stop")
    match schema.get("type"):
        case "string" if "enum" not in schema and "maxLength" not in schema:
            raise SchemaError(f"{path}: a string must have a max_length")
        case "integer" if "minimum" not in schema:
            raise SchemaError(f"{path}: an integer must have a lower bound")
        case "array" if "maxItems" not in schema:
            raise SchemaError(f"{path}: a list must have a max_length")
        case "array" if "x-kubernetes-list-type" not in schema:
            raise SchemaError(f"{path}: a list must have an x-kubernetes-list-type")
        case "object" if "additionalProperties" in schema and "maxProperties" not in schema:
            raise SchemaError(f"{path}: a map must have a max_length")
        case "object" if "properties" not in schema and "additionalProperties" not in schema:
            raise SchemaError(f"{path}: an object must have fields")
        case "string" | "integer" | "boolean" | "array" | "object":
            pass
        case other:
            raise SchemaError(f"{path}: type {other} is none that the API has")
