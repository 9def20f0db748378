"""Which changes of a CRD break stored objects or manifests, and which do not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from release import compatibility

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["uri"],
    "properties": {
        "uri": {"type": "string", "maxLength": 512, "pattern": "^a"},
        "mode": {"type": "string", "enum": ["Auto", "Disabled"], "default": "Auto"},
        "count": {"type": "integer", "minimum": 1, "maximum": 8},
        "levels": {"type": "array", "maxItems": 4, "items": {"type": "integer", "maximum": 64}},
    },
    "x-kubernetes-validations": [{"rule": "self.count > 0", "message": "must be"}],
}


def definition(schema: dict[str, Any], *, version: str = "v1", served: bool = True) -> dict[str, Any]:
    one = {"name": version, "served": served, "schema": {"openAPIV3Schema": schema}}
    return {"metadata": {"name": "things"}, "spec": {"versions": [one]}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The schema with one value changed, or removed (None)."""
    schema = copy.deepcopy(SCHEMA)
    *parents, last = path.split("/")
    place: Any = schema
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return schema


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("properties/mode", None, ".mode: was removed"),
        ("properties/count/maximum", 4, ".count: maximum was 8, is 4"),
        ("properties/count/minimum", 2, ".count: minimum was 1, is 2"),
        ("properties/uri/maxLength", 100, ".uri: maxLength was 512, is 100"),
        ("properties/uri/minLength", 1, ".uri: minLength was None, is 1"),
        ("properties/uri/pattern", "^b", ".uri: pattern was ^a, is ^b"),
        ("properties/uri/type", "integer", ".uri: type was string, is integer"),
        ("properties/mode/enum", ["Auto"], ".mode: Disabled is not allowed any more"),
        ("properties/uri/enum", ["a"], ".uri: any value is not allowed any more"),
        ("properties/mode/default", "Disabled", ".mode: the default was Auto, is Disabled"),
        ("properties/levels/items/maximum", 8, ".levels[]: maximum was 64, is 8"),
        ("properties/levels/maxItems", 2, ".levels: maxItems was 4, is 2"),
        ("required", ["uri", "count"], ".count: is required now"),
        ("x-kubernetes-validations", [{"rule": "self.count > 1", "message": "two"}], ": a new rule: two"),
    ],
)
def test_a_change_that_breaks_is_named(path: str, value: Any, problem: str) -> None:
    (found,) = compatibility.breaks(definition(SCHEMA), definition(changed(path, value)))

    assert found.startswith(f"things v1{problem}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties/new", {"type": "string"}),
        ("properties/count/maximum", 16),
        ("properties/count/minimum", None),
        ("properties/uri/pattern", None),
        ("properties/mode/enum", ["Auto", "Advisory", "Disabled"]),
        ("properties/count/default", 1),
        ("required", ["uri", "mode"]),
        ("required", None),
        ("x-kubernetes-validations", None),
        ("properties/levels/items/description", "Levels."),
    ],
)
def test_a_change_that_only_widens_is_none(path: str, value: Any) -> None:
    assert compatibility.breaks(definition(SCHEMA), definition(changed(path, value))) == []


def test_a_version_has_to_stay() -> None:
    assert compatibility.breaks(definition(SCHEMA), definition(SCHEMA, version="v2")) == [
        "things: version v1 is not served any more"
    ]
    assert compatibility.breaks(definition(SCHEMA), definition(SCHEMA, served=False))


def test_today_is_compatible_with_today() -> None:
    paths = sorted(compatibility.CRDS.glob("mtp-operator.dev_*.yaml"))

    assert len(paths) == 2
    for path in paths:
        one = yaml.safe_load(path.read_text())
        assert compatibility.breaks(one, one) == []
    assert compatibility.main(compatibility.CRDS) == 0
