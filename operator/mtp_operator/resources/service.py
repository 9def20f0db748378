"""The Service under whose name clients reach a model."""

from typing import Any

from mtp_operator.api.model import MTPModel

from .labels import owned_by, server_labels, server_selector


def service(model: MTPModel) -> dict[str, Any]:
    """The Service, named like the model."""
    name = model.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": server_labels(name),
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": server_selector(name),
            "ports": [
                {
                    "name": "http",
                    "port": model.spec.serving.port,
                    "targetPort": "http",
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        },
    }


def url(model: MTPModel) -> str:
    """Base URL of the OpenAI API, for clients in the cluster."""
    return f"http://{model.metadata.name}.{model.metadata.namespace}.svc:{model.spec.serving.port}/v1"
