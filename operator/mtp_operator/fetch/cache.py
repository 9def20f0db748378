"""A copy of a compile cache: what trials have compiled, for a server that may not write to theirs."""

import shutil
from pathlib import Path


def copy_cache(source: Path, target: Path) -> str:
    """Copies what is there, and says in a sentence what came of it: a cache saves time, and its lack is no failure.

    Args:
        source: a folder that somebody may be writing to.
        target: a folder that need not exist.
    """
    if not source.is_dir():
        return f"{source}: nothing has been compiled yet"
    try:
        shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        return f"{source}: copied in part: {error}"
    return f"{source}: copied to {target}"
