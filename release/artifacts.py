"""What a release publishes beside its images, built into a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from release import manifests, settings
from tests.cluster import tools

REPOSITORY: Final = Path(__file__).parents[1]
CHARTS: Final = ("mtp-operator-crds", "mtp-operator")
REQUIREMENTS: Final = REPOSITORY / "operator" / "requirements.txt"
PYTHON: Final = "3.11"
DOWNLOADS: Final = f"https://github.com/{settings.OWNER}/{settings.REPOSITORY}/releases/download"
CHECKSUMS: Final = "checksums.txt"


@dataclass(frozen=True)
class Platform:
    """Where the kubectl plugin runs: Krew's names, and the tags of its wheels."""

    system: str
    architecture: str
    tags: tuple[str, ...]

    @property
    def archive(self) -> str:
        """Name of its archive."""
        return f"kubectl-mtp_{self.system}_{self.architecture}.tar.gz"


PLATFORMS: Final = (
    Platform("linux", "amd64", ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")),
    Platform("linux", "arm64", ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")),
    Platform("darwin", "arm64", ("macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64")),
)

_LAUNCHER: Final = f"""\
#!/bin/sh
# Runs on the Python {PYTHON} of this machine, with the libraries beside it.
set -eu
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
PYTHONPATH="$here/lib" exec python{PYTHON} -m mtp_operator.cli.kubectl "$@"
"""


def version() -> str:
    """The version of the package, which all others have to be."""
    project = tomllib.loads((REPOSITORY / "operator" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def build(folder: Path) -> None:
    """Builds everything into an empty folder."""
    wheel = build_wheel(folder)
    for chart in CHARTS:
        package_chart(chart, folder)
    manifests.main([str(folder)])
    for platform in PLATFORMS:
        build_plugin(platform, wheel, folder)
    (folder / "mtp.yaml").write_text(krew_manifest(folder), encoding="utf-8")
    build_sbom(folder / "sbom.cdx.json")
    (folder / "notes.md").write_text(notes(), encoding="utf-8")
    (folder / CHECKSUMS).write_text(checksums(folder), encoding="utf-8")


def build_wheel(folder: Path) -> Path:
    """The Python package."""
    with TemporaryDirectory() as copy:
        # Of a copy: setuptools leaves a build folder beside the sources, and takes up what an older one holds.
        sources = Path(copy, "operator")
        shutil.copytree(
            REPOSITORY / "operator", sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        )
        _run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-build-isolation", f"--wheel-dir={folder}", str(sources),
        )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def package_chart(chart: str, folder: Path) -> None:
    """A chart as it is pushed to a registry."""
    _run(str(tools.find("helm")), "package", str(REPOSITORY / "charts" / chart), f"--destination={folder}")


def build_plugin(platform: Platform, wheel: Path, folder: Path) -> None:
    """The kubectl plugin of a platform, with all libraries: proof as well that they have wheels for its processors."""
    with TemporaryDirectory() as temporary:
        library = Path(temporary, "lib")
        pip = (
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-compile", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp",
            *(f"--platform={tag}" for tag in platform.tags),
        )  # fmt: skip
        _run(*pip, f"--target={library}", "--require-hashes", f"--requirement={REQUIREMENTS}")
        _run(*pip, f"--target={library}", "--upgrade", str(wheel))
        shutil.rmtree(library / "bin", ignore_errors=True)
        launcher = Path(temporary, "kubectl-mtp")
        launcher.write_text(_LAUNCHER, encoding="utf-8")
        launcher.chmod(0o755)
        shutil.copy(REPOSITORY / "LICENSE", temporary)
        write_archive(Path(temporary), folder / platform.archive)


def write_archive(source: Path, target: Path) -> None:
    """A .tar.gz of a folder: in one order, and without the time or the user of this machine."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = settings.SOURCE_DATE_EPOCH
        return entry

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(source.rglob("*")):
            archive.add(path, str(path.relative_to(source)), recursive=False, filter=anonymous)
    target.write_bytes(gzip.compress(content.getvalue(), mtime=0))


def krew_manifest(folder: Path) -> str:
    """The plugin as Krew's index describes one."""
    platforms = [
        {
            "selector": {"matchLabels": {"os": one.system, "arch": one.architecture}},
            "uri": f"{DOWNLOADS}/v{version()}/{one.archive}",
            "sha256": sha256(folder / one.archive),
            "bin": "kubectl-mtp",
        }
        for one in PLATFORMS
    ]
    document = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "mtp"},
        "spec": {
            "version": f"v{version()}",
            "homepage": f"https://github.com/{settings.OWNER}/{settings.REPOSITORY}",
            "shortDescription": "See what mtp-operator does with your models",
            "description": "Status, live view, evidence and plans of the models of mtp-operator.\n",
            "caveats": f"It runs on the Python {PYTHON} of your machine.\n",
            "platforms": platforms,
        },
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def build_sbom(target: Path) -> None:
    """The software bill of materials of the Python package: all libraries, with versions and hashes."""
    program = tools.python_tool("cyclonedx", REPOSITORY / "release" / "sbom.txt") / "cyclonedx-py"
    _run(
        str(program), "requirements", str(REQUIREMENTS), f"--pyproject={REPOSITORY / 'operator' / 'pyproject.toml'}",
        "--output-reproducible", "--output-format=JSON", f"--output-file={target}",
    )  # fmt: skip


def notes() -> str:
    """The section of this version in the changelog.

    Raises:
        ValueError: it has none.
    """
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version())}\b[^\n]*\n+(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md: has no section about {version()}")
    return found[1].strip() + "\n"


def checksums(folder: Path) -> str:
    """As `sha256sum --check` reads them."""
    files = sorted(path for path in folder.iterdir() if path.name not in (CHECKSUMS, "notes.md"))
    return "".join(f"{sha256(path)}  {path.name}\n" for path in files)


def sha256(path: Path) -> str:
    """Digest of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def repeated(make: Callable[[Path], object]) -> bool:
    """Whether what is made twice has the same bytes."""
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        folders = Path(first), Path(second)
        for folder in folders:
            make(folder)
        one, other = ({path.name: sha256(path) for path in folder.iterdir()} for folder in folders)
        return one == other


def _run(*command: str) -> None:
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(settings.SOURCE_DATE_EPOCH)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command[:4])} …` ended with {done.returncode}:\n{done.stdout}")
