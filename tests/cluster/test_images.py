"""What decides whether an image is built again, and what of it goes to containerd."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.images import (
    IMAGES,
    INPUTS_LABEL,
    Image,
    inputs_hash,
    source_files,
)
from tests.cluster.oci_layout import REFERENCE_ANNOTATION, Layout, write_archive

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = Image("example", ("package", "requirements.txt"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("images/example/Dockerfile", "package/code.py", "requirements.txt", "package/__pycache__/code.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("changed", ["images/example/Dockerfile", "package/code.py", "requirements.txt"])
def test_a_changed_source_asks_for_a_new_image(repository: Path, changed: str) -> None:
    before = inputs_hash(IMAGE, repository)

    (repository / changed).write_text("changed")

    assert inputs_hash(IMAGE, repository) != before


def test_a_new_name_or_mode_asks_for_a_new_image(repository: Path) -> None:
    before = inputs_hash(IMAGE, repository)

    (repository / "package/code.py").chmod(0o755)
    executable = inputs_hash(IMAGE, repository)
    (repository / "package/code.py").rename(repository / "package/other.py")

    assert len({before, executable, inputs_hash(IMAGE, repository)}) == 3


@pytest.mark.parametrize("unrelated", ["package/__pycache__/code.pyc", "README.md"])
def test_files_that_are_not_copied_do_not_count(repository: Path, unrelated: str) -> None:
    before = inputs_hash(IMAGE, repository)

    (repository / unrelated).write_text("changed")

    assert inputs_hash(IMAGE, repository) == before


def test_a_missing_source_is_named(repository: Path) -> None:
    (repository / "requirements.txt").unlink()

    with pytest.raises(FileNotFoundError, match=r"image example: requirements\.txt is missing"):
        source_files(IMAGE, repository)


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_what_a_dockerfile_copies_is_declared(image: Image) -> None:
    """A source that is not declared would be missing from the build's context and from the hash."""
    from tests.cluster.images import REPOSITORY

    lines = (REPOSITORY / image.dockerfile).read_text().splitlines()
    copied: set[str] = set()
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--chmod")]
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copied |= set(words[1:-1])

    assert copied == ({image.makes[0]} if image.makes else set(image.sources))


def _add(layout: Layout, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    layout.blob(digest).parent.mkdir(parents=True, exist_ok=True)
    layout.blob(digest).write_bytes(content)
    return {"digest": digest, "size": len(content)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout with one image of two layers."""
    layout = Layout(tmp_path)
    configuration = _add(layout, json.dumps({"config": {"Labels": {INPUTS_LABEL: "abc"}}}).encode())
    manifest = {"config": configuration, "layers": [_add(layout, b"base"), _add(layout, b"top")]}
    named = _add(layout, json.dumps(manifest).encode()) | {"annotations": {REFERENCE_ANNOTATION: "localhost/a:dev"}}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [named]}))
    return layout


def test_an_image_is_found_by_its_name_and_tells_what_it_was_made_from(layout: Layout) -> None:
    manifest = layout.find("localhost/a:dev")

    assert manifest is not None
    assert layout.label(manifest, INPUTS_LABEL) == "abc"
    assert layout.find("localhost/b:dev") is None


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert Layout(tmp_path).find("localhost/a:dev") is None


def test_only_an_image_that_lost_its_name_is_removed(layout: Layout) -> None:
    manifest = layout.manifests()[0]
    layer = _add(layout, b"stale")
    stale = _add(layout, json.dumps({"config": layer, "layers": [layer]}).encode())
    (layout.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [stale, manifest]}))

    layout.remove_unused()

    assert layout.manifests() == [manifest]
    assert not layout.blob(stale["digest"]).exists()
    assert not layout.blob(layer["digest"]).exists()
    assert all(layout.blob(digest).exists() for digest in layout.digests(manifest))


def test_an_archive_leaves_out_what_the_reader_has(layout: Layout) -> None:
    manifest = layout.manifests()[0]
    base, *missing = layout.digests(manifest)
    stream = io.BytesIO()

    write_archive(layout, manifest, {base}, stream)

    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        assert json.load(index)["manifests"] == [manifest]
        blobs = {f"blobs/{digest.replace(':', '/')}" for digest in missing}
        assert set(archive.getnames()) == {"oci-layout", "index.json"} | blobs
