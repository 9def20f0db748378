"""Whether MTPModels are in order, without a cluster: what the API server and the operator would say against them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mtp_operator.api.base import API_VERSION, GROUP
from mtp_operator.api.model import MTPModel
from mtp_operator.api.validation import complaints

from .manifests import Manifest, manifests


@dataclass(frozen=True)
class Judged:
    """One MTPModel, and what is wrong with it."""

    manifest: Manifest
    problems: tuple[str, ...]
    """One line each, `file:line: field: message`."""

    @property
    def name(self) -> str:
        """The model's, as far as it has one."""
        metadata = self.manifest.content.get("metadata")
        return str(metadata.get("name")) if isinstance(metadata, Mapping) else "?"


def judged(text: str, source: str) -> Iterator[Judged]:
    """The MTPModels of a YAML stream; documents of other kinds are passed over.

    Args:
        text: the stream.
        source: what messages call it.

    Raises:
        ManifestError: the text cannot be read as YAML.
    """
    for manifest in _flattened(manifests(text, source)):
        if isinstance(manifest.content, Mapping) and _is_ours(manifest.content):
            yield Judged(manifest, tuple(_problems(manifest)))


def _is_ours(document: Mapping[str, Any]) -> bool:
    group = str(document.get("apiVersion", GROUP)).partition("/")[0]
    return document.get("kind") == MTPModel.__name__ and group == GROUP


def _flattened(found: Iterable[Manifest]) -> Iterator[Manifest]:
    """The items of a List stand for themselves, as for kubectl."""
    for manifest in found:
        content = manifest.content
        if not isinstance(content, Mapping) or content.get("kind") != "List":
            yield manifest
            continue
        nodes = next((value.value for key, value in manifest.node.value if key.value == "items"), ())
        for item, node in zip(content.get("items") or (), nodes, strict=False):
            yield Manifest(manifest.source, item, node)


def _problems(manifest: Manifest) -> Iterator[str]:
    document: Mapping[str, Any] = manifest.content
    stated = document.get("apiVersion")
    if stated != API_VERSION:
        yield _at(manifest, ("apiVersion",), f"apiVersion: must be {API_VERSION}, not {stated}")
        return
    yield from (_at(manifest, one.path, str(one)) for one in complaints(document))


def _at(manifest: Manifest, path: tuple[str | int, ...], message: str) -> str:
    return f"{manifest.source}:{manifest.line(path)}: {message}"
