"""A namespace of the test's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.node import kubectl
from tests.e2e import harness


@pytest.fixture
def place(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace of the test's own."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    name = f"runtime-{uuid.uuid4().hex[:8]}"
    harness.ensure_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
