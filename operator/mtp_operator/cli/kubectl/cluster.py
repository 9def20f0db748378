"""The only part of `kubectl mtp` that talks to the API server: by the user's own kubeconfig, and nothing but reads.

Of the verbs `retune` alone writes, one field of one MTPModel. `mtp self-test` also creates and deletes one.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from mtp_operator.api.base import GROUP, VERSION, Schema, first_problem
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun

MODELS: Final = "mtpmodels"
RUNS: Final = "mtptuningruns"

_TIMEOUT_SECONDS: Final = 20
_HINTS: Final[Mapping[int, str]] = {
    401: "the credentials of the kubeconfig are not accepted",
    403: "forbidden: ask for the right, or use another context",
}

Json = Mapping[str, Any]
Kind = TypeVar("Kind", bound=Schema)


class ClusterError(Exception):
    """The cluster cannot be asked, or refused; the message says what and why."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same question may be answered soon: nobody answered, or the server is overloaded or failing."""
        return not self.status or self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= 500


@dataclass(frozen=True)
class Connection:
    """Which cluster, as whom, and which namespace.

    Args:
        namespace: None: that of the context.
        context: None: the current one.
        kubeconfig: None: KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the pod that this runs in.
    """

    chosen_namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @cached_property
    def namespace(self) -> str:
        """The namespace that is asked."""
        if self.chosen_namespace:
            return self.chosen_namespace
        from kubernetes import config

        contexts, active = self._kubeconfig(config.list_kube_config_contexts)
        found = next((one for one in contexts if one["name"] == self.context), active)
        return str((found or {}).get("context", {}).get("namespace") or "default")

    @cached_property
    def _client(self) -> Any:
        from kubernetes import client, config

        configuration = client.Configuration()
        # Whoever asks sees at once that nobody answers.
        configuration.retries = False

        def connect(config_file: str | None) -> Any:
            if config_file is None and _is_in_pod():
                config.load_incluster_config(configuration)
                return client.ApiClient(configuration)
            return config.new_client_from_config(
                config_file, self.context, persist_config=False, client_configuration=configuration
            )

        return self._kubeconfig(connect)

    def close(self) -> None:
        """Closes what is open."""
        if "_client" in self.__dict__:
            self._client.rest_client.pool_manager.clear()

    def _kubeconfig(self, read: Any) -> Any:
        from kubernetes.config import ConfigException

        try:
            return read(self.kubeconfig or os.environ.get("KUBECONFIG"))
        except (ConfigException, OSError, TypeError) as error:
            raise ClusterError(f"kubeconfig: {error}") from None

    # -- our two kinds -------------------------------------------------------------------------------------------------

    def model(self, name: str) -> MTPModel:
        """The MTPModel of that name."""
        return _parsed(MTPModel, self.get(self._ours(MODELS, name), f"MTPModel {name}"))

    def run(self, name: str) -> MTPTuningRun:
        """The MTPTuningRun of that name."""
        return _parsed(MTPTuningRun, self.get(self._ours(RUNS, name), f"MTPTuningRun {name}"))

    def runs(self) -> list[MTPTuningRun]:
        """All runs of the namespace that this version can read."""
        found = []
        for body in self.items(self._ours(RUNS), "MTPTuningRuns"):
            try:
                found.append(MTPTuningRun.from_wire(dict(body)))
            except ValidationError:
                continue
        return found

    def models(self) -> list[Json]:
        """All models of the namespace, as they are."""
        return self.items(self._ours(MODELS), "MTPModels")

    def has_run(self, name: str) -> bool:
        """Whether there is a run of that name."""
        try:
            self.get(self._ours(RUNS, name), f"MTPTuningRun {name}")
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    def ask_for_tuning(self, model: MTPModel, request: int, *, dry_run: bool) -> None:
        """Set spec.tuning.retuneRequest, unless the model has changed since it was read."""
        patch = {
            "metadata": {"resourceVersion": model.metadata.resource_version},
            "spec": {"tuning": {"retuneRequest": request}},
        }
        query = {"fieldManager": "kubectl-mtp"} | ({"dryRun": "All"} if dry_run else {})
        self._request("PATCH", self._ours(MODELS, model.metadata.name), f"MTPModel {model.metadata.name}", query, patch)

    def create_model(self, manifest: Json) -> None:
        """Create an MTPModel in the namespace that is asked."""
        self._request("POST", self._ours(MODELS), f"MTPModel {manifest['metadata']['name']}", body=manifest)

    def delete_model(self, name: str) -> None:
        """Delete the MTPModel of that name; what it owns goes after it."""
        self._request("DELETE", self._ours(MODELS, name), f"MTPModel {name}")

    def _ours(self, plural: str, name: str | None = None) -> str:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(self.namespace, safe='')}/{plural}"
        return path if name is None else f"{path}/{quote(name, safe='')}"

    # -- anything ------------------------------------------------------------------------------------------------------

    def get(self, path: str, what: str, query: Mapping[str, str] | None = None) -> Json:
        """The object at a path.

        Args:
            path: of the API server.
            what: what messages call it.
            query: parameters.

        Raises:
            ClusterError: it is not there, the user may not read it, or no server answers.
        """
        answer: Json = json.loads(self._request("GET", path, what, query))
        return answer

    def items(self, path: str, what: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """The objects of a collection; see `get`."""
        return list(self.get(path, what, query).get("items") or ())

    def text(self, path: str, what: str, query: Mapping[str, str] | None = None) -> str:
        """The text at a path that does not hold an object, such as a log."""
        return self._request("GET", path, what, query)

    def lines(self, path: str, what: str, query: Mapping[str, str]) -> Iterator[str]:
        """The lines of a log while it grows."""
        response = self._response("GET", path, what, query, None, timeout=None)
        for line in response:
            yield line.decode(errors="replace").rstrip("\n")

    def _request(
        self, method: str, path: str, what: str, query: Mapping[str, str] | None = None, body: Json | None = None
    ) -> str:
        response = self._response(method, path, what, query, body, timeout=_TIMEOUT_SECONDS)
        text: str = response.read().decode(errors="replace")
        return text

    def _response(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        timeout: float | None,
    ) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json, */*", "Content-Type": content}
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*request, _request_timeout=timeout).response
        except (ApiException, HTTPError, OSError) as error:
            host = self._client.configuration.host
            raise ClusterError(f"cannot reach the API server {host}: {type(error).__name__}") from None
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise ClusterError(_refusal(response, what, self.namespace), response.status)
        return response


def _is_in_pod() -> bool:
    """Whether this runs in a pod that brings no kubeconfig."""
    from kubernetes.config import KUBE_CONFIG_DEFAULT_LOCATION

    # Path.expanduser raises for a user without a home folder, which a pod's may be.
    is_configured = Path(os.path.expanduser(KUBE_CONFIG_DEFAULT_LOCATION)).exists()  # noqa: PTH111
    return "KUBERNETES_SERVICE_HOST" in os.environ and not is_configured


def _refusal(response: Any, what: str, namespace: str) -> str:
    text = response.read().decode(errors="replace")
    try:
        words = json.loads(text)["message"]
    except (TypeError, ValueError, KeyError):
        words = ""
    if response.status == HTTPStatus.NOT_FOUND:
        # Where a CRD is missing, the API server answers in plain text, not with a Status.
        return f"{what} not found in namespace {namespace}" if words else f"{what}: not served; run kubectl mtp doctor"
    words = words or text[:200]
    hint = _HINTS.get(response.status, f"HTTP {response.status}")
    return f"{what}: {hint}: {words}"


def _parsed(kind: type[Kind], body: Json) -> Kind:
    try:
        return kind.model_validate(dict(body))
    except ValidationError as error:
        said = f"{kind.__name__} {body['metadata']['name']} was written by another version of the operator"
        raise ClusterError(f"{said}: {first_problem(error)}") from None
