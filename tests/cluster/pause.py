"""The image whose only process holds a pod's namespaces: one static binary on nothing, made without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING

from tests.cluster import paths
from tests.cluster.tools import SOURCES, finished_folder, go_build

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "localhost/mtp-operator/pause:1"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive() -> Path:
    """The image as a file that `ctr images import` takes; made when it is not there."""
    folder = paths.bin_dir() / "pause-1"
    if not folder.exists():
        with finished_folder(folder) as target:
            go_build(SOURCES / "pause", f"{target}/pause", ".")
            (target / "pause.tar").write_bytes(_docker_archive((target / "pause").read_bytes()))
    return folder / "pause.tar"


def _docker_archive(binary: bytes) -> bytes:
    """An image of one layer with one file, in the format of `docker save`."""
    layer = _tar({"pause": binary})
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": json.dumps(manifest).encode(),
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
        }
    )


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
