"""What a hub says of a repository, checked before any of it becomes a path, a length or a text.

A mirror may be anybody's. Its commit becomes a folder of the claim, its names become files there, its sizes are what is
written at most.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from .fetch_errors import FetchError

MOST_FILES: Final = 10_000
LARGEST_FILE_BYTES: Final = 1 << 50
LONGEST_PATH_BYTES: Final = 1024
LONGEST_NAME_BYTES: Final = 240
"""Of one folder or file: what file systems take, less what is put behind it on the way."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at one commit. Large ones have a sha256, others git's own hash."""

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True)
class Listing:
    """All files of a repository at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]


def checked(commit: object, files: Iterable[RemoteFile], pinned: str | None) -> Listing:
    """The listing, once nothing in it can do harm.

    Args:
        commit: as the hub says.
        files: likewise.
        pinned: the only commit that was asked for, if one was.

    Raises:
        FetchError: the hub says something that no hub says.
    """
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _refused(f"the hub names {commit!r:.60} as the commit, which is not 40 hexadecimal digits")
    if pinned is not None and commit != pinned:
        raise _refused(f"the hub answers with commit {commit} where {pinned} was asked for")
    files = tuple(files)
    if len(files) > MOST_FILES:
        raise _refused(f"the hub lists {len(files)} files; {MOST_FILES} are the most that are fetched")
    paths = {file.path for file in files}
    if len(paths) < len(files):
        raise _refused("the hub lists a file twice")
    for file in files:
        problem = _problem(file, paths)
        if problem is not None:
            raise _refused(f"the hub lists a file {file.path!r:.80}, which {problem}")
    return Listing(commit, files)


def _problem(file: RemoteFile, paths: set[str]) -> str | None:
    parts = file.path.split("/")
    if not file.path.isprintable():
        return "has control characters in its name"
    if not all(parts) or {".", ".."} & set(parts):
        return "would be outside of its folder"
    if len(file.path.encode()) > LONGEST_PATH_BYTES or max(len(part.encode()) for part in parts) > LONGEST_NAME_BYTES:
        return "has too long a name"
    if any(str(folder) in paths for folder in PurePosixPath(file.path).parents):
        return "is inside another file"
    if not isinstance(file.size, int) or not 0 <= file.size <= LARGEST_FILE_BYTES:
        return f"has no size that a file can have ({file.size!r:.40})"
    is_hashed = _SHA256.fullmatch(file.sha256) if file.sha256 is not None else _COMMIT.fullmatch(file.git_sha1 or "")
    return None if is_hashed else "has no hash that it could be verified by"


def _refused(message: str) -> FetchError:
    return FetchError("HubRefused", message)
