"""What the API server says of an object, without one: unknown fields, schema, defaults, list types, CEL rules.

It reads the same schema as the API server, in the same order and with the same words: an error of the schema keeps the
rules from being evaluated, and a rule sees the defaults.
"""

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

import cel
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as JsonSchemaError

from .crd import KINDS

Json = dict[str, Any]


class Key(str):
    """A key of a map, which Kubernetes writes in brackets where a rule refers to its value."""

    __slots__ = ()


Path = tuple[str | int, ...]

_BLOCKING: Final = frozenset({"type", "enum", "required", "maxLength", "maxItems", "maxProperties"})
"""Keywords whose errors keep the API server from evaluating CEL rules."""

_BOUNDS: Final = {
    "minimum": "should be greater than or equal to {}",
    "maximum": "should be less than or equal to {}",
    "minLength": "should be at least {} chars long",
    "minItems": "should have at least {} items",
    "minProperties": "should have at least {} properties",
    "pattern": "should match '{}'",
    "format": "must be of type {}",
    "maxLength": "may not be more than {} bytes",
    "maxItems": "must have at most {} items",
    "maxProperties": "must have at most {} items",
}

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUANTITY: Final = re.compile(r"([0-9]+(?:[.][0-9]*)?|[.][0-9]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_SUFFIXES: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
}


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with an object.

    Attributes:
        path: where, from the object's root.
        message: what is wrong and what is allowed.
    """

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}"


def dotted(path: Path) -> str:
    """The path as Kubernetes writes it."""
    return "".join(f"[{part}]" if isinstance(part, int | Key) else f".{part}" for part in path).removeprefix(".")


def complaints(document: Mapping[str, Any]) -> list[Complaint]:
    """What the API server would say against a new object of ours, in its order; nothing if it would take it.

    Args:
        document: with apiVersion and kind of this API, as JSON has it.
    """
    schema = _schema(document["kind"])
    if unknown := list(_unknown_fields(document, schema, ())):
        return unknown
    stated = _with_defaults(document, schema)
    found = [*_name(stated), *_schema_errors(stated, schema)]
    blocked = any(one.keyword in _BLOCKING for one in found)
    found += _duplicates(stated, schema, ())
    return [one.complaint for one in found] + ([] if blocked else list(_broken_rules(stated, schema, ())))


def with_defaults(document: Mapping[str, Any]) -> Json:
    """The object as the API server would store it, defaults filled in."""
    filled: Json = _with_defaults(document, _schema(document["kind"]))
    return filled


@dataclass(frozen=True)
class _Found:
    complaint: Complaint
    keyword: str = ""


@cache
def _schema(kind: str) -> Json:
    (known,) = (one for one in KINDS if one.model.__name__ == kind)
    schema: Json = known.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    # What is in metadata is Kubernetes' own.
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return schema


def _unknown_fields(value: Any, schema: Json, path: Path) -> Iterator[Complaint]:
    """Fields that strict decoding refuses; a wrong type is left to the schema."""
    match value:
        case Mapping() if "properties" in schema:
            for name, part in value.items():
                if name in schema["properties"]:
                    yield from _unknown_fields(part, schema["properties"][name], (*path, name))
                else:
                    close = difflib.get_close_matches(str(name), schema["properties"], 1)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    yield Complaint((*path, str(name)), f"unknown field{hint}")
        case Mapping() if isinstance(schema.get("additionalProperties"), dict):
            for name, part in value.items():
                yield from _unknown_fields(part, schema["additionalProperties"], (*path, str(name)))
        case list() if "items" in schema:
            for index, part in enumerate(value):
                yield from _unknown_fields(part, schema["items"], (*path, index))


def _with_defaults(value: Any, schema: Json) -> Any:
    match value:
        case Mapping() if "properties" in schema:
            properties = schema["properties"]
            # A null counts as absent: no field of ours is nullable.
            stated = {name: part for name, part in value.items() if part is not None or name not in properties}
            defaults = {
                name: copy.deepcopy(part["default"])
                for name, part in properties.items()
                if "default" in part and name not in stated
            }
            return {
                name: _with_defaults(part, properties.get(name, {})) for name, part in {**stated, **defaults}.items()
            }
        case Mapping() if isinstance(schema.get("additionalProperties"), dict):
            return {
                name: _with_defaults(part, schema["additionalProperties"])
                for name, part in value.items()
                if part is not None
            }
        case list() if "items" in schema:
            return [_with_defaults(part, schema["items"]) for part in value]
        case _:
            return value


def _name(document: Json) -> Iterator[_Found]:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        yield _Found(Complaint(("metadata", "name"), "Required value: name or generateName is required"), "required")
    elif not _NAME.fullmatch(name):
        message = (
            f"Invalid value: {json.dumps(name)}: a lowercase RFC 1123 subdomain must consist of lower case "
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        )
        yield _Found(Complaint(("metadata", "name"), message), "type")


def _schema_errors(document: Json, schema: Json) -> Iterator[_Found]:
    for error in sorted(Draft202012Validator(schema).iter_errors(document), key=lambda one: list(map(str, one.path))):
        path = tuple(error.absolute_path)
        if error.validator == "required":
            # There is one error for each missing name, which only its message tells.
            missing = [name for name in error.validator_value if error.message.startswith(f"'{name}' ")]
            path = (*path, *missing)
        yield _Found(Complaint(path, _said(error)), str(error.validator))


def _said(error: JsonSchemaError) -> str:
    stated: Any = error.instance
    limit: Any = error.validator_value
    value = json.dumps(stated, default=str, ensure_ascii=False)
    value = value if len(value) <= 120 else f"{value[:117]}…"
    match error.validator:
        case "required":
            return "Required value"
        case "enum":
            return f"Unsupported value: {value}: supported values: {', '.join(map(json.dumps, limit))}"
        case "type":
            return f"Invalid value: {value}: must be of type {limit}"
        case "maxLength":
            return f"Too long: {_BOUNDS['maxLength'].format(limit)}"
        case "maxItems" | "maxProperties":
            return f"Too many: {len(stated)}: {_BOUNDS['maxItems'].format(limit)}"
        case keyword:
            return f"Invalid value: {value}: {_BOUNDS[str(keyword)].format(limit)}"


def _duplicates(value: Any, schema: Json, path: Path) -> Iterator[_Found]:
    match value:
        case Mapping():
            for name, part in value.items():
                nested = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                if isinstance(nested, dict):
                    yield from _duplicates(part, nested, (*path, name))
        case list() if "items" in schema:
            keys = schema.get("x-kubernetes-list-map-keys", ())
            seen: list[Any] = []
            for index, part in enumerate(value):
                yield from _duplicates(part, schema["items"], (*path, index))
                identity = {key: part.get(key) for key in keys} if keys and isinstance(part, Mapping) else part
                if schema.get("x-kubernetes-list-type") in ("set", "map") and identity in seen:
                    message = f"Duplicate value: {json.dumps(identity, default=str)}"
                    yield _Found(Complaint((*path, index), message), "duplicate")
                seen.append(identity)


def _broken_rules(value: Any, schema: Json, path: Path) -> Iterator[Complaint]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"]:
            continue
        context = _context(value)
        if not _program(rule["rule"]).execute(context):
            message = (
                str(_program(rule["messageExpression"]).execute(context))
                if "messageExpression" in rule
                else rule["message"]
            )
            place = tuple(part for part in rule.get("fieldPath", "").split(".") if part)
            yield Complaint((*path, *place), f"Invalid value: {message}")
    match value:
        case Mapping():
            for name, part in value.items():
                if name in schema.get("properties", {}):
                    yield from _broken_rules(part, schema["properties"][name], (*path, name))
                elif isinstance(schema.get("additionalProperties"), dict):
                    yield from _broken_rules(part, schema["additionalProperties"], (*path, Key(name)))
        case list() if "items" in schema:
            for index, part in enumerate(value):
                yield from _broken_rules(part, schema["items"], (*path, index))


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _context(value: Any) -> cel.Context:
    """`self`, and those functions of Kubernetes' CEL libraries that our rules use."""
    context = cel.Context()
    context.add_variable("self", value)
    context.add_function("replace", str.replace)
    context.add_function("split", lambda text, separator: text.split(separator))
    context.add_function("substring", lambda text, begin, end: text[begin:end])
    context.add_function("max", max)
    context.add_function("isQuantity", lambda text: _QUANTITY.fullmatch(text) is not None)
    context.add_function("quantity", lambda text: text)
    context.add_function("compareTo", _compared)
    return context


def _compared(one: str, other: str) -> int:
    first, second = _amount(one), _amount(other)
    return (first > second) - (first < second)


def _amount(quantity: str) -> Decimal:
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]
