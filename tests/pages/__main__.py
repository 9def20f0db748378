"""What a browser says of our reports: errors, requests, what is cut at 360 and 1,600 pixels, and axe-core's rules.

    python -m tests.pages [RUN.yaml…]       (`make lint-report`)

It needs Chromium, Node and npm on PATH. The pages are those of all recorded runs, and of the runs given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from mtp_operator.report.extract import report_data
from mtp_operator.report.page import page
from mtp_operator.report.source import run_in
from tests.cluster import paths
from tests.unit.report.golden import data_of
from tests.unit.report.runs import RUNS

HERE = Path(__file__).parent
OUT = HERE.parents[1] / ".pages"


def main(runs: list[Path]) -> int:
    """Writes pages and pictures to `.pages`; answers the exit status."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    pages = {name: page(data_of(make())) for name, make in RUNS.items()}
    pages |= {file.stem: page(report_data(run_in(file.read_text(), str(file)))) for file in runs}
    for name, text in pages.items():
        (OUT / f"{name}.html").write_text(text)
    tool = _tool()
    command = [
        _found("node"),
        str(tool / "look.mjs"),
        _found("chromium"),
        str(OUT),
        *map(str, sorted(OUT.glob("*.html"))),
    ]
    return subprocess.run(command, check=False).returncode


def _tool() -> Path:
    """The folder with what looks; its packages are installed once."""
    folder = paths.cache_dir() / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / "package-lock.json"
    is_new = not installed.exists() or installed.read_bytes() != (HERE / installed.name).read_bytes()
    for name in ("package.json", "package-lock.json", "look.mjs"):
        shutil.copy(HERE / name, folder)
    if is_new or not (folder / "node_modules").is_dir():
        subprocess.run([_found("npm"), "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        sys.exit(f"{program} is not on PATH; `apt-get install {program}` brings it")
    return found


if __name__ == "__main__":
    sys.exit(main([Path(one) for one in sys.argv[1:]]))
