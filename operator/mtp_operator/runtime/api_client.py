"""A thin client: the few requests that the operator makes, each with a timeout, with errors as types.

ApiError
├── NotFoundError       404
├── ConflictError       409: the object is another one, or another version
├── AlreadyExistsError  409 of a POST
├── ForbiddenError      403: RBAC, quota, an admission policy
├── InvalidError        400, 422: the server does not accept the object
└── TransientError      no answer in time, or not the API server's own, 429, 5xx: worth another try
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from mtp_operator.api.base import GROUP, VERSION
from mtp_operator.resources.labels import MANAGER

from .metrics import REQUEST_ERRORS
from .server_time import ServerTime

Body = Mapping[str, Any]

PAGE_SIZE: Final = 500

_JSON = "application/json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


@dataclass(frozen=True)
class Resource:
    """One resource of the API: where it is served and what its objects are called."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def group_version_path(self) -> str:
        """Path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of the collection (of all namespaces where none is given), of an object or of its subresource."""
        parts = [self.group_version_path]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


MODELS: Final = Resource(GROUP, VERSION, "mtpmodels", "MTPModel")
RUNS: Final = Resource(GROUP, VERSION, "mtptuningruns", "MTPTuningRun")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
CLAIM_TEMPLATES: Final = Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICES: Final = Resource("", "v1", "services", "Service")
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
EVENTS: Final = Resource("", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")


class ApiError(Exception):
    """The API server refused a request, or did not answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """There is no such object."""


class ConflictError(ApiError):
    """The object is another one than the request speaks of."""


class AlreadyExistsError(ApiError):
    """There is an object of that name already."""


class ForbiddenError(ApiError):
    """RBAC, a quota or an admission policy forbids it."""


class InvalidError(ApiError):
    """The server does not accept the object."""


class TransientError(ApiError):
    """No answer in time, an answer that is not the API server's, or the server is overloaded or failing."""


class WritesStoppedError(Exception):
    """This process may not write any more: another one may hold the Lease."""


class Client:
    """Requests to the API server.

    Args:
        configuration: server and credentials.
        request_timeout_seconds: of each request.
        may_write: asked before every write; false raises `WritesStoppedError`.
        server_time: learns the time from every answer.
    """

    def __init__(
        self,
        configuration: Configuration,
        request_timeout_seconds: float,
        may_write: Callable[[], bool] = lambda: True,
        server_time: ServerTime | None = None,
    ) -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = MANAGER
        self._timeout = aiohttp.ClientTimeout(total=request_timeout_seconds)
        self._may_write = may_write
        self._server_time = server_time or ServerTime()

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """The object as it is now."""
        return await self._request("GET", resource.path(namespace, name))

    async def discover(self, resource: Resource) -> set[str]:
        """Plurals served in the group and version of the resource; empty if there is no such group."""
        try:
            answer = await self._request("GET", resource.group_version_path)
        except NotFoundError:
            return set()
        return {one["name"] for one in answer["resources"]}

    async def probe(self, resource: Resource, namespace: str | None, label_selector: str = "") -> None:
        """One LIST of at most one object: whether it is allowed.

        Raises:
            ForbiddenError: it is not.
        """
        query = {"limit": "1"} | ({"labelSelector": label_selector} if label_selector else {})
        await self._request("GET", resource.path(namespace), query, accept=_METADATA_LIST)

    async def list_metadata(
        self, resource: Resource, namespace: str | None, label_selector: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        """Metadata of each object of the collection, page by page."""
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": label_selector} if label_selector else {})
        while True:
            page = await self._request("GET", resource.path(namespace), query, accept=_METADATA_LIST)
            for item in page.get("items") or ():
                yield item["metadata"]
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {**query, "continue": token}

    async def list_events(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        """Events about one object, the latest last."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(PAGE_SIZE)}
        items = (await self._request("GET", EVENTS.path(namespace), query)).get("items") or []
        return sorted(items, key=lambda event: int(event["metadata"]["resourceVersion"]))

    async def list_pods_of(self, namespace: str, job_uid: str) -> list[dict[str, Any]]:
        """Pods that a Job has made, as they are now."""
        query = {"labelSelector": f"batch.kubernetes.io/controller-uid={job_uid}", "limit": str(PAGE_SIZE)}
        items: list[dict[str, Any]] = (await self._request("GET", PODS.path(namespace), query)).get("items") or []
        return items

    async def create(self, resource: Resource, body: Body) -> dict[str, Any]:
        """POST."""
        return await self._write("POST", resource.path(body["metadata"]["namespace"]), body)

    async def replace(self, resource: Resource, body: Body) -> dict[str, Any]:
        """PUT; a `metadata.resourceVersion` in the body must still be the newest."""
        metadata = body["metadata"]
        return await self._write("PUT", resource.path(metadata["namespace"], metadata["name"]), body)

    async def apply_status(self, resource: Resource, metadata: Body, status: Body) -> dict[str, Any]:
        """Server-side apply of the whole status that this operator owns.

        The API server does not look at `metadata.uid` here: only a `metadata.resourceVersion` keeps the status from
        a namesake, or from a version of the object that it was not computed for.

        Raises:
            ConflictError: the object is not at this version any more.
        """
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
        return await self._apply(resource.path(metadata["namespace"], metadata["name"], "status"), body)

    async def apply(self, resource: Resource, body: Body) -> dict[str, Any]:
        """Server-side apply of an object, which is created where there is none.

        Raises:
            ConflictError: the object has another `metadata.uid` than the body names, or is not there any more.
        """
        metadata = body["metadata"]
        return await self._apply(resource.path(metadata["namespace"], metadata["name"]), body)

    async def merge_patch(self, resource: Resource, namespace: str, name: str, patch: Body) -> dict[str, Any]:
        """JSON merge patch."""
        return await self._write(
            "PATCH",
            resource.path(namespace, name),
            patch,
            query={"fieldManager": MANAGER},
            content_type="application/merge-patch+json",
        )

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> dict[str, Any]:
        """DELETE of the object with this uid and no other; children are collected in the background."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        return await self._write("DELETE", resource.path(namespace, name), options)

    async def _apply(self, path: str, body: Body) -> dict[str, Any]:
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._write("PATCH", path, body, query=query, content_type="application/apply-patch+yaml")

    async def _write(
        self, method: str, path: str, body: Body, query: Mapping[str, str] | None = None, content_type: str = _JSON
    ) -> dict[str, Any]:
        if not self._may_write():
            raise WritesStoppedError(f"{method} {path} is not sent: the Lease is not held")
        return await self._request(method, path, query, body, content_type)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> dict[str, Any]:
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": MANAGER}
        token = await self._api.configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        try:
            response = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=self._timeout
            )
            data = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            REQUEST_ERRORS.labels(method=method, code="0").inc()
            raise TransientError(0, type(error).__name__, f"{method} {path}: {self._words(error)}") from error
        self._server_time.hear(response.headers.get("Date"))
        if response.status >= 400:
            REQUEST_ERRORS.labels(method=method, code=str(response.status)).inc()
            raise _error(response.status, f"{method} {path}", data)
        return _object(data, f"{method} {path}")

    def _words(self, error: Exception) -> str:
        return f"no answer within {self._timeout.total:g} s" if isinstance(error, TimeoutError) else str(error)


def _object(data: bytes, request: str) -> dict[str, Any]:
    """The object in an answer.

    Raises:
        TransientError: something between the API server and this process answered in its place.
    """
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "kind" not in answer:
        text = data[:200].decode(errors="replace")
        raise TransientError(0, "NotAnObject", f"{request}: the answer is not a Kubernetes object: {text}")
    return answer


def _error(status: int, request: str, data: bytes) -> ApiError:
    fields: set[str] = set()
    try:
        answer = json.loads(data)
        reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
        fields = {cause.get("field", "") for cause in (answer.get("details") or {}).get("causes") or ()}
    except (ValueError, AttributeError):
        reason, message = "", data[:200].decode(errors="replace")
    kinds: dict[int, type[ApiError]] = {
        400: InvalidError,
        403: ForbiddenError,
        404: NotFoundError,
        409: AlreadyExistsError if reason == "AlreadyExists" else ConflictError,
        # A patch that names another uid than the object has is answered as an invalid change of the uid.
        422: ConflictError if "metadata.uid" in fields else InvalidError,
        408: TransientError,
        429: TransientError,
    }
    kind = TransientError if status >= 500 else kinds.get(status, ApiError)
    return kind(status, reason, f"{request}: {message}")


async def load_configuration(connections: int) -> Configuration:
    """Server and credentials: of the pod's ServiceAccount, or of KUBECONFIG outside a cluster.

    Args:
        connections: requests that may be in flight at the same time.

    Raises:
        kubernetes.aio.config.ConfigException: there are none.
    """
    configuration = Configuration()
    kubeconfig = os.environ.get("KUBECONFIG")
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        load_incluster_config(configuration)
    else:
        await load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
    configuration.connection_pool_maxsize = connections
    # As for the watches: proxies of the environment are for the internet, not for the API server.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration
