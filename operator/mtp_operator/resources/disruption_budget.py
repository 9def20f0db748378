"""The PodDisruptionBudget of a model's servers: a drain of nodes takes one of them at a time."""

from typing import Any, Final

from mtp_operator.api.model import MTPModel

from .labels import owned_by, server_labels, server_selector

FEWEST_REPLICAS: Final = 2
"""With one server a budget could only forbid every drain."""


def disruption_budget(model: MTPModel) -> dict[str, Any]:
    """The budget, named like the model."""
    name = model.metadata.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": server_labels(name),
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": server_selector(name)},
            # A server that does not answer anyway must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
