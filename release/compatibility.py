"""What a change of the CRDs breaks for objects that are stored, or for manifests in Git.

    python -m release.compatibility FOLDER      compares the CRDs of an earlier release with those of crds/

It compares versions that both have: a new field, a wider bound or a longer list of allowed values breaks nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

CRDS: Final = Path(__file__).parents[1] / "crds"

_LEAST: Final = ("minimum", "minLength", "minItems", "minProperties")
_MOST: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = ("type", "format", "pattern", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")

Schema = Mapping[str, Any]


def breaks(before: Schema, after: Schema) -> list[str]:
    """What an object that the older CustomResourceDefinition admits may not be any more, each with its field.

    Args:
        before: the CustomResourceDefinition of the earlier release.
        after: the one of today.
    """
    name = after["metadata"]["name"]
    versions = {one["name"]: one for one in after["spec"]["versions"]}
    found = []
    for older in before["spec"]["versions"]:
        newer = versions.get(older["name"])
        if newer is None or not newer["served"]:
            found.append(f"{name}: version {older['name']} is not served any more")
            continue
        schemas = [one["schema"]["openAPIV3Schema"] for one in (older, newer)]
        found += [f"{name} {older['name']}{problem}" for problem in _breaks(schemas[0], schemas[1], "")]
    return found


def _breaks(before: Schema, after: Schema, path: str) -> Iterator[str]:
    yield from _tightened(before, after, path)
    for name in after.get("required", ()):
        if name not in before.get("required", ()) and "default" not in after["properties"][name]:
            yield f"{path}.{name}: is required now"
    for name, older in before.get("properties", {}).items():
        newer = after.get("properties", {}).get(name)
        if newer is None:
            yield f"{path}.{name}: was removed"
        else:
            yield from _breaks(older, newer, f"{path}.{name}")
    for name, place in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(before.get(name), Mapping) and isinstance(after.get(name), Mapping):
            yield from _breaks(before[name], after[name], f"{path}{place}")


def _tightened(before: Schema, after: Schema, path: str) -> Iterator[str]:
    for name in _SAME:
        if before.get(name) != after.get(name) and (name != "pattern" or name in after):
            yield f"{path}: {name} was {before.get(name)}, is {after.get(name)}"
    for name in _LEAST:
        if after.get(name, float("-inf")) > before.get(name, float("-inf")):
            yield f"{path}: {name} was {before.get(name)}, is {after[name]}"
    for name in _MOST:
        if after.get(name, float("inf")) < before.get(name, float("inf")):
            yield f"{path}: {name} was {before.get(name)}, is {after[name]}"
    if "enum" in after and (lost := [one for one in before.get("enum", ("any value",)) if one not in after["enum"]]):
        yield f"{path}: {', '.join(map(str, lost))} is not allowed any more"
    if before.get("default") != after.get("default") and "default" in before:
        yield f"{path}: the default was {before['default']}, is {after.get('default')}"
    rules = [
        {one["rule"]: one["message"] for one in schema.get("x-kubernetes-validations", ())}
        for schema in (before, after)
    ]
    for rule in rules[1].keys() - rules[0].keys():
        yield f"{path}: a new rule: {rules[1][rule]}"


def main(folder: Path) -> int:
    """Prints what breaks; 1 if anything does."""
    found = [
        problem
        for path in sorted(folder.glob("mtp-operator.dev_*.yaml"))
        for problem in breaks(yaml.safe_load(path.read_text()), yaml.safe_load((CRDS / path.name).read_text()))
    ]
    for problem in found:
        print(problem, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
