"""From the API server's bodies to the records that decisions read. Nothing is judged here.

Each object is read by itself: one that cannot be read is set aside with the reason, and all others are as they were.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from mtp_operator.api.base import first_problem
from mtp_operator.api.conditions import parse_time, shorten
from mtp_operator.api.model import MTPModel, ObjectMeta
from mtp_operator.api.run import MTPTuningRun, TrialState
from mtp_operator.api.serving_record import ServingRecord
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import N_SPEC_LABEL, SETTINGS_LABEL
from mtp_operator.resources.private_cache import CACHE_CONTAINER
from mtp_operator.resources.server_deployment import PROBE_CONTAINER, RECORD_ANNOTATION
from mtp_operator.resources.trial_job import BENCH_CONTAINER

from .observed import (
    Child,
    Container,
    EventSnapshot,
    Job,
    Kind,
    Moment,
    Node,
    Observed,
    Pod,
    Reference,
    SeenEvent,
    SeenProgress,
    Server,
    ServerPod,
    Terminated,
    Unreadable,
)

Body = Mapping[str, Any]

T = TypeVar("T")

_CONTROLLERS: Final = {Kind.JOB: ("MTPTuningRun", "MTPModel"), Kind.POD: ("Job", "ReplicaSet")}
"""Kinds that make Jobs and pods that decisions are about."""

_DIGITS: Final = 4
"""Of the n that a label may name; more are nobody's n."""


