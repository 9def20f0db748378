"""The charts as Helm renders them: no cluster is needed, only the program."""

from __future__ import annotations

import pytest

from tests.cluster import tools


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    """Brings Helm and kubectl about."""
    tools.ensure(*(tool for tool in tools.TOOLS if tool.name in ("helm", "kubernetes")))
