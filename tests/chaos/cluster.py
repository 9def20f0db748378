"""What a cluster does with the objects of an API server: controllers, kubelets, the garbage collector."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from mtp_operator.api.conditions import format_time, parse_time
from mtp_operator.api.fetch import FetchResult
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import N_SPEC_LABEL
from mtp_operator.resources.server_deployment import PROBE_CONTAINER
from mtp_operator.resources.trial_job import BENCH_CONTAINER
from mtp_operator.runtime.api_client import DEPLOYMENTS, JOBS, PODS, Resource
from tests.unit.reconcile import givens as memory
from tests.unit.runtime.api_server import ApiServer

START_SECONDS: Final = 1
RUN_SECONDS: Final = 8

Body = dict[str, Any]


class Cluster:
    """Acts on the objects of one namespace whenever `step` is called.

    Args:
        server: has the objects.
        now: the cluster's own clock, which no fault touches.
        speeds: output tokens per second by n.
    """

    def __init__(self, server: ApiServer, now: Callable[[], datetime], speeds: dict[int, float]) -> None:
        self.server = server
        self.speeds = speeds
        self.loses_next_trial = False
        """Whether the node loses the pod of the next trial that would end."""
        self.templates: list[str] = []
        """Hashes of servers' pod templates, each time that it changed."""
        self.server_pods = 0
        """Pods of servers that were ever made."""
        self._now = now
        self._numbers = itertools.count(1)

    def step(self) -> None:
        """Every controller looks once at what there is."""
        for job in list(self.of(JOBS)):
            self._run_job(job)
        for deployment in list(self.of(DEPLOYMENTS)):
            self._roll(deployment)
        self._collect()

    def of(self, resource: Resource) -> Iterator[Body]:
        """Objects of a resource."""
        folder = resource.path(memory.NAMESPACE) + "/"
        return (body for path, body in self.server.objects.items() if path.startswith(folder))

    def pods_of(self, owner: Body) -> list[Body]:
        """Pods that an object has made."""
        uid = owner["metadata"]["uid"]
        return [pod for pod in self.of(PODS) if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    # -- Jobs ----------------------------------------------------------------------------------------------------------

    def _run_job(self, job: Body) -> None:
        if job.get("status", {}).get("conditions"):
            return
        pods = self.pods_of(job)
        if job["spec"].get("activeDeadlineSeconds") == 1:
            for pod in pods:
                self._remove(PODS, pod)
            self._end_job(job, "Failed", "DeadlineExceeded")
        elif not pods:
            self._make_pod(job, "Job", job["metadata"]["name"], job["spec"]["template"])
        elif pods[0]["status"]["phase"] == "Pending":
            self._start(pods[0], FETCH_CONTAINER if self._is_fetch(job) else BENCH_CONTAINER)
        elif self._age_seconds(pods[0]) >= START_SECONDS + RUN_SECONDS:
            self._end(job, pods[0])

    def _end(self, job: Body, pod: Body) -> None:
        if self.loses_next_trial and not self._is_fetch(job):
            self.loses_next_trial = False
            self._remove(PODS, pod)
            self._end_job(job, "Failed", "BackoffLimitExceeded")
            return
        end = {"exitCode": 0, "message": self._message(job), "finishedAt": format_time(self._now())}
        (container,) = pod["status"]["containerStatuses"]
        ended = {**container, "state": {"terminated": end}}
        self._set_status(PODS, pod, phase="Succeeded", containerStatuses=[ended])
        self._end_job(job, "Complete", "")

    def _message(self, job: Body) -> str:
        if self._is_fetch(job):
            return FetchResult(fetched=(FetchedSource(uri=URI, revision=COMMIT),), total_bytes=28_000_000_000).to_json()
        n_spec = int(job["metadata"]["labels"][N_SPEC_LABEL])
        return memory.result(n_spec, self.speeds[n_spec]).encode()

    def _is_fetch(self, job: Body) -> bool:
        return N_SPEC_LABEL not in job["metadata"]["labels"]

    def _end_job(self, job: Body, condition: str, reason: str) -> None:
        end = {"type": condition, "status": "True", "reason": reason, "lastTransitionTime": format_time(self._now())}
        self._set_status(JOBS, job, conditions=[end])

    # -- servers -------------------------------------------------------------------------------------------------------

    def _roll(self, deployment: Body) -> None:
        template = deployment["spec"]["template"]
        wanted, replicas = _hash(template), deployment["spec"]["replicas"]
        if wanted not in self.templates[-1:]:
            self.templates.append(wanted)
        pods = [pod for pod in self.of(PODS) if pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"]
        new = [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == wanted]
        old = [pod for pod in pods if pod not in new]
        for pod in new:
            if pod["status"]["phase"] == "Pending":
                self._start(pod, PROBE_CONTAINER, conditions=[{"type": "Ready", "status": "False"}])
            elif self._age_seconds(pod) >= START_SECONDS + RUN_SECONDS and not _is_ready(pod):
                self._set_status(PODS, pod, conditions=[{"type": "Ready", "status": "True"}])
        for _ in range(replicas - len(new)):
            self.server_pods += 1
            self._make_pod({"metadata": {"uid": wanted}}, "ReplicaSet", deployment["metadata"]["name"], template)
        if sum(map(_is_ready, new)) >= replicas:
            for pod in [*old, *new[replicas:]]:
                self._remove(PODS, pod)
        count = sum(pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet" for pod in self.of(PODS))
        self._set_status(
            DEPLOYMENTS,
            deployment,
            observedGeneration=deployment["metadata"]["generation"],
            replicas=count,
            readyReplicas=sum(map(_is_ready, new)),
        )

    # -- objects -------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Objects go when all that owned them has gone."""
        alive = {body["metadata"]["uid"] for body in self.server.objects.values()}
        alive |= {_hash(deployment["spec"]["template"]) for deployment in self.of(DEPLOYMENTS)}
        for path, body in list(self.server.objects.items()):
            owners = {owner["uid"] for owner in body["metadata"].get("ownerReferences", ())}
            is_server = body["metadata"].get("ownerReferences", [{}])[0].get("kind") == "ReplicaSet"
            if owners and not owners & alive and not (is_server and any(self.of(DEPLOYMENTS))):
                self.server.remove(path)

    def _make_pod(self, owner: Body, kind: str, name: str, template: Body) -> None:
        name = f"{name}-{next(self._numbers)}"
        metadata = {
            "name": name,
            "namespace": memory.NAMESPACE,
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": [{"kind": kind, "uid": owner["metadata"]["uid"], "controller": True}],
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {**template["spec"]},
            "status": {"phase": "Pending"},
        }
        self.server.put(PODS.path(memory.NAMESPACE, name), body)

    def _start(self, pod: Body, beside: str, **status: Any) -> None:
        if self._age_seconds(pod) < START_SECONDS:
            return
        running = {"restartCount": 0, "state": {"running": {"startedAt": format_time(self._now())}}}
        engine = {"name": ENGINE_CONTAINER, "imageID": "vllm@sha256:1", **running}
        other = {"name": beside, "imageID": "operator@sha256:1", **running}
        is_server = beside == PROBE_CONTAINER
        self.server.put(
            PODS.path(memory.NAMESPACE, pod["metadata"]["name"]),
            {
                **pod,
                "spec": {**pod["spec"], "nodeName": "node-a"},
                "status": {
                    "phase": "Running",
                    "startTime": format_time(self._now()),
                    "initContainerStatuses": [] if beside == FETCH_CONTAINER else [other if is_server else engine],
                    "containerStatuses": [engine if is_server else other],
                    **status,
                },
            },
        )

    def _set_status(self, resource: Resource, body: Body, **status: Any) -> None:
        path = resource.path(memory.NAMESPACE, body["metadata"]["name"])
        live = self.server.objects[path]
        changed = {**live, "status": {**live.get("status", {}), **status}}
        if changed != live:
            self.server.put(path, changed)

    def _remove(self, resource: Resource, body: Body) -> None:
        self.server.remove(resource.path(memory.NAMESPACE, body["metadata"]["name"]))

    def _age_seconds(self, pod: Body) -> float:
        age: timedelta = self._now() - parse_time(pod["metadata"]["creationTimestamp"])
        return age.total_seconds()


URI: Final = "hf://google/gemma"
COMMIT: Final = "c" * 40


def _is_ready(pod: Body) -> bool:
    return any(one == {"type": "Ready", "status": "True"} for one in pod["status"].get("conditions", ()))


def _hash(template: Body) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:12]
