"""The generated CRDs keep the API's promises, and the committed files are what the models say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import yaml
from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated
from mtp_operator.api.crd import KINDS, generated_files, main
from mtp_operator.api.reference import spelled_out
from mtp_operator.api.structural import SchemaError, structural_schema

REPOSITORY = Path(__file__).parents[3]
FILES = generated_files()
CRDS = {path: yaml.safe_load(text) for path, text in FILES.items() if path.startswith("crds/")}


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[]")


def every_node() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of the spec and the status of both kinds."""
    for definition in CRDS.values():
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            yield from nodes(schema["properties"][part], f"{definition['spec']['names']['kind']}.{part}")


NODES = dict(every_node())


@pytest.mark.parametrize("path", FILES)
def test_committed_file_is_what_the_models_say(path: str) -> None:
    assert (REPOSITORY / path).read_text(encoding="utf-8") == FILES[path], "run `make generate`"


def test_check_names_the_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path)
    with pytest.raises(typer.Exit) as unchanged:
        main(tmp_path, check=True)
    assert unchanged.value.exit_code == 0

    (tmp_path / "docs" / "reference" / "api.md").write_text("older")
    capsys.readouterr()
    with pytest.raises(typer.Exit) as changed:
        main(tmp_path, check=True)

    assert changed.value.exit_code == 1
    message = capsys.readouterr().err
    assert (
        "docs/reference/api.md is not what the models in operator/mtp_operator/api say: run `make generate`" in message
    )
    assert "crds/" not in message


def test_nothing_that_a_structural_schema_forbids() -> None:
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const", "nullable"}

    assert {path: forbidden & node.keys() for path, node in NODES.items() if forbidden & node.keys()} == {}
    maps = [node for node in NODES.values() if "additionalProperties" in node]
    assert maps
    assert all(node["maxProperties"] and "properties" not in node for node in maps)


def test_every_field_is_described() -> None:
    fields = {path: node for path, node in NODES.items() if not path.endswith("[]") or node["type"] == "object"}

    assert [path for path, node in fields.items() if not node["description"].endswith(".")] == []


def test_everything_is_bounded_and_nothing_floats() -> None:
    bounds = {"string": {"maxLength", "enum"}, "array": {"maxItems"}, "integer": {"minimum"}}
    types = {node["type"] for node in NODES.values()}
    unbounded = [path for path, node in NODES.items() if (need := bounds.get(node["type"])) and not need & node.keys()]

    assert types == {"object", "string", "array", "integer", "boolean"}
    assert unbounded == []


def test_integers_have_the_format_that_holds_them() -> None:
    assert NODES["MTPModel.spec.tuning.maxNSpec"]["format"] == "int32"
    assert NODES["MTPModel.status.observedGeneration"]["format"] == "int64"


def test_a_status_has_no_default_but_the_generation_that_was_never_observed() -> None:
    with_default = {path: node["default"] for path, node in NODES.items() if ".status" in path and "default" in node}

    assert with_default == {
        "MTPModel.status": {"observedGeneration": -1},
        "MTPTuningRun.status": {"observedGeneration": -1},
    }


def test_parents_leave_defaults_to_their_fields() -> None:
    assert NODES["MTPModel.spec.tuning"]["default"] == {}
    assert NODES["MTPModel.spec.tuning.workload"]["default"] == {}
    assert NODES["MTPModel.spec.tuning.workload.outputTokens"]["default"] == 512
    # What the engine decodes together decides it, and a stored default would be held against that.
    assert "default" not in NODES["MTPModel.spec.tuning.workload.levels"]
    assert "default" not in NODES["MTPModel.spec.engine.vllm"]
    assert "default" not in NODES["MTPModel.spec.engine.llamaCpp"]


def test_keys_of_list_maps_are_required() -> None:
    maps = {path: node for path, node in NODES.items() if node.get("x-kubernetes-list-type") == "map"}

    assert maps
    for path, node in maps.items():
        assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path


