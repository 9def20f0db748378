"""A repository, its hub on a real socket, and a claim."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub, Repository

from .fetching import NAME, TOKEN


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two large files, a small one, and formats that nobody wants."""
    folder = tmp_path / "repository"
    folder.mkdir()
    generator = random.Random(7)
    for number in (1, 2):
        (folder / f"model-{number:05}-of-00002.safetensors").write_bytes(generator.randbytes(3_000_000))
    (folder / "config.json").write_text("{}\n")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.pth").write_bytes(b"pickle")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return Repository(NAME, folder)


@pytest.fixture
def hub(repository: Repository) -> Iterator[Hub]:
    with Hub(repository, token=TOKEN) as running:
        yield running


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    folder.mkdir()
    return folder
