"""Which files of a repository an engine needs."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from .fetch_errors import FetchError
from .listing import RemoteFile

OTHER_FORMATS: Final = (
    "*.bin", "*.ckpt", "*.gguf", "*.h5", "*.mlmodel", "*.msgpack", "*.onnx", "*.onnx_data", "*.ot", "*.pt", "*.pth",
    "*.tflite", ".git*", "*/.git*", "original/*",
)  # fmt: skip
"""What an engine that reads safetensors has no use for; some of it could run code when it is loaded."""

_PART: Final = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def select(files: Iterable[RemoteFile], path: str) -> tuple[tuple[RemoteFile, ...], str]:
    """The files to fetch, and the path of the one that is loaded.

    Args:
        files: all that the repository has.
        path: of one file, which may hold `*`; empty means the repository as a folder of safetensors.

    Raises:
        FetchError: there is nothing of that kind, or too much.
    """
    files = sorted(files, key=lambda file: file.path)
    return _parts(files, path) if path else (_safetensors(files), "")


def _safetensors(files: list[RemoteFile]) -> tuple[RemoteFile, ...]:
    if not any(file.path.endswith(".safetensors") for file in files):
        raise FetchError("NoWeights", "the repository has no .safetensors file")
    return tuple(file for file in files if not any(fnmatchcase(file.path, one) for one in OTHER_FORMATS))


def _parts(files: list[RemoteFile], path: str) -> tuple[tuple[RemoteFile, ...], str]:
    named = [file.path for file in files if fnmatchcase(file.path, path)]
    wholes = set(map(_whole, named))
    if not wholes:
        there = [file.path for file in files if file.path.endswith(".gguf")]
        raise FetchError(
            "FileNotFound", f"the repository has no file {path}; it has {_enumerated(there) or 'no .gguf'}"
        )
    if len(wholes) > 1:
        raise FetchError("FileAmbiguous", f"{path} matches several models: {_enumerated(named)}; name one of them")
    parts = tuple(file for file in files if _whole(file.path) in wholes)
    number = _PART.search(parts[0].path)
    if number and len(parts) != int(number[2]):
        raise FetchError("FileNotFound", f"of {path} the repository has {len(parts)} parts instead of {int(number[2])}")
    return parts, parts[0].path


def _whole(path: str) -> str:
    """The name that the parts of one GGUF have in common."""
    return _PART.sub(r"-of-\2.gguf", path)


def _enumerated(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
