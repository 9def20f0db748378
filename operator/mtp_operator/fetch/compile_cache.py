"""Compile caches: the folder of one, and a copy of what trials have compiled for a server that may not write to it."""

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 12 << 30
"""Copied at most: a server's own volume holds 16 GiB, and a pod that fills it is evicted."""


def make_folder(folder: Path) -> str:
    """Makes the folder of a cache, and says in a sentence what came of it: without one an engine starts cold.

    Args:
        folder: below the folder of all caches.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder}: not made: {error.strerror}"
    return f"{folder}: exists already"


def copy_cache(source: Path, target: Path) -> str:
    """Copies what is there, and says in a sentence what came of it: a cache saves time, and its lack is no failure.

    Args:
        source: a folder that somebody may be writing to.
        target: a folder that need not exist.
    """
    if not source.is_dir():
        return f"{source}: nothing has been compiled yet"
    try:
        shutil.copytree(source, target, ignore=_Strange(), copy_function=shutil.copyfile, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        return f"{source}: copied in part: {error}"
    return f"{source}: copied to {target}"


class _Strange:
    """What is not copied: all that is neither a file nor a folder, a link above all, and what is too much.

    Trials wrote it, with whatever code their model brought: a link may lead to /dev/zero or out of the folder.
    """

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def __call__(self, folder: str, names: Iterable[str]) -> set[str]:
        return {name for name in names if not self._is_copied(Path(folder, name))}

    def _is_copied(self, path: Path) -> bool:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            self._left -= found.st_size
            return self._left >= 0
        return stat.S_ISDIR(found.st_mode)
