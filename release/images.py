"""The images that this project publishes: for which processors they are, and whether two builds have the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from release.artifacts import PLATFORMS, PYTHON, REPOSITORY, Platform
from tests.cluster import images

PUBLISHED: Final = tuple(image for image in images.IMAGES.values() if image.is_repeatable)
"""What a Dockerfile alone does not fix is the base, which is a tag: two builds on one base are the same."""

_SERVERS: Final = {one.architecture: one for one in PLATFORMS if one.system == "linux"}
_OWN: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")
_OF_ONE_PROCESSOR: Final = r"(?i)amd64|arm64|x86[-_]?64|aarch64|TARGETARCH|TARGETPLATFORM|--platform|https?://"


def tied_to_a_processor(dockerfile: str) -> list[str]:
    """The lines of a Dockerfile that name a processor, or download what pip does not choose by it."""
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in lines if re.search(_OF_ONE_PROCESSOR, line)]


def requirements(image: images.Image) -> list[Path]:
    """The files of requirements that its Dockerfile installs, each with the hashes of all wheels."""
    return [REPOSITORY / source for source in image.sources if source.endswith("requirements.txt")]


def wrong() -> Iterator[str]:
    """What keeps the published images from being for each processor of a server, or from being built twice alike."""
    reason = not_built_because()
    for image in PUBLISHED:
        tied = list(_tied(image))
        yield from tied
        if not tied:
            print(f"image {image.name}: its Dockerfile and its wheels are for {' and '.join(_SERVERS)}")
        if reason:
            print(f"image {image.name}: not built here, {reason}")
            continue
        for architecture in _SERVERS:
            if not runs_here(architecture):
                print(f"image {image.name}: not built for {architecture}, which takes qemu-user-static and arch-test")
                continue
            try:
                digests = {images.build_again(image, "" if architecture == _OWN else architecture) for _ in range(2)}
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                yield f"image {image.name}: {architecture}: {error}"
                continue
            print(f"image {image.name}: built twice for {architecture}")
            if len(digests) > 1:
                yield f"image {image.name}: two builds of the same sources differ: {', '.join(sorted(digests))}"


def _tied(image: images.Image) -> Iterator[str]:
    for line in tied_to_a_processor((REPOSITORY / image.dockerfile).read_text(encoding="utf-8")):
        yield f"{image.dockerfile}: is for one kind of processor: {line}"
    for file in requirements(image):
        for architecture, platform in _SERVERS.items():
            if problem := _without_wheels(file, platform):
                yield f"{file.relative_to(REPOSITORY)}: {architecture}: {problem}"


def not_built_because() -> str:
    """Why images cannot be built on this machine; empty where they can."""
    if os.geteuid():
        return "which takes root"
    missing = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
    return f"which takes {' and '.join(missing)}" if missing else ""


def runs_here(architecture: str) -> bool:
    """Whether this machine runs programs for a processor: its own, or one that Debian's arch-test finds emulated."""
    if architecture == _OWN:
        return True
    program = shutil.which("arch-test")
    return (
        program is not None and not subprocess.run([program, architecture], capture_output=True, check=False).returncode
    )


def _without_wheels(file: Path, platform: Platform) -> str:
    """What pip says where a requirement has no wheel for a platform; empty where all have one."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary=:all:", "--require-hashes", f"--python-version={PYTHON}", "--implementation=cp",
                *(f"--platform={tag}" for tag in platform.tags), f"--dest={folder}", f"--requirement={file}",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    return done.stdout.strip() if done.returncode else ""
