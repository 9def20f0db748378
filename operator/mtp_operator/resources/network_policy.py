"""The NetworkPolicy of a model's servers: requests come in, and nothing goes out but questions to the cluster's DNS."""

from typing import Any

from mtp_operator.api.model import MTPModel

from .labels import owned_by, server_labels, server_selector


def network_policy(model: MTPModel) -> dict[str, Any]:
    """The policy, named like the model; kubelet's probes come from the node and are not subject to it."""
    name = model.metadata.name
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": server_labels(name),
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "podSelector": {"matchLabels": server_selector(name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}],
        },
    }
