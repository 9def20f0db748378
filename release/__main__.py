"""`python -m release [FOLDER]` (`make release-dry-run`): builds what a release publishes, and checks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from release import artifacts, images
from tests.cluster import tools


def main(arguments: list[str]) -> int:
    """Builds into FOLDER (dist), which is emptied first; prints what is there, and what is wrong with it."""
    folder = Path(arguments[0] if arguments else "dist").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tools.ensure(next(tool for tool in tools.TOOLS if tool.name == "helm"))
    artifacts.build(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")
    problems = list(wrong(folder))
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def wrong(folder: Path) -> Iterator[str]:
    """What is wrong with the artifacts of a folder."""
    yield from _versions()
    yield from _manifests(folder)
    yield from _charts(folder)
    yield from _plugin(folder)
    yield from _sbom(folder)
    if (folder / artifacts.CHECKSUMS).read_text() != artifacts.checksums(folder):
        yield f"{artifacts.CHECKSUMS}: is not about the files that are there"
    if not artifacts.repeated(artifacts.build_wheel):
        yield "the wheel: two builds of the same sources differ"
    yield from images.wrong()


def _versions() -> Iterator[str]:
    expected = artifacts.version()
    for chart in artifacts.CHARTS:
        stated = yaml.safe_load((artifacts.REPOSITORY / "charts" / chart / "Chart.yaml").read_text())
        for field in ("version", "appVersion"):
            if stated[field] != expected:
                yield f"charts/{chart}/Chart.yaml: {field} is {stated[field]}, expected {expected}"


def _manifests(folder: Path) -> Iterator[str]:
    text = (folder / "install.yaml").read_text()
    kinds = [document["kind"] for document in yaml.load_all(text, Loader=yaml.CSafeLoader)]
    if kinds.count("CustomResourceDefinition") != 2 or "Deployment" not in kinds:
        yield f"install.yaml: contains {kinds}"
    if f"/operator:{artifacts.version()}" not in text:
        yield f"install.yaml: does not name the image of {artifacts.version()}"
    if not text.startswith((folder / "crds.yaml").read_text()):
        yield "install.yaml: does not begin with crds.yaml"


def _charts(folder: Path) -> Iterator[str]:
    for chart in artifacts.CHARTS:
        archive = folder / f"{chart}-{artifacts.version()}.tgz"
        sources = artifacts.REPOSITORY / "charts" / chart
        if _rendered(archive) != _rendered(sources):
            yield f"{archive.name}: renders something else than {sources}"


def _rendered(chart: Path) -> str:
    command = [str(tools.find("helm")), "template", "mtp-operator", str(chart)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _plugin(folder: Path) -> Iterator[str]:
    stated = yaml.safe_load((folder / "mtp.yaml").read_text())["spec"]["platforms"]
    for one in stated:
        name = one["uri"].rpartition("/")[2]
        if artifacts.sha256(folder / name) != one["sha256"]:
            yield f"mtp.yaml: the digest of {name} is another one"
    ours = next(one for one in artifacts.PLATFORMS if (one.system, one.architecture) == ("linux", "amd64"))
    with TemporaryDirectory() as temporary:
        with tarfile.open(folder / ours.archive) as archive:
            archive.extractall(temporary, filter="data")
        said = subprocess.run([Path(temporary, "kubectl-mtp"), "--help"], capture_output=True, text=True, check=False)
        if said.returncode or "retune" not in said.stdout:
            yield f"{ours.archive}: does not run: {said.stdout}{said.stderr}"


def _sbom(folder: Path) -> Iterator[str]:
    listed = {one["name"] for one in json.loads((folder / "sbom.cdx.json").read_text())["components"]}
    required = {line.split("==")[0] for line in artifacts.REQUIREMENTS.read_text().splitlines() if "==" in line}
    if missing := required - listed:
        yield f"sbom.cdx.json: lacks {', '.join(sorted(missing))}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
