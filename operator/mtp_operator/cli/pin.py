"""Writes an n_spec into the text of a manifest: one value changes, and everything else stays as it is, byte by byte."""

from dataclasses import dataclass
from typing import Final

import yaml

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.model import MTPModel

KIND: Final = MTPModel.__name__

_NULLS: Final = (None, "", "~", "null", "Null", "NULL")
"""How YAML spells a value that is not there."""


class PinError(ValueError):
    """The manifest cannot be changed; the message says why."""


@dataclass(frozen=True)
class _Edit:
    """Text that takes the place of what is between two offsets."""

    start: int
    end: int
    text: str


def pinned(text: str, source: str, name: str, n_spec: int) -> str:
    """The text with `spec.speculation.nSpec` of one MTPModel set.

    Args:
        text: a YAML stream, or a JSON document.
        source: what messages call it.
        name: of the model.
        n_spec: what is served from then on.

    Raises:
        PinError: the text is invalid, does not contain exactly one such model, or has the place in an alias.
    """
    try:
        documents = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError as error:
        raise PinError(f"{source}: invalid YAML: {' '.join(str(error).split())}") from None
    models = [node for document in documents for node in _models(document)]
    found = [node for node in models if _text(_member(_member(node, "metadata"), "name")) == name]
    if len(found) != 1:
        there = ", ".join(sorted(_text(_member(_member(node, "metadata"), "name")) for node in models)) or "none"
        raise PinError(f"{source}: contains {len(found)} of {KIND} named {name!r}, expected one (there: {there})")
    edit = _edit(found[0], source, n_spec)
    changed = text[: edit.start] + edit.text + text[edit.end :]
    _verify(text, changed, source)
    return changed


def _models(node: yaml.Node) -> list[yaml.Node]:
    """The MTPModels of a document, which may be a list."""
    if _text(_member(node, "kind")) == KIND and _text(_member(node, "apiVersion")) == API_VERSION:
        return [node]
    items = _member(node, "items")
    return [one for item in items.value for one in _models(item)] if isinstance(items, yaml.SequenceNode) else []


def _edit(model: yaml.Node, source: str, n_spec: int) -> _Edit:
    """What to write where: the value, or the parents that are missing as well."""
    parent, path = model, ["spec", "speculation", "nSpec"]
    while path:
        child = _member(parent, path[0])
        if child is None:
            return _insertion(parent, path, n_spec)
        if child.start_mark.index < parent.start_mark.index or child.end_mark.index > parent.end_mark.index:
            raise PinError(f"{source}: {path[0]} is an alias (*…): write it out, so that only this model changes")
        parent, path = child, path[1:]
        if path and isinstance(parent, yaml.ScalarNode) and parent.tag == "tag:yaml.org,2002:null":
            break
    if not path:
        return _Edit(parent.start_mark.index, parent.end_mark.index, str(n_spec))
    if not isinstance(parent, yaml.ScalarNode):
        raise PinError(f"{source}: {path[0]} cannot be set: its parent is not a mapping")
    return _Edit(
        parent.start_mark.index,
        parent.end_mark.index,
        f" {_flow(path, n_spec)}" if parent.value == "" else _flow(path, n_spec),
    )


def _insertion(parent: yaml.Node, path: list[str], n_spec: int) -> _Edit:
    """A new first member of a mapping."""
    if not isinstance(parent, yaml.MappingNode):
        raise PinError(f"line {parent.start_mark.line + 1}: a mapping with {path[0]} is expected here")
    if parent.flow_style:
        at = parent.start_mark.index + 1
        quote = '"' if parent.value and parent.value[0][0].style == '"' else ""
        inner = _flow(path, n_spec, quote)[1:-1]
        return _Edit(at, at, f"{inner}, " if parent.value else inner)
    at, column = parent.start_mark.index, parent.start_mark.column
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(path)]
    lines[-1] += f" {n_spec}"
    indented = f"\n{' ' * column}".join(lines)
    return _Edit(at, at, f"{indented}\n{' ' * column}")


def _flow(path: list[str], n_spec: int, quote: str = "") -> str:
    text = str(n_spec)
    for name in reversed(path):
        text = f"{{{quote}{name}{quote}: {text}}}"
    return text


def _verify(before: str, after: str, source: str) -> None:
    """Nothing but the one value may differ."""

    def without(text: str) -> list[object]:
        documents = list(yaml.load_all(text, Loader=yaml.BaseLoader))
        for document in documents:
            _forget(document)
        return documents

    if without(before) != without(after):
        raise PinError(f"{source}: the place of spec.speculation.nSpec was not understood; write it by hand")


def _forget(document: object) -> None:
    if isinstance(document, list):
        for item in document:
            _forget(item)
    elif isinstance(document, dict):
        _forget(document.get("items"))
        spec = document.get("spec")
        speculation = spec.get("speculation") if isinstance(spec, dict) else None
        if isinstance(speculation, dict):
            speculation.pop("nSpec", None)
        if isinstance(spec, dict) and speculation in ({}, *_NULLS):
            spec.pop("speculation", None)


def _member(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if _text(key) == name), None)


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
