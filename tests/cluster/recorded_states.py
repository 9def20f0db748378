"""The states of models that `kubectl mtp` is recorded in, written to an API server as the operator would write them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.conditions import format_time, parse_time
from mtp_operator.cli.kubectl.diagnosis import Facts
from tests.cluster.lone_api_server import LoneApiServer
from tests.unit.reconcile.world import World

NAMESPACE = "team"
CRDS = Path("crds")
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PLURALS = {"MTPModel": "mtpmodels", "MTPTuningRun": "mtptuningruns"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
MODELS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/mtpmodels"
_BY_SERVER = ("uid", "generation", "creationTimestamp", "resourceVersion", "managedFields", "ownerReferences")


def install_crds(server: LoneApiServer, *kinds: str) -> None:
    """Makes our kinds known, and waits until they are served; without names, both."""
    for file in sorted(CRDS.glob("mtp-operator.dev_*.yaml")):
        body = yaml.safe_load(file.read_text())
        kind = body["spec"]["names"]["kind"]
        if kinds and kind not in kinds:
            continue
        if server.client.get(f"{_CRD_PATH}/{body['metadata']['name']}").is_success:
            continue
        server.request("POST", _CRD_PATH, body)
        while not server.client.get(f"/apis/{API_VERSION}/{_PLURALS[kind]}").is_success:
            pass


def create(server: LoneApiServer, path: str, body: Mapping[str, Any]) -> None:
    """Creates an object with its status; `path` is that of its collection."""
    made = server.request("POST", path, {key: value for key, value in body.items() if key != "status"})
    if status := body.get("status"):
        made["status"] = status
        server.request("PUT", f"{path}/{made['metadata']['name']}/status", made)


@contextmanager
def written(server: LoneApiServer, *worlds: World) -> Iterator[None]:
    """The models and runs of these worlds, with what happened in them as long ago as it was there; removed afterwards.

    Of several worlds with one model the first one has it, and the others are there with their runs alone.
    """
    models: dict[str, dict[str, Any]] = {}
    runs: list[dict[str, Any]] = []
    for world in worlds:
        assert world.model is not None
        since = datetime.now(UTC) - world.now
        models.setdefault(world.model["metadata"]["name"], _later(world.model, since))
        runs += [_later(run, since) for run in world.runs.values()]
    for body in (*models.values(), *runs):
        _write(server, body)
    try:
        yield
    finally:
        for plural in _PLURALS.values():
            server.request("DELETE", _collection(plural))


def _collection(plural: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{plural}"


def _write(server: LoneApiServer, body: Mapping[str, Any]) -> None:
    path = _collection(_PLURALS[body["kind"]])
    metadata = {key: value for key, value in body["metadata"].items() if key not in _BY_SERVER}
    stated = {**body, "metadata": metadata}
    wanted = body["metadata"]["generation"]
    if wanted > 1:
        # The spec was edited: the server counts that.
        first = {**stated, "spec": {**stated["spec"], "tuning": {**stated["spec"]["tuning"], "historyLimit": wanted}}}
        made = server.request("POST", path, {key: value for key, value in first.items() if key != "status"})
        for limit in (*range(wanted - 1, 1, -1), None):
            made["spec"] = stated["spec"] if limit is None else _with_limit(made["spec"], limit)
            made = server.request("PUT", f"{path}/{metadata['name']}", made)
        made["status"] = stated["status"]
        server.request("PUT", f"{path}/{metadata['name']}/status", made)
    else:
        create(server, path, stated)


def _with_limit(spec: Mapping[str, Any], limit: int) -> dict[str, Any]:
    return {**spec, "tuning": {**spec["tuning"], "historyLimit": limit}}


def _later(value: Any, since: timedelta) -> Any:
    """A copy with every time moved."""
    if isinstance(value, Mapping):
        return {key: _later(one, since) for key, one in value.items()}
    if isinstance(value, str):
        return _TIME.sub(lambda match: format_time(parse_time(match[0]) + since), value)
    if isinstance(value, Iterable):
        return [_later(one, since) for one in value]
    return copy.copy(value)


# -- what a cluster has beside our kinds -------------------------------------------------------------------------------

_NOT_ROOT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def whole(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status with what our kinds require of conditions, too."""
    changed = {"lastTransitionTime": format_time(datetime.now(UTC))}
    return {**status, "conditions": [{**changed, **one} for one in status["conditions"]]}


def furnish(server: LoneApiServer, facts: Facts) -> None:
    """Writes the objects of a cluster that a doctor is recorded with, each with what the API server requires of it."""
    for one in _listed(facts.operators):
        namespace = one["metadata"]["namespace"]
        if not server.client.get(f"/api/v1/namespaces/{namespace}").is_success:
            create(server, "/api/v1/namespaces", {"metadata": {"name": namespace}})
        create(server, f"/apis/apps/v1/namespaces/{namespace}/deployments", _deployment(one))
    for one in _listed(facts.nodes):
        create(server, "/api/v1/nodes", one)
    pods = {one["metadata"]["name"]: one for one in (*_listed(facts.pods), *_listed(facts.namespace_pods))}
    for one in pods.values():
        create(server, f"/api/v1/namespaces/{NAMESPACE}/pods", _pod(one))
    for one in _listed(facts.storage_classes):
        create(server, "/apis/storage.k8s.io/v1/storageclasses", {**one, "provisioner": "example.com/none"})
    for number, one in enumerate(_listed(facts.dns_endpoints)):
        create(server, "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", _slice(one, number))


def _listed(objects: Any) -> list[Mapping[str, Any]]:
    assert isinstance(objects, list)
    return objects


def _deployment(one: Mapping[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "mtp-operator"}
    metadata = {**one["metadata"], "labels": one["metadata"]["labels"] | labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "operator", "image": "none"}]}}
    return {
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels}, "template": template},
        "status": {**one["status"], "replicas": 1},
    }


def _pod(one: Mapping[str, Any]) -> dict[str, Any]:
    containers = [
        {**container, "image": "none", "securityContext": _NO_RIGHTS} for container in one["spec"]["containers"]
    ]
    return {**one, "spec": {**one["spec"], "containers": containers, "securityContext": _NOT_ROOT}}


def _slice(one: Mapping[str, Any], number: int) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "kube-dns"}
    endpoints = [
        {**endpoint, "addresses": [f"10.1.{number}.{index}"]} for index, endpoint in enumerate(one["endpoints"], 1)
    ]
    return {
        "metadata": {"name": f"kube-dns-{number}", "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"port": 53, "protocol": "UDP", "name": "dns"}],
    }
