"""The NetworkPolicies of a model's pods: who may ask its servers, and that nothing else comes in or goes out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mtp_operator.api.base import GROUP
from mtp_operator.api.model import MTPModel

from .labels import MODEL_LABEL, RUN_LABEL, child_labels, owned_by, server_labels, server_selector

CLIENTS_LABEL: Final = f"{GROUP}/clients"
"""Label of namespaces whose pods may ask servers, beside those of the model's own namespace: a gateway's."""

DEFAULT_CLIENTS: Final[Sequence[Mapping[str, Any]]] = (
    {"podSelector": {}},
    {"namespaceSelector": {"matchLabels": {CLIENTS_LABEL: "allowed"}}},
)
"""Who may ask a model's servers, as NetworkPolicyPeers."""


def network_policy(model: MTPModel, clients: Sequence[Mapping[str, Any]] = DEFAULT_CLIENTS) -> dict[str, Any]:
    """The policy of the servers, named like the model; kubelet's probes come from the node and are not subject to it.

    Engines load from volumes and look nothing up: nothing goes out, not even to DNS.

    Args:
        model: the model.
        clients: who may ask; none means everybody.
    """
    name = model.metadata.name
    clients_only = {"from": [dict(one) for one in clients]} if clients else {}
    return _policy(
        model,
        name,
        server_labels(name),
        {"matchLabels": server_selector(name)},
        [{"ports": [{"port": "http", "protocol": "TCP"}], **clients_only}],
    )


def trials_network_policy(model: MTPModel) -> dict[str, Any]:
    """The policy of the trials: bench and engine are one pod and talk on loopback, where no policy reaches."""
    name = model.metadata.name
    of_a_run = {"matchLabels": {MODEL_LABEL: name}, "matchExpressions": [{"key": RUN_LABEL, "operator": "Exists"}]}
    return _policy(model, f"{name}-trials", child_labels(name), of_a_run, [])


def _policy(
    model: MTPModel, name: str, labels: Mapping[str, str], pods: Mapping[str, Any], ingress: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": dict(labels),
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "podSelector": dict(pods),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [dict(one) for one in ingress],
            "egress": [],
        },
    }
