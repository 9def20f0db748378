"""Manifests in files, folders and standard input, and on which line what they say stands."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_STANDARD_INPUT: Final = "-"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


class ManifestError(ValueError):
    """A manifest cannot be read; the message says where."""


class _Loader(yaml.SafeLoader):
    """Takes a date for the text that it is, as JSON does."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Manifest:
    """One document of a YAML stream."""

    source: str
    content: Any
    node: yaml.Node

    def line(self, path: Sequence[str | int] = ()) -> int:
        """The line, from 1 on, of what stands at the path, or of what is nearest above it where that is missing."""
        return _line(self.node, path)


def manifests(text: str, source: str) -> Iterator[Manifest]:
    """The documents of a stream, empty ones left out.

    Args:
        text: the stream.
        source: what messages call it.

    Raises:
        ManifestError: the text cannot be read as YAML, or says the same key twice.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            _check_keys(node, source)
            content = loader.construct_document(node)
            if content is not None:
                yield Manifest(source, content, node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{source}:{line}: cannot be read as YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{source}:1: cannot be read as YAML: {error}") from None
    finally:
        loader.dispose()


def texts(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Name and text of each file; a folder stands for the manifests below it, `-` for standard input.

    Raises:
        ManifestError: a file cannot be read.
    """
    for path in paths:
        if str(path) == _STANDARD_INPUT:
            yield "-", sys.stdin.read()
            continue
        is_manifest = [one for one in sorted(path.rglob("*")) if one.suffix in _SUFFIXES] if path.is_dir() else [path]
        for file in is_manifest:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ManifestError(f"{file}: {error}") from None


def _check_keys(node: yaml.Node, source: str) -> None:
    match node:
        case yaml.MappingNode(value=pairs):
            seen: set[str] = set()
            for key, value in pairs:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    line = key.start_mark.line + 1
                    raise ManifestError(f"{source}:{line}: the key {key.value} occurs twice in one object")
                if isinstance(key.value, str):
                    seen.add(key.value)
                _check_keys(value, source)
        case yaml.SequenceNode(value=parts):
            for part in parts:
                _check_keys(part, source)


def _line(node: yaml.Node, path: Sequence[str | int]) -> int:
    line: int = node.start_mark.line
    for part in path:
        match node, part:
            case yaml.MappingNode(value=pairs), str(name):
                found = [(key, value) for key, value in pairs if key.value == name]
                if not found:
                    break
                key, node = found[0]
                line = key.start_mark.line
            case yaml.SequenceNode(value=parts), int(index) if index < len(parts):
                node = parts[index]
                line = node.start_mark.line
            case _:
                break
    return line + 1