def observe(
    model: Body | None,
    runs: Iterable[Body],
    jobs: Iterable[Body],
    pods: Iterable[Body],
    nodes: Iterable[Body],
    events: Mapping[str, tuple[datetime, Sequence[Body]]],
    progress: Mapping[str, SeenProgress] | None = None,
    children: Mapping[Kind, Sequence[Body]] | None = None,
    relatives: Iterable[Body] = (),
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
        relatives: MTPTuningRuns of other models of the namespace.
    """
    reader = _Reader()
    pods = [pod for pod in pods if is_controlled(Kind.POD, pod)]
    owned = [(kind, body) for kind, bodies in (children or {}).items() for body in bodies]
    deployments = [body for kind, body in owned if kind is Kind.DEPLOYMENT and model is not None and _owns(model, body)]
    read_model = reader.read(Kind.MODEL, [model] if model is not None else [], view_model)
    server = reader.read(Kind.DEPLOYMENT, deployments[:1], view_server)
    return Observed(
        model=read_model[0] if read_model else None,
        runs=tuple(sorted(reader.read(Kind.RUN, runs, view_run), key=_age_then_name)),
        relatives=tuple(relatives),
        jobs=tuple(reader.read(Kind.JOB, jobs, view_job)),
        pods=tuple(reader.read(Kind.POD, (one for one in pods if not _is_server(one)), view_pod)),
        # A node is nobody's own: one that cannot be read is one that is not there.
        nodes={node.name: node for node in _Reader().read(Kind.POD, nodes, view_node)},
        server=server[0] if server else None,
        server_pods=tuple(reader.read(Kind.POD, filter(_is_server, pods), view_server_pod)),
        children=tuple(child for kind, body in owned for child in reader.read(kind, [body], partial(_child, kind))),
        event_snapshots={uid: EventSnapshot(at, tuple(map(_event, listed))) for uid, (at, listed) in events.items()},
        progress=progress or {},
        unreadable=tuple(reader.ignored),
    )


class _Reader:
    """Reads bodies one by one, and remembers which it could not read."""

    def __init__(self) -> None:
        self.ignored: list[Unreadable] = []

    def read(self, kind: Kind, bodies: Iterable[Body], view: Callable[[Body], T]) -> list[T]:
        found = []
        for body in bodies:
            try:
                found.append(view(body))
            except Exception as error:  # whatever somebody has put into an object
                self.ignored.append(Unreadable(_reference(kind, body), explain(error), body))
        return found


def explain(error: Exception) -> str:
    """Why an object cannot be read, in a few words."""
    match error:
        case ValidationError():
            return shorten(first_problem(error), 200)
        case KeyError():
            return shorten(f"{error} is missing", 200)
        case _:
            return shorten(f"{type(error).__name__}: {error}", 200)


def _reference(kind: Kind, body: Body) -> Reference:
    metadata = body["metadata"]
    namespace, name, uid = (str(metadata.get(field, "")) for field in ("namespace", "name", "uid"))
    return Reference(kind, namespace, name, uid)


def view_model(body: Body) -> MTPModel:
    """The model."""
    model = MTPModel.from_wire(dict(body))
    _check_times(model.metadata)
    return model


def view_run(body: Body) -> MTPTuningRun:
    """One run."""
    run = MTPTuningRun.from_wire(dict(body))
    _check_times(run.metadata)
    retries = (trial.retry_after for trial in run.status.trials)
    for time in (run.status.started_at, run.status.completed_at, *retries):
        _time(time)
    return run


def _check_times(metadata: ObjectMeta) -> None:
    _time(metadata.creation_timestamp)
    _time(metadata.deletion_timestamp)


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
        suspended=body["spec"].get("suspend") is True,
        active_deadline_seconds=body["spec"].get("activeDeadlineSeconds"),
    )


def has_ended(body: Body) -> bool:
    """Whether a Job has ended, as far as it can be read."""
    try:
        return bool(view_job(body).finished)
    except Exception:  # whatever somebody has put into an object
        return False


def has_finished_trials(body: Body) -> bool:
    """Whether a run may be evidence for another one: hundreds of models that begin at once have nothing to tell."""
    try:
        return any(trial["state"] in (TrialState.MEASURED, TrialState.FAILED) for trial in body["status"]["trials"])
    except (AttributeError, KeyError, TypeError):
        return False


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
        gone_by=_time(body["metadata"].get("deletionTimestamp")),
        conditions={
            condition["type"]: (condition["status"], condition.get("reason", ""), condition.get("message", ""))
            for condition in status.get("conditions", ())
        },
        engine=_container(engine),
        bench=_container(bench),
        fetch=_container(containers.get(FETCH_CONTAINER)),
        cache=_container(containers.get(CACHE_CONTAINER)),
        address=status.get("podIP"),
        image_volumes={
            volume["name"]: volume["image"]["reference"]
            for volume in body.get("spec", {}).get("volumes", ())
            if "image" in volume
        },
    )


def view_server_pod(body: Body) -> ServerPod:
    """One server's pod. Its labels say what it serves, as long as nobody has edited them."""
    labels = body["metadata"].get("labels") or {}
    n_spec = str(labels.get(N_SPEC_LABEL))
    is_number = n_spec.isascii() and n_spec.isdigit() and len(n_spec) <= _DIGITS
    return ServerPod(view_pod(body), int(n_spec) if is_number else None, str(labels.get(SETTINGS_LABEL, "")))


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


def is_controlled(kind: Kind, body: Body) -> bool:
    """Whether a controller has made the Job or pod. Labels are anybody's: `kubectl debug` copies them, as templates do.

    One that only says so is collected by Kubernetes, unless what it names as its controller is there.
    """
    try:
        owners = body["metadata"]["ownerReferences"]
        return any(one.get("controller") and one["kind"] in _CONTROLLERS[kind] for one in owners)
    except (AttributeError, KeyError, TypeError):
        return False


def _is_server(pod: Body) -> bool:
    """Whether a ReplicaSet has made the pod: people edit the labels of a bad server to keep it for debugging."""
    owners = pod["metadata"]["ownerReferences"]
    return any(one.get("controller") and one["kind"] == "ReplicaSet" for one in owners)


def _owns(model: Body, body: Body) -> bool:
    try:
        return bool(model["metadata"]["uid"] == _controller_uid(body))
    except (AttributeError, KeyError, TypeError):
        return False


def _child(kind: Kind, body: Body) -> Child:
    metadata = body["metadata"]
    reference = Reference(kind, metadata["namespace"], metadata["name"], metadata["uid"])
    return Child(reference, owner_uid=_controller_uid(body), deleting="deletionTimestamp" in metadata)


def view_node(body: Body) -> Node:
    """One node: its name and labels."""
    return Node(name=body["metadata"]["name"], labels=body["metadata"].get("labels") or {})


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
    return SeenEvent(reason=str(body.get("reason") or ""), message=str(body.get("message") or body.get("note") or ""))


_MOMENT: Final = TypeAdapter[datetime](Moment)


def _time(text: str | None) -> datetime | None:
    """The moment that a timestamp names.

    Raises:
        ValueError: it names none, or none that may be reckoned with.
    """
    return None if text is None else _MOMENT.validate_python(parse_time(text))
