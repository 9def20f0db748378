"""A cluster of each file's own, beside the one of the other tests: these take away what all others need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.cluster import images, lifecycle, paths
from tests.e2e import harness

from .releases import CRDS, SEPARATE_CRDS


@pytest.fixture(scope="module", autouse=True)
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """The cluster of the file, under the name and in the network that the file gives as CLUSTER."""
    name, network = request.module.CLUSTER
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTP_OPERATOR_CLUSTER", name)
        patch.setenv("MTP_OPERATOR_CLUSTER_NETWORK", network)
        harness.client.cache_clear()
        try:
            lifecycle.up()
            images.load_all(["operator", "simulated-gpu"])
            yield
        finally:
            harness.client.cache_clear()
            lifecycle.down()
            shutil.rmtree(paths.state_dir())


@pytest.fixture(autouse=True)
def bare_cluster() -> None:
    """Nothing of the operator is there, not even its CRDs."""
    for release in (harness.RELEASE, SEPARATE_CRDS):
        harness.helm("uninstall", release, "--namespace", harness.OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
    harness.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    selector = "app.kubernetes.io/name=mtp-operator"
    harness.kubectl("delete", "clusterroles,clusterrolebindings", "-l", selector)
    kinds = "deployments,roles,rolebindings,serviceaccounts,networkpolicies,poddisruptionbudgets"
    harness.kubectl("delete", kinds, "-l", selector, "-n", harness.OPERATOR_NAMESPACE)
    # Else the next operator waits for it to expire.
    harness.kubectl("delete", "lease", harness.RELEASE, "-n", harness.OPERATOR_NAMESPACE, "--ignore-not-found")
