"""An OCI image layout: how finished images are kept, and written as a stream."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layout:
    """An OCI image layout: a folder of blobs, named by their hash, and an index that names the images."""

    folder: Path

    def manifests(self) -> list[dict[str, Any]]:
        """The descriptors of all named images; one whose name another image has got has none any more."""
        if not self._index.exists():
            return []
        return [entry for entry in json.loads(self._index.read_text())["manifests"] if "annotations" in entry]

    def find(self, reference: str) -> dict[str, Any] | None:
        """The descriptor of the image of that name, if there is one."""
        named = (entry for entry in self.manifests() if entry["annotations"][REFERENCE_ANNOTATION] == reference)
        return next(named, None)

    def blob(self, digest: str) -> Path:
        """The file with that digest."""
        return self.folder / "blobs" / digest.replace(":", "/")

    def digests(self, manifest: dict[str, Any]) -> list[str]:
        """The digests of all blobs of an image: its layers, its configuration, its manifest."""
        content = json.loads(self.blob(manifest["digest"]).read_text())
        parts = [*content["layers"], content["config"], manifest]
        return [part["digest"] for part in parts]

    def label(self, manifest: dict[str, Any], name: str) -> str | None:
        """The value of an image's label, if it has one."""
        content = json.loads(self.blob(manifest["digest"]).read_text())
        configuration = json.loads(self.blob(content["config"]["digest"]).read_text())
        value: str | None = (configuration["config"].get("Labels") or {}).get(name)
        return value

    @property
    def _index(self) -> Path:
        return self.folder / "index.json"

    def remove_unused(self) -> None:
        """Removes images without a name, and the blobs that no named image has."""
        index = json.loads(self._index.read_text()) | {"manifests": self.manifests()}
        rewritten = self._index.with_suffix(".new")
        rewritten.write_text(json.dumps(index))
        rewritten.replace(self._index)
        used = {self.blob(digest) for manifest in self.manifests() for digest in self.digests(manifest)}
        for file in self.folder.glob("blobs/*/*"):
            if file not in used:
                file.unlink()


def write_archive(images: Layout, manifest: dict[str, Any], without: set[str], target: Any) -> None:
    """Write an image as a tar stream of an OCI layout, leaving out blobs that the reader has already.

    Args:
        images: the layout that the image is in.
        manifest: the image's descriptor.
        without: digests of blobs to leave out.
        target: a file object to write to, which need not be seekable.
    """
    index = {"schemaVersion": 2, "manifests": [manifest]}
    with tarfile.open(fileobj=target, mode="w|", bufsize=1 << 20) as archive:
        for name, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
            text = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        for digest in images.digests(manifest):
            if digest not in without:
                archive.add(images.blob(digest), f"blobs/{digest.replace(':', '/')}")
