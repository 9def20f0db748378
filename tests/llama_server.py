"""A real llama-server for CPUs on this machine, without a container and without root: what the image llamacpp-cpu has.

python -m tests.llama_server     makes it, and our model, where they are missing; prints the paths of both
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.cluster import paths
from tests.e2e.harness import try_model_folder

IMAGE = Path(__file__).parents[1] / "images" / "llamacpp-cpu"


def llama_server() -> Path:
    """The program; it is downloaded once for each version."""
    found = re.search(r"^ARG VERSION=(\S+)$", (IMAGE / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    folder = paths.cache_dir() / f"llama-server-{found[1]}"
    program = folder / "llama-server"
    if not program.exists():
        subprocess.run(["sh", str(IMAGE / "fetch-packages"), found[1], str(folder / "packages")], check=True)
        for package in sorted((folder / "packages").glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", str(package), str(folder)], check=True)
        _write_program(program, folder / "usr")
    return program


def _write_program(program: Path, usr: Path) -> None:
    """A script that starts it with the C library that it was built for."""
    (loader,) = (usr / "lib").glob("*/ld-linux-*.so.*")
    libraries = loader.parent
    for backend in libraries.glob("ggml/backends*/*.so"):
        link = libraries / backend.name
        if not link.exists():
            # It looks for them beside the program, and the program is the loader.
            link.symlink_to(backend)
    command = [str(loader), "--library-path", f"{libraries}:{libraries / 'llama'}", str(usr / "bin" / "llama-server")]
    draft = program.with_suffix(".new")
    draft.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    draft.chmod(0o755)
    subprocess.run([str(draft), "--version"], check=True, capture_output=True)
    draft.rename(program)


if __name__ == "__main__":
    try:
        print(llama_server(), try_model_folder() / "model.gguf")
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
