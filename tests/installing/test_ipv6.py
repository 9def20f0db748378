"""A cluster in which no node, pod or Service has an IPv4 address: a model is tuned and served as everywhere."""

from __future__ import annotations

from tests.e2e import harness, rules, traffic

from .releases import by_helm

CLUSTER = ("mtp-ipv6", "fd30:6d74:7000::/48")


def test_with_ipv6_only_a_model_is_tuned_and_served() -> None:
    by_helm()
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
