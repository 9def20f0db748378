"""Who reaches a model's pods, and whom they reach: what the documents say."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.resources.labels import server_labels, trial_labels
from mtp_operator.resources.network_policy import network_policy, trials_network_policy

from .test_weights import model

SERVER = server_labels("gemma")
TRIAL = trial_labels("gemma", "gemma-0123456789", "mtp-3", 3)


def selects(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    return all(labels.get(name) == value for name, value in selector["matchLabels"].items()) and all(
        one["key"] in labels for one in selector.get("matchExpressions", ())
    )


@pytest.mark.parametrize("policy", [network_policy(model()), trials_network_policy(model())], ids=["server", "trial"])
def test_nothing_goes_out_of_an_engines_pod_not_even_to_dns(policy: dict[str, Any]) -> None:
    assert policy["spec"]["egress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_nobody_reaches_an_engine_on_trial() -> None:
    policy = trials_network_policy(model())

    assert policy["spec"]["ingress"] == []
    assert selects(policy, TRIAL)
    assert not selects(policy, SERVER)


def test_servers_are_asked_by_their_namespace_and_by_gateways() -> None:
    policy = network_policy(model())

    assert selects(policy, SERVER)
    assert not selects(policy, TRIAL)
    (ingress,) = policy["spec"]["ingress"]
    assert ingress["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert ingress["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"mtp-operator.dev/clients": "allowed"}}},
    ]


def test_an_installation_may_let_everybody_ask() -> None:
    (ingress,) = network_policy(model(), ())["spec"]["ingress"]

    assert "from" not in ingress
