"""From the API server's bodies to the records that decisions read. Nothing is judged here."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mtp_operator.api.conditions import parse_time
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.serving import ServingRecord
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import COMPONENT_LABEL, N_SPEC_LABEL, SERVER, SETTINGS_LABEL
from mtp_operator.resources.server import PROBE_CONTAINER, RECORD_ANNOTATION
from mtp_operator.resources.trial_job import BENCH_CONTAINER

from .records import (
    Child,
    Container,
    Job,
    Kind,
    Lookup,
    Node,
    Observed,
    Pod,
    Reference,
    SeenEvent,
    SeenProgress,
    Server,
    ServerPod,
    Terminated,
)

Body = Mapping[str, Any]


def observe(
    model: Body | None,
    runs: Iterable[Body],
    jobs: Iterable[Body],
    pods: Iterable[Body],
    nodes: Iterable[Body],
    events: Mapping[str, tuple[datetime, Sequence[Body]]],
    progress: Mapping[str, SeenProgress] | None = None,
    children: Mapping[Kind, Sequence[Body]] | None = None,
) -> Observed:
    """Everything that is known about one model name.

    Args:
        model: the MTPModel, if there is one.
        runs: its MTPTuningRuns.
        jobs: Jobs of its runs.
        pods: pods of its Jobs and of its servers.
        nodes: GPU nodes of the cluster.
        events: uid of an object -> when its Events were listed, and the Events.
        progress: uid of a pod -> how far its fetch was.
        children: objects of the kinds that plans apply.

    Raises:
        pydantic.ValidationError: a model or run does not follow the API.
    """
    pods, children = list(pods), children or {}
    servers = [body for body in pods if _is_server(body)]
    deployments = [body for body in children.get(Kind.DEPLOYMENT, ()) if model is not None and _owns(model, body)]
    return Observed(
        model=None if model is None else MTPModel.from_wire(dict(model)),
        runs=tuple(sorted((MTPTuningRun.from_wire(dict(body)) for body in runs), key=_age_then_name)),
        jobs=tuple(view_job(body) for body in jobs),
        pods=tuple(view_pod(body) for body in pods if not _is_server(body)),
        nodes={node.name: node for node in map(view_node, nodes)},
        server=view_server(deployments[0]) if deployments else None,
        server_pods=tuple(map(view_server_pod, servers)),
        children=tuple(_child(kind, body) for kind, bodies in children.items() for body in bodies),
        lookups={uid: Lookup(at, tuple(map(_event, seen))) for uid, (at, seen) in events.items()},
        progress=progress or {},
    )


def _age_then_name(run: MTPTuningRun) -> tuple[str, str]:
    return run.metadata.creation_timestamp, run.metadata.name


def view_job(body: Body) -> Job:
    """One Job. `FailureTarget` and `SuccessCriteriaMet` announce the end and count as it."""
    conditions = {
        condition["type"]: condition
        for condition in body.get("status", {}).get("conditions", ())
        if condition.get("status") == "True"
    }
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    complete = conditions.get("Complete") or conditions.get("SuccessCriteriaMet")
    end = failed or complete or {}
    return Job(
        uid=body["metadata"]["uid"],
        name=body["metadata"]["name"],
        run_uid=_controller_uid(body),
        created_at=parse_time(body["metadata"]["creationTimestamp"]),
        finished="Failed" if failed else "Complete" if complete else "",
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        deleting="deletionTimestamp" in body["metadata"],
        active_deadline_seconds=body["spec"].get("activeDeadlineSeconds"),
    )


def view_pod(body: Body) -> Pod:
    """One pod: of a trial, of a fetch or of a server."""
    status = body.get("status", {})
    containers = {
        one["name"]: one for one in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    }
    engine, bench = containers.get(ENGINE_CONTAINER), containers.get(BENCH_CONTAINER) or containers.get(PROBE_CONTAINER)
    return Pod(
        uid=body["metadata"]["uid"],
        name=body["metadata"]["name"],
        job_uid=_controller_uid(body),
        created_at=parse_time(body["metadata"]["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        node=body.get("spec", {}).get("nodeName"),
        started_at=_time(status.get("startTime")),
        deleting="deletionTimestamp" in body["metadata"],
        conditions={
            condition["type"]: (condition["status"], condition.get("reason", ""), condition.get("message", ""))
            for condition in status.get("conditions", ())
        },
        engine=_container(engine),
        bench=_container(bench),
        fetch=_container(containers.get(FETCH_CONTAINER)),
        address=status.get("podIP"),
        image_volumes={
            volume["name"]: volume["image"]["reference"]
            for volume in body.get("spec", {}).get("volumes", ())
            if "image" in volume
        },
    )


def view_server_pod(body: Body) -> ServerPod:
    """One server's pod."""
    labels = body["metadata"]["labels"]
    return ServerPod(view_pod(body), n_spec=int(labels[N_SPEC_LABEL]), settings_hash=labels[SETTINGS_LABEL])


def view_server(body: Body) -> Server:
    """The Deployment of the servers."""
    status = body.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    progressing, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    is_current = status.get("observedGeneration") == body["metadata"].get("generation")
    return Server(
        record=_record(body),
        generation=body["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        wanted_replicas=body["spec"]["replicas"],
        replicas=status.get("replicas", 0),
        refusal=failure.get("message", "") if failure.get("status") == "True" else "",
        # Until its controller has seen a new template, the condition speaks of the old one.
        timed_out=is_current and progressing.get("reason") == "ProgressDeadlineExceeded",
    )


def _record(body: Body) -> ServingRecord | None:
    try:
        return ServingRecord.model_validate_json(body["metadata"].get("annotations", {}).get(RECORD_ANNOTATION, ""))
    except ValueError:
        return None


def _is_server(body: Body) -> bool:
    return bool(body["metadata"].get("labels", {}).get(COMPONENT_LABEL) == SERVER)


def _owns(model: Body, body: Body) -> bool:
    return bool(model["metadata"]["uid"] == _controller_uid(body))


def _child(kind: Kind, body: Body) -> Child:
    metadata = body["metadata"]
    reference = Reference(kind, metadata["namespace"], metadata["name"], metadata["uid"])
    return Child(reference, owner_uid=_controller_uid(body), deleting="deletionTimestamp" in metadata)


def view_node(body: Body) -> Node:
    """One node: its name and labels."""
    return Node(name=body["metadata"]["name"], labels=body["metadata"].get("labels", {}))


def _container(status: Body | None) -> Container:
    if status is None:
        return Container()
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    return Container(
        image_id=status.get("imageID", ""),
        running="running" in state,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        terminated=_terminated(state),
        last_terminated=_terminated(status.get("lastState", {})),
        restart_count=status.get("restartCount", 0),
    )


def _terminated(state: Body) -> Terminated | None:
    end = state.get("terminated")
    if end is None:
        return None
    return Terminated(
        exit_code=end["exitCode"],
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        finished_at=_time(end.get("finishedAt")),
    )


def _controller_uid(body: Body) -> str:
    owners = body["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _event(body: Body) -> SeenEvent:
    return SeenEvent(reason=body.get("reason", ""), message=body.get("message") or body.get("note") or "")


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
