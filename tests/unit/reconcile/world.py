"""A cluster in memory that carries plans out to the letter, so that decisions can be followed to their end.

It plays what the API server and the Job controller do with the objects of one model name; engines are tables of speeds.
What it cannot show (watches, caches, conflicts) is tested with a real API server.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from mtp_operator.api.conditions import ONLY_WHILE_TRUE, format_time
from mtp_operator.reconcile.decide import decide
from mtp_operator.reconcile.observed import (
    APPLIED_KINDS,
    Failure,
    Kind,
    Lane,
    Observed,
    Reference,
    SeenProgress,
)
from mtp_operator.reconcile.plan import (
    Action,
    Apply,
    Create,
    Delete,
    Ensure,
    EventsRead,
    Plan,
    ProgressRead,
    Release,
    StatusUpdate,
    StopTrial,
)
from mtp_operator.reconcile.views import observe
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import COMPONENT_LABEL, SERVER
from mtp_operator.resources.server_deployment import PROBE_CONTAINER
from mtp_operator.resources.trial_job import BENCH_CONTAINER
from mtp_operator.runtime.drift import drift

from .givens import NODE, SETTINGS, SPEEDS, model_body, result


class World:
    """The objects of one namespace."""

    def __init__(self, model: Mapping[str, Any] | None = None) -> None:
        self.model: dict[str, Any] | None = copy.deepcopy(dict(model or model_body()))
        self.runs: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.claim_templates: dict[str, dict[str, Any]] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        self.trials_policies: dict[str, dict[str, Any]] = {}
        self.progress: dict[str, SeenProgress] = {}
        self.children: dict[tuple[Kind, str], dict[str, Any]] = {}
        self.nodes: list[dict[str, Any]] = [NODE]
        self.event_snapshots: dict[str, tuple[datetime, list[dict[str, Any]]]] = {}
        self.now = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
        self.settings = SETTINGS
        self.relatives: list[dict[str, Any]] = []
        """Runs of other models of the namespace."""
        self.failures: dict[Lane, Failure] = {}
        self.writes: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.uids = itertools.count(1)

    # -- what the operator does ----------------------------------------------------------------------------------------

    def observed(self) -> Observed:
        """What the operator sees."""
        children: dict[Kind, list[dict[str, Any]]] = {}
        for (kind, _), body in self.children.items():
            children.setdefault(kind, []).append(body)
        seen = observe(
            self.model,
            self.runs.values(),
            self.jobs.values(),
            self.pods.values(),
            self.nodes,
            self.event_snapshots,
            self.progress,
            children,
            self.relatives,
        )
        return replace(seen, failures=dict(self.failures))

    def plan(self) -> Plan:
        """What the operator would do now."""
        return decide(self.observed(), self.settings, self.now)

    def step(self, writes: int | None = None) -> bool:
        """Decides once and carries out the plan, or only its first writes; answers whether there was anything to do."""
        plan = self.plan()
        written = len(self.writes)
        acts = [act for action in plan.actions if (act := self._act(action)) is not None]
        for act in acts[:writes]:
            act()
        # What is applied may be like that already; every other act is a write.
        applies = sum(isinstance(action, Apply) for action in plan.actions)
        return len(acts) > applies or len(self.writes) > written

    def settle(self) -> None:
        """Decides until nothing is left to do."""
        for _ in range(40):
            if not self.step():
                return
        raise AssertionError(f"the operator does not come to rest: {self.plan()}")

    def _act(self, action: Action) -> Callable[[], None] | None:
        """What carries out a write; nothing where something is only read."""
        match action:
            case StatusUpdate():
                return partial(self._write_status, action)
            case Ensure(_, body):
                return partial(self._ensure, body)
            case Create(kind, body):
                return partial(self._create, kind, body)
            case Apply(kind, body):
                return partial(self._apply, kind, body)
            case StopTrial(target):
                return partial(self._end, target)
            case Release(target):
                return partial(self._release, target)
            case Delete(target):
                return partial(self._delete, target)
            case EventsRead() | ProgressRead():
                return None

    def _find(self, target: Reference) -> dict[str, Any]:
        if target.kind is Kind.MODEL:
            assert self.model is not None
            found = self.model
        elif target.kind in APPLIED_KINDS:
            found = self.children[target.kind, target.name]
        else:
            found = {Kind.RUN: self.runs, Kind.JOB: self.jobs}[target.kind][target.name]
        assert found["metadata"]["uid"] == target.uid
        return found

    def _write_status(self, update: StatusUpdate) -> None:
        body = self._find(update.target)
        assert body["status"] != update.status, f"a status is written that is there already: {update.target}"
        body["status"] = copy.deepcopy(dict(update.status))
        self.writes.append(f"status {update.target.kind} {update.target.name}")
        self.events += [(event.reason, event.message) for event in update.events]

    def _ensure(self, body: Mapping[str, Any]) -> None:
        new = copy.deepcopy(dict(body))
        if new["kind"] == "NetworkPolicy":
            assert self.trials_policies.setdefault(new["metadata"]["name"], new) == new
            return
        made = self.claims if new["kind"] == "PersistentVolumeClaim" else self.claim_templates
        if new != made.setdefault(new["metadata"]["name"], new) and made is self.claim_templates:
            raise AssertionError("a claim template is made anew with the same name")

    def _create(self, kind: Kind, body: Mapping[str, Any]) -> None:
        new = copy.deepcopy(dict(body))
        name = new["metadata"]["name"]
        objects = {Kind.RUN: self.runs, Kind.JOB: self.jobs}[kind]
        assert name not in objects, f"{kind} {name} is created twice"
        new["metadata"] |= {
            "uid": f"uid-{next(self.uids)}",
            "generation": 1,
            "creationTimestamp": format_time(self.now),
        }
        new["status"] = {"observedGeneration": -1} if kind is Kind.RUN else {}
        objects[name] = new
        self.writes.append(f"create {kind} {name}")

    def _apply(self, kind: Kind, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        live = self.children.get((kind, name))
        if live is not None and not list(drift(body, live)):
            return
        new = copy.deepcopy(dict(body))
        older = live or {"metadata": {"uid": f"uid-{next(self.uids)}", "generation": 0}, "spec": None, "status": {}}
        new["metadata"]["uid"] = older["metadata"]["uid"]
        new["metadata"]["generation"] = older["metadata"]["generation"] + (older["spec"] != new["spec"])
        new["status"] = older["status"]
        self.children[kind, name] = new
        self.writes.append(f"apply {kind} {name}")

    def _end(self, target: Reference) -> None:
        self._find(target)["spec"]["activeDeadlineSeconds"] = 1
        self.writes.append(f"end {target.name}")

    def _release(self, target: Reference) -> None:
        self._find(target)["metadata"].pop("ownerReferences")
        self.writes.append(f"release {target.name}")

    def _delete(self, target: Reference) -> None:
        self._find(target)
        if target.kind is Kind.RUN:
            del self.runs[target.name]
        elif target.kind in APPLIED_KINDS:
            del self.children[target.kind, target.name]
        else:
            del self.jobs[target.name]
            self.pods = {name: pod for name, pod in self.pods.items() if pod.get("job") != target.name}
        self.writes.append(f"delete {target.kind} {target.name}")

    # -- what the cluster does -----------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """The only run."""
        (run,) = self.runs.values()
        return run

    def open_job(self) -> dict[str, Any]:
        """The only Job that has not ended."""
        (job,) = (job for job in self.jobs.values() if not job["status"].get("conditions"))
        return job

    def start_pod(self, job: dict[str, Any], **status: Any) -> dict[str, Any]:
        """The Job controller makes the pod, and the node starts it."""
        pod: dict[str, Any] = {
            "metadata": {
                "name": f"{job['metadata']['name']}-{len(self.pods)}",
                "uid": f"uid-{next(self.uids)}",
                "creationTimestamp": format_time(self.now),
                "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"], "controller": True}],
            },
            "spec": {**job["spec"]["template"]["spec"], "nodeName": "node-a"},
            "status": {
                "phase": "Running",
                "startTime": format_time(self.now),
                "initContainerStatuses": [
                    {
                        "name": ENGINE_CONTAINER,
                        "imageID": "vllm@sha256:1",
                        "restartCount": 0,
                        "state": {"running": {"startedAt": format_time(self.now)}},
                    }
                ],
                "containerStatuses": [
                    {
                        "name": BENCH_CONTAINER,
                        "imageID": "operator@sha256:1",
                        "restartCount": 0,
                        "state": {"running": {"startedAt": format_time(self.now)}},
                    }
                ],
                **status,
            },
            "job": job["metadata"]["name"],
        }
        self.pods[pod["metadata"]["name"]] = pod
        return pod

    def start_fetch(self, job: dict[str, Any], **status: Any) -> dict[str, Any]:
        """The Job controller makes a fetch's pod, and the node starts it."""
        running = {"name": FETCH_CONTAINER, "state": {"running": {"startedAt": format_time(self.now)}}}
        containers = {"initContainerStatuses": [], "containerStatuses": [running], "podIP": "10.0.0.7"}
        return self.start_pod(job, **{**containers, **status})

    def end_fetch(self, pod: dict[str, Any], exit_code: int, message: str, job_ends: str = "") -> None:
        """The fetch's program ends, and with it the pod; the Job ends too, or makes another pod later."""
        state = {"exitCode": exit_code, "message": message, "finishedAt": format_time(self.now)}
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": state}
        pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
        if job_ends:
            self.end_job(pod["job"], job_ends)

    def deployment(self) -> dict[str, Any]:
        """The servers' Deployment."""
        return next(body for (kind, _), body in self.children.items() if kind is Kind.DEPLOYMENT)

    def servers(self) -> list[dict[str, Any]]:
        """The servers' pods."""
        return [pod for pod in self.pods.values() if pod["metadata"].get("labels", {}).get(COMPONENT_LABEL) == SERVER]

    def start_server(self, *, ready: bool, restarts: int = 0, said: str = "") -> dict[str, Any]:
        """The Deployment's controller makes a pod of its template, and the node starts it."""
        self.tick(1)
        engine: dict[str, Any] = {"name": ENGINE_CONTAINER, "restartCount": restarts, "state": {"running": {}}}
        if restarts:
            engine["lastState"] = {"terminated": {"exitCode": 1, "message": said}}
        number = next(self.uids)
        pod: dict[str, Any] = {
            "metadata": {
                "name": f"server-{number}",
                "uid": f"uid-{number}",
                "creationTimestamp": format_time(self.now),
                "labels": dict(self.deployment()["spec"]["template"]["metadata"]["labels"]),
                "ownerReferences": [{"kind": "ReplicaSet", "uid": "uid-replica-set", "controller": True}],
            },
            "spec": {**self.deployment()["spec"]["template"]["spec"], "nodeName": "node-a"},
            "status": {
                "phase": "Running",
                "startTime": format_time(self.now),
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "initContainerStatuses": [{"name": PROBE_CONTAINER, "restartCount": 0, "state": {"running": {}}}],
                "containerStatuses": [engine],
            },
        }
        self.pods[pod["metadata"]["name"]] = pod
        self.roll()
        return pod

    def stop_server(self, pod: dict[str, Any]) -> None:
        """The pod of a server is gone."""
        del self.pods[pod["metadata"]["name"]]
        self.roll()

    def roll(self, *conditions: dict[str, Any]) -> None:
        """The Deployment's controller has seen its newest spec, and reports."""
        body = self.deployment()
        body["status"] = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": len(self.servers()),
            "conditions": list(conditions),
        }

    def replace_servers(self) -> None:
        """The Deployment's controller brings about what its spec says, all of it ready."""
        for pod in self.servers():
            self.stop_server(pod)
        for _ in range(self.deployment()["spec"]["replicas"]):
            self.start_server(ready=True)
        self.roll()

    def end_bench(self, pod: dict[str, Any], exit_code: int, message: str) -> None:
        """The bench container ends, and with it the pod and its Job."""
        state = {"exitCode": exit_code, "message": message, "finishedAt": format_time(self.now)}
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": state}
        pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
        self.end_job(pod["job"], "Failed" if exit_code else "Complete")

    def end_job(self, name: str, condition: str, reason: str = "") -> None:
        """The Job controller sets the Job's last condition."""
        self.jobs[name]["status"]["conditions"] = [{"type": condition, "status": "True", "reason": reason}]

    def tick(self, seconds: float) -> None:
        """Time goes by."""
        self.now += timedelta(seconds=seconds)

    def lose_trial(self, seconds: float = 10) -> None:
        """The Job of the open trial ends without a word, and the pause after that is over."""
        self.end_job(self.open_job()["metadata"]["name"], "Failed", "BackoffLimitExceeded")
        self.settle()
        self.tick(seconds)
        self.settle()

    def run_trial(self, speeds: Mapping[int, float] = SPEEDS) -> int:
        """The open trial runs to a good end; answers its n."""
        job = self.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        pod = self.start_pod(job)
        self.settle()
        self.tick(30)
        self.end_bench(pod, 0, result(n_spec, speeds[n_spec]).encode())
        return n_spec

    def end_trial(self, speeds: Mapping[int, float] = SPEEDS) -> None:
        """The pod of the open trial runs to a good end."""
        job = self.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        pod = next(pod for pod in self.pods.values() if pod.get("job") == job["metadata"]["name"])
        self.tick(30)
        self.end_bench(pod, 0, result(n_spec, speeds[n_spec]).encode())

    def finish(self, speeds: Mapping[int, float] = SPEEDS) -> None:
        """All trials run to a good end, until the run has its verdict."""
        self.settle()
        for _ in range(60):
            if not any(not job["status"].get("conditions") for job in self.jobs.values()):
                return
            self.run_trial(speeds)
            self.settle()
        raise AssertionError("the run does not end")

    def model_condition(self, type_: str) -> dict[str, Any]:
        """One condition of the model; one that is there only while it holds is False otherwise."""
        assert self.model is not None
        found = [one for one in self.model["status"]["conditions"] if one["type"] == type_]
        if not found and type_ in ONLY_WHILE_TRUE:
            return {"type": type_, "status": "False", "reason": "", "message": ""}
        condition: dict[str, Any]
        (condition,) = found
        return condition

    def change_spec(self, **spec: Any) -> None:
        """A person edits the model."""
        assert self.model is not None
        self.model["spec"] |= spec
        self.model["metadata"]["generation"] += 1


def trials(world: World) -> list[tuple[int, str]]:
    return [(trial["nSpec"], trial["state"]) for trial in world.run()["status"]["trials"]]
