"""A cluster in which no node, pod or Service has an IPv4 address: a model is tuned and served as everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.cluster import images, lifecycle, paths

from . import harness, rules, traffic

pytestmark = pytest.mark.alone


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operator in a cluster of its own, beside the one of the other tests."""
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER", "mtp-ipv6")
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER_NETWORK", "fd30:6d74:7000::/48")
    harness.client.cache_clear()
    try:
        lifecycle.up()
        images.load_all(["operator", "simulated-gpu"])
        harness.install_tested_operator()
        yield
    finally:
        harness.client.cache_clear()
        lifecycle.down()
        shutil.rmtree(paths.state_dir())


@pytest.mark.usefixtures("operator")
def test_with_ipv6_only_a_model_is_tuned_and_served() -> None:
    place = "ipv6"
    harness.ensure_namespace(place, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_simulated_claim(place)
    harness.apply(rules.quick_model(), place)

    model = harness.wait_for_condition(place, rules.NAME, "Ready", "True")

    rules.assert_tuned_and_served(model)
    # By the name of its Service, from another pod.
    assert traffic.start(place, model["status"]["url"], rules.NAME, clients=1).failures() == []
    pods = [*harness.operator_pods(), *harness.items("pods", place)]
    addresses = [one["ip"] for pod in pods for one in pod["status"]["podIPs"]]
    addresses += [one for service in harness.items("services", place) for one in service["spec"]["clusterIPs"]]
    assert addresses
    assert [one for one in addresses if ":" not in one] == []
