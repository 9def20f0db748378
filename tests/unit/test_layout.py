"""The package's files: found by name, and read in one go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mtp_operator

PACKAGE = Path(mtp_operator.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 450
ANYWHERE = {"__init__.py", "__main__.py"}


def test_no_two_modules_have_one_name() -> None:
    names = Counter(path.name for path in MODULES if path.name not in ANYWHERE)

    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) > 100


def test_no_module_is_longer_than_one_reads() -> None:
    assert [path.name for path in MODULES if len(path.read_text().splitlines()) > MOST_LINES] == []
