"""How large the images are, and how long the operator takes from its start until everything is imported.

    python -m tests.perf.footprint

Sizes are of the images that `tests.cluster.images` has built. Prints figures and asserts none; a start is meant to take
less than 2 s.
"""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.cluster import images
from tests.cluster.oci_layout import Layout

STARTS: Final = 5
GOAL_SECONDS: Final = 2.0
PACKAGES_SHOWN: Final = 12
IMPORTS: Final = "import mtp_operator.cli.main, mtp_operator.runtime.app, mtp_operator.runtime.kopf_reflector"
"""What `mtp operator` has imported when it begins to run."""

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Size:
    """Of an image's layers, in bytes: as they are on a node, and as a registry has them (gzip)."""

    unpacked: int
    compressed: int


def main() -> None:
    """Prints both."""
    print("image               unpacked  compressed")
    for image in images.IMAGES.values():
        manifest = images.layout().find(image.reference)
        if manifest is None:
            print(f"{image.name:18}  not built")
            continue
        size = size_of(images.layout(), manifest)
        print(f"{image.name:18} {size.unpacked / 1e6:6,.0f} MB  {size.compressed / 1e6:7,.0f} MB", flush=True)
    seconds = median(_start_seconds() for _ in range(STARTS))
    self_microseconds = imported(_import_times())
    modules, total = len(self_microseconds), sum(self_microseconds.values())
    print(
        f"\noperator: {seconds:.2f} s until {modules} modules are imported (median of {STARTS}; goal {GOAL_SECONDS} s)"
    )
    packages = Counter[str]()
    for module, microseconds in self_microseconds.items():
        packages[module.partition(".")[0]] += microseconds
    for package, microseconds in packages.most_common(PACKAGES_SHOWN):
        print(f"  {package:22} {microseconds / 1e3:6.0f} ms  {microseconds / total:4.0%}")


def size_of(layout: Layout, manifest: dict[str, object]) -> Size:
    """The size of an image whose layers are kept unpacked, as buildah writes them into a layout."""
    layers = [layout.blob(digest) for digest in layout.digests(manifest)[:-2]]
    return Size(sum(layer.stat().st_size for layer in layers), sum(map(_compressed_bytes, layers)))


def _compressed_bytes(layer: Path) -> int:
    packer = zlib.compressobj()
    size = 0
    with layer.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())


def _start_seconds() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - begin


def _import_times() -> str:
    command = [sys.executable, "-X", "importtime", "-c", IMPORTS]
    return subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr


def imported(report: str) -> dict[str, int]:
    """Module -> microseconds that its own code took, by what `-X importtime` prints."""
    rows = [line.removeprefix("import time:").split("|") for line in report.splitlines()]
    return {name.strip(): int(own) for own, _, name in rows if own.strip().isdigit()}


if __name__ == "__main__":
    main()
