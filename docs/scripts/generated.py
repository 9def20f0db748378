"""Generated files: written where they differ, or only compared."""

import sys
from collections.abc import Mapping
from pathlib import Path


def keep(files: Mapping[Path, str], source: str) -> int:
    """Writes the files that differ; with --check on the command line, names them and fails.

    Args:
        files: what each has to contain.
        source: what they are generated from, for the message.
    """
    stale = {path: text for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text}
    is_check = "--check" in sys.argv[1:]
    for path, text in stale.items():
        if is_check:
            print(f"{path} differs from {source}: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return int(is_check and bool(stale))
