"""Fixtures of the tests that need a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.cluster import paths
from tests.cluster.lifecycle import ensure_cluster

# How long an example takes is the machine's affair.
settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")


FOLDERS_ALONE = ("tests/e2e", "tests/cluster")
"""Where `python -m tests` looks for tests that go alone."""

NAMESPACE_LENGTH = 40
"""Characters of a test's namespace at most: names of objects begin with it at places."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that goes alone is in a folder in which it is found.

    Raises:
        pytest.UsageError: it is not.
    """
    if item.get_closest_marker("alone") and not item.nodeid.startswith(FOLDERS_ALONE):
        raise pytest.UsageError(f"{item.nodeid}: `alone` is for tests in {' and '.join(FOLDERS_ALONE)}")


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of the test cluster, which is brought up unless it is."""
    return ensure_cluster()


@pytest.fixture(scope="session")
def operator(kubeconfig: Path, testrun_uid: str) -> None:
    """The operator as users run it: installed by Helm, in the cluster; once for all processes that run tests."""
    from tests.e2e import harness

    assert kubeconfig.exists()
    installed_for = paths.state_dir() / "tests-of-the-operator"
    with FileLock(f"{installed_for}.lock"):
        if not installed_for.exists() or installed_for.read_text() != testrun_uid:
            harness.install_tested_operator()
            harness.restart_operator()
            installed_for.write_text(testrun_uid)


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own that admits only restricted pods and has a claim with our small model."""
    from tests.e2e import harness

    request.getfixturevalue("operator")
    plain = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")
    # The cases of one test may differ late in their names.
    name = plain if len(plain) <= NAMESPACE_LENGTH else f"{plain[: NAMESPACE_LENGTH - 9]}-{crc32(plain.encode()):08x}"
    with harness.restricted_namespace(name):
        harness.ensure_model_claim(name, folder=harness.small_model_folder())
        yield name
