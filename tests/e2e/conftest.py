"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import paths
from tests.hub import Hub, Repository

from . import harness


@pytest.fixture
def hub(tmp_path: Path, operator: None) -> Iterator[Hub]:
    """The hub that the operator asks, with our model in both forms, one behind a gate."""
    del operator
    folder = tmp_path / "repository"
    folder.mkdir()
    shutil.copy(harness.small_model_folder() / "model.gguf", folder / "tiny-Q8_0.gguf")
    (folder / "README.md").write_text("# A tiny model\n")
    repositories = (
        Repository(harness.HUB_REPOSITORY_GGUF, folder, is_gated=True),
        Repository(harness.HUB_REPOSITORY, harness.model_folder()),
    )
    with Hub(*repositories, address=paths.host_address(), port=harness.HUB_PORT, token=harness.HUB_TOKEN) as running:
        yield running
