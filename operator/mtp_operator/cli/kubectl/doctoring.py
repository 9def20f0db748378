"""What `kubectl mtp doctor` asks the cluster: reads alone, each of which may be forbidden."""

from importlib.metadata import version
from typing import Any, Final

from mtp_operator.api.base import GROUP
from mtp_operator.api.crd import KINDS

from .cluster import Connection
from .diagnosis import Facts
from .seen import ask

_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"


def facts(connection: Connection) -> Facts:
    """Everything that the checks look at."""
    namespace = f"/api/v1/namespaces/{connection.namespace}"

    def items(path: str, what: str, query: dict[str, str] | None = None) -> Any:
        return ask(lambda: connection.items(path, what, query))

    return Facts(
        version=ask(lambda: connection.get("/version", "version of the API server")),
        crds=_ours(items(_CRDS, "CustomResourceDefinitions")),
        own_crds=[kind.definition() for kind in KINDS],
        operators=items(
            "/apis/apps/v1/deployments", "Deployments", {"labelSelector": "app.kubernetes.io/name=mtp-operator"}
        ),
        own_version=version("mtp-operator"),
        nodes=items("/api/v1/nodes", "Nodes"),
        pods=items("/api/v1/pods", "Pods of all namespaces"),
        storage_classes=items("/apis/storage.k8s.io/v1/storageclasses", "StorageClasses"),
        namespace=ask(lambda: connection.get(namespace, f"Namespace {connection.namespace}")),
        namespace_pods=items(f"{namespace}/pods", "Pods"),
        dns_endpoints=items(_SLICES, "EndpointSlices", {"labelSelector": "kubernetes.io/service-name=kube-dns"}),
        models=ask(connection.models),
    )


def _ours(crds: Any) -> Any:
    return [one for one in crds if one["spec"]["group"] == GROUP] if isinstance(crds, list) else crds
