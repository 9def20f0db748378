"""The tuning run in a file, as `kubectl get -o yaml` or `-o json` wrote it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.run import MTPTuningRun

KIND = MTPTuningRun.__name__


class ReportError(ValueError):
    """No report can be made; the message says why."""


def run_in(text: str, source: str, name: str | None = None) -> MTPTuningRun:
    """The tuning run in a YAML stream or a JSON document, which may be a list.

    Args:
        text: the stream.
        source: what messages call it.
        name: of the run, where the stream may hold several.

    Raises:
        ReportError: the text is invalid, or does not hold exactly one such run.
    """
    try:
        found = [body for document in _documents(text) for body in _runs(document)]
    except (yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        raise ReportError(f"{source}: invalid YAML or JSON: {_one_line(error)}") from None
    names = [str((body.get("metadata") or {}).get("name")) for body in found]
    chosen = [body for body, called in zip(found, names, strict=True) if name in (None, called)]
    if not found:
        raise ReportError(f"{source}: contains no {KIND} (apiVersion {API_VERSION})")
    if not chosen:
        raise ReportError(f"{source}: contains no {KIND} named {name!r}; there are {', '.join(names)}")
    if len(chosen) > 1:
        raise ReportError(f"{source}: contains {len(chosen)} of {KIND}; select one with --name: {', '.join(names)}")
    return _run(chosen[0], source)


def _documents(text: str) -> list[Any]:
    if text.lstrip().startswith("{"):
        return [json.loads(text)]
    return list(yaml.load_all(text, Loader=_Loader))


def _runs(document: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        return
    if document.get("kind") == KIND and document.get("apiVersion") == API_VERSION:
        yield document
    elif isinstance(items := document.get("items"), list):
        for item in items:
            yield from _runs(item)


def _run(body: Mapping[str, Any], source: str) -> MTPTuningRun:
    try:
        return MTPTuningRun.from_wire({**body, "metadata": _completed(body)})
    except ValidationError as error:
        wrong = "\n".join(f"{source}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ReportError(wrong) from None


def _completed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata, with what a run in Git may lack."""
    lacking = {"namespace": "default", "uid": "", "creationTimestamp": "1970-01-01T00:00:00Z"}
    return {**lacking, **(body.get("metadata") or {})}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """A safe loader that leaves times as text, as the API has them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
