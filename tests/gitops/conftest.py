"""Programs that the judges need."""

from __future__ import annotations

import pytest

from tests.cluster import tools
from tests.gitops.judges import KSTATUS


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Helm, and kstatus, which is compiled from the Go module proxy within a minute."""
    tools.ensure(next(tool for tool in tools.TOOLS if tool.name == "helm"), KSTATUS)
