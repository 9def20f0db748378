"""`python -m tests`: every test. Those that may go side by side do, and the others follow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
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
SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder", "-m", "not alone", *FOLDERS)
# One has the cluster for itself: these wait more than they work, and so do those that have clusters of their own.
ALONE_ON_THE_CLUSTER = ("-m", "alone", "tests/e2e")
INSTALLING = ("tests/installing",)
# One has the machine for itself, for it looks for what any cluster has left there.
ALONE_ON_THE_MACHINE = ("-m", "alone", "tests/cluster")


def main() -> int:
    """Runs all parts, whatever comes of the first, and prints the sum; the exit status is 0 if nothing failed."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as beside:
        place = Path(folder)
        counts = _run(SIDE_BY_SIDE, place / "side-by-side.xml")
        log = place / "installing.log"
        installing = beside.submit(_run, INSTALLING, place / "installing.xml", log)
        counts += _run(ALONE_ON_THE_CLUSTER, place / "alone-on-the-cluster.xml")
        counts += installing.result()
        print(f"What ran meanwhile:\n{log.read_text()}", flush=True)
        counts += _run(ALONE_ON_THE_MACHINE, place / "alone-on-the-machine.xml")
    failed = counts["failures"] + counts["errors"]
    print(f"{counts['tests'] - failed - counts['skipped']} passed, {failed} failed", flush=True)
    return min(failed, 1)


def _run(part: tuple[str, ...], report: Path, log: Path | None = None) -> Counter[str]:
    """How many tests of a part there are, and how many of them ended in what; it says more here, or in the log."""
    command = [sys.executable, "-m", "pytest", "-v", "--durations=25", f"--junitxml={report}", *part]
    if log is None:
        status = subprocess.run(command, check=False).returncode
    else:
        with log.open("w") as output:
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
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
