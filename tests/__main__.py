"""`python -m tests`: every test. Those that may go side by side do, and the others follow, alone on the machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

FOLDERS = (
    "tests/e2e",
    "tests/cluster",
    "tests/chaos",
    "tests/unit",
    "tests/chart",
    "tests/manifests",
    "tests/gitops",
    "tests/docs",
)
# By file, for tests of one file share fixtures; in the order of FOLDERS, for the longest are in the first.
SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder", "-m", "not alone")
ALONE = ("-m", "alone")


def main() -> int:
    """Runs both parts, whatever comes of the first, and prints the sum; the exit status is 0 if nothing failed."""
    with tempfile.TemporaryDirectory() as folder:
        counts = sum((_run(part, Path(folder, "report.xml")) for part in (SIDE_BY_SIDE, ALONE)), Counter[str]())
    failed = counts["failures"] + counts["errors"]
    print(f"{counts['tests'] - failed - counts['skipped']} passed, {failed} failed", flush=True)
    return min(failed, 1)


def _run(part: tuple[str, ...], report: Path) -> Counter[str]:
    """How many tests of a part there are, and how many of them ended in what."""
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-v", "--durations=25", f"--junitxml={report}", *part, *FOLDERS]
    status = subprocess.run(command, check=False).returncode
    suites = ElementTree.parse(report).iter("testsuite") if report.exists() else ()  # noqa: S314  # our own
    counts: Counter[str] = Counter()
    for suite in suites:
        counts.update({what: int(suite.get(what, 0)) for what in ("tests", "failures", "errors", "skipped")})
    if status and not counts["failures"] + counts["errors"]:
        # It broke off before any test could fail.
        counts.update(tests=1, errors=1)
    return counts


if __name__ == "__main__":
    sys.exit(main())