@pytest.mark.parametrize(
    ("chart", "actions"),
    [
        ("mtp-operator/templates/crds", ["if", "include", "if", "end", "end"]),
        ("mtp-operator-crds/templates", ["include", "if", "end"]),
    ],
)
def test_charts_have_the_same_definitions(chart: str, actions: list[str]) -> None:
    for path, definition in CRDS.items():
        template = FILES[path.replace("crds/", f"charts/{chart}/")]
        rendered = "".join(line for line in template.splitlines(keepends=True) if "{{" not in line)
        expected = {**definition["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}

        assert re.findall(r"\{\{-? *(\w+)", template) == actions
        assert yaml.safe_load(rendered) == definition | {"metadata": expected}


def test_reference_speaks_of_every_field_and_every_rule() -> None:
    reference = "".join(text for path, text in FILES.items() if path.endswith(".md"))
    rules = [one for _, node in every_node() for one in node.get("x-kubernetes-validations", ())]

    for path in NODES:
        _, _, field = path.partition(".")
        _, _, name = field.partition(".")
        assert path.endswith("[]") or not name or f"| `{name}` |" in reference, path
    assert rules
    messages = [one["message"].replace("<", "&lt;").replace("*", "\\*") for one in rules]
    assert [one for one in messages if one[1:] not in reference] == []


def test_kinds_have_their_names() -> None:
    names = {kind.model.__name__: kind.definition()["spec"]["names"] for kind in KINDS}

    assert names["MTPModel"] == {
        "kind": "MTPModel",
        "listKind": "MTPModelList",
        "plural": "mtpmodels",
        "singular": "mtpmodel",
        "shortNames": ["mtpm"],
        "categories": ["mtp"],
    }
    assert names["MTPTuningRun"]["plural"] == "mtptuningruns"
    assert names["MTPTuningRun"]["shortNames"] == ["mtpr"]


def described(**extra: Any) -> Any:
    return Field(description="A field.", **extra)


class Unbounded(Schema):
    name: Annotated[str, described()]


class UnboundedItems(Schema):
    names: Annotated[tuple[Annotated[str, Field(max_length=3)], ...], described()]


class NoMergeKey(Schema):
    names: Annotated[tuple[Annotated[str, Field(max_length=3)], ...], described(max_length=3)]


class Bottomless(Schema):
    count: Annotated[int, described()]


class Floating(Schema):
    share: Annotated[float, described(ge=0)]


class Exclusive(Schema):
    count: Annotated[int, described(gt=0)]


class Undescribed(Schema):
    count: Annotated[int, Field(ge=0)]


class NoSentence(Schema):
    count: Annotated[int, Field(ge=0, description="How many")]


class Either(Schema):
    value: Annotated[int | str, described(max_length=3)]


class Ruled(Schema):
    """A type with a rule."""

    model_config = ConfigDict(json_schema_extra=validated(rule("true", "must be")))

    count: Annotated[int, described(ge=0)]


class RuledTwice(Schema):
    ruled: Annotated[Ruled, described(json_schema_extra=validated(rule("true", "must be as well")))]


class Boundless(Schema):
    value: Annotated[dict[str, Annotated[str, Field(max_length=3)]], described()]


class FreeForm(Schema):
    value: Annotated[dict[str, str], described(max_length=3)]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Unbounded, r"Unbounded\.name: a string must have a max_length"),
        (UnboundedItems, r"UnboundedItems\.names: a list must have a max_length"),
        (NoMergeKey, r"NoMergeKey\.names: a list must have an x-kubernetes-list-type"),
        (Bottomless, r"Bottomless\.count: an integer must have a lower bound"),
        (Floating, r"Floating\.share: type number is none that the API has"),
        (Exclusive, r"Exclusive\.count: exclusiveMinimum cannot be said"),
        (Undescribed, r"Undescribed\.count: a field must have a description"),
        (NoSentence, r"NoSentence\.count: a field must have a description that ends with a full stop"),
        (Either, r"Either\.value: anyOf cannot be said"),
        (RuledTwice, r"RuledTwice\.ruled: x-kubernetes-validations must be on the type or on the field, not on both"),
        (Boundless, r"Boundless\.value: a map must have a max_length"),
        (FreeForm, r"FreeForm\.value\.\*: a string must have a max_length"),
    ],
)
def test_a_broken_promise_ends_the_generation(model: type[Schema], complaint: str) -> None:
    with pytest.raises(SchemaError, match=complaint):
        structural_schema(model, with_defaults=True)


@pytest.mark.parametrize(
    ("schema", "description"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 16, "default": 8}, "N. Allowed: 1 to 16. Default: 8."),
        ({"type": "integer", "minimum": -1}, "N. Allowed: at least -1."),
        ({"type": "string", "enum": ["A", "B"], "default": "A"}, "N. Default: A."),
        ({"type": "string", "maxLength": 9}, "N. Allowed: at most 9 characters."),
        ({"type": "boolean", "default": False}, "N. Default: false."),
        ({"type": "array", "maxItems": 4}, "N. Allowed: at most 4 items."),
        (
            {"type": "array", "minItems": 1, "maxItems": 4, "default": [{"a": 1}]},
            'N. Allowed: 1 to 4 items. Default: [{"a": 1}].',
        ),
        ({"type": "object", "default": {}}, "N."),
    ],
)
def test_descriptions_tell_limits_and_defaults(schema: dict[str, Any], description: str) -> None:
    assert spelled_out({**schema, "description": "N."})["description"] == description
