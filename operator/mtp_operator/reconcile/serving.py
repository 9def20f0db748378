"""The policy of serving: what is served, when the GPUs are the servers', what comes back, and how that is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from mtp_operator.api.conditions import shorten
from mtp_operator.api.model import MTPModel, RolloutStrategy, WhileTuning
from mtp_operator.api.serving_record import FailedServer, Served, ServingRecord, Surroundings
from mtp_operator.api.spec import Disruption
from mtp_operator.resources.disruption_budget import FEWEST_REPLICAS, disruption_budget
from mtp_operator.resources.labels import server_selector
from mtp_operator.resources.network_policy import network_policy
from mtp_operator.resources.server_deployment import deployment
from mtp_operator.resources.service import service, url

from . import gpus, judgment, obstacles, unreadable
from .intent import DesiredState, fixed_n_spec
from .observed import Container, Kind, Lane, Observed, OperatorSettings, Reference, Server, ServerPod
from .obstacles import Obstacle
from .patience import limits, next_limit_seconds
from .plan import Apply, Delete, Ensure, EventsRead, Plan
from .server_placement import placed

CRASHES_OF_A_BROKEN_SERVER: Final = 2
"""An engine that ended so often before it was ever ready will not become so."""


class Tuning(Enum):
    """Whether trials want the GPU."""

    OVER = auto()
    """Nothing is to be measured."""
    BEGINNING = auto()
    """It is not known yet whether there is anything to measure."""
    MEASURING = auto()
    """A trial is under way, or about to be."""


@dataclass(frozen=True)
class ServingState:
    """How serving stands, for the model's status."""

    satisfied: bool
    """Whether as many servers of what the spec asks for are ready as it asks for."""
    serves: bool
    """Whether requests are answered, by whatever server."""
    reason: str
    message: str
    trouble: bool = False
    stalled: bool = False
    n_spec: int | None = None
    replicas: int = 0
    url: str | None = None
    selector: str = ""


def serve(
    model: MTPModel,
    desired: DesiredState,
    n_spec: int | None,
    product: str | None,
    *,
    tuning: Tuning,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> tuple[Plan, ServingState]:
    """What the servers of a model need now, and how serving stands.

    Args:
        model: the model.
        desired: what it asks for.
        n_spec: what was chosen for these settings; None before there is a choice.
        product: the GPU product that it was measured on; None where it follows from no measurement.
        tuning: whether trials want the GPU.
        observed: everything of this model's name.
        settings: the operator's.
        now: the time.
    """
    server = observed.server
    record = None
    if model.spec.serving.replicas > 0:
        record = _record(model, desired, n_spec, product, observed, settings, now)
        if record is None and server is not None:
            # Somebody has spoilt what says what is served, and there is no choice yet to serve instead.
            return Plan(), _state(model, desired, None, observed, settings, now)
    wanted = _objects(model, record, tuning, observed, settings)
    pod = _newest_unready(record, observed)
    lookup, wake = _next_look(model, record, pod, observed, settings, now)
    plan = Plan.of(
        Lane.SERVING,
        *_ensures(model, record, observed),
        *wanted,
        *_unwanted(model, wanted, observed),
        lookup,
        wake_after_seconds=wake,
    )
    return plan, _state(model, desired, record, observed, settings, now)


def trials_blocked_by(model: MTPModel, observed: Observed) -> Obstacle | None:
    """Why no trial may start although nothing is wrong with it: servers have the GPU that it would need."""
    if not _in_place(model) or _is_gone(observed):
        return None
    if model.spec.tuning.disruption is Disruption.ALLOWED or model.spec.serving.replicas == 0:
        return Obstacle("WaitingForServers", "the trial starts when the servers have ended", needs_a_person=False)
    return Obstacle(
        "WaitingForDisruption",
        "the servers have the GPUs (spec.serving.rollout.strategy is InPlace), so that tuning waits: set "
        "spec.tuning.disruption to Allowed to stop them while trials run",
        needs_a_person=True,
    )


def _in_place(model: MTPModel) -> bool:
    return model.spec.serving.rollout.strategy is RolloutStrategy.IN_PLACE


def _is_gone(observed: Observed) -> bool:
    """Whether no server has a GPU, nor will one that its controller is about to make."""
    server = observed.server
    ended = server is None or (
        server.observed_generation == server.generation and server.wanted_replicas == server.replicas == 0
    )
    return ended and all(one.pod.is_finished for one in observed.server_pods)


def _trials_have_gpu(model: MTPModel, observed: Observed) -> bool:
    # A fetch is a Job of the model itself, and has no GPU.
    fetches = {job.uid for job in observed.jobs if job.run_uid == model.metadata.uid}
    return any(not pod.is_finished for pod in observed.pods if pod.job_uid not in fetches) or any(
        not (job.finished or job.deleting) for job in observed.jobs if job.uid not in fetches
    )


# -- what is served ----------------------------------------------------------------------------------------------------


def _record(
    model: MTPModel,
    desired: DesiredState,
    n_spec: int | None,
    product: str | None,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> ServingRecord | None:
    """What the Deployment shall serve, and what is remembered beside it."""
    record = observed.server.record if observed.server is not None else None
    servable, pod = desired.servable, model.spec.template.pod
    if servable is not None and n_spec is not None:
        wanted, anywhere = (Served.of(one, n_spec, pod) for one in (placed(servable, product, record), servable))
        if record is not None and record.served == anywhere:
            # Started before anything was measured, or by a version that placed no server: not restarted for its place.
            wanted = anywhere
    elif record is not None:
        # What is served goes on until there is something better.
        wanted = record.failed.served if record.failed is not None else record.served
    elif servable is not None and model.spec.serving.while_tuning is WhileTuning.BASELINE:
        wanted = Served.of(servable, 0, pod)
    else:
        return None
    ready_seconds = wanted.template.ready_seconds or settings.ready_seconds
    surroundings = Surroundings(
        probe_image=settings.bench_image, ready_seconds=ready_seconds, host=settings.server_host
    )
    return _turned_to(wanted, surroundings, record, model, observed, now)


def _turned_to(
    wanted: Served,
    surroundings: Surroundings,
    record: ServingRecord | None,
    model: MTPModel,
    observed: Observed,
    now: datetime,
) -> ServingRecord:
    if record is None:
        return ServingRecord(served=wanted, surroundings=surroundings)
    if record.failed is not None and record.failed.served == wanted:
        return record
    if len(_ready(record.served, observed.server_pods)) >= model.spec.serving.replicas:
        record = record.model_copy(update={"proven": record.served})
    if wanted != record.served:
        return ServingRecord(served=wanted, surroundings=surroundings, proven=record.proven)
    if _in_place(model) and record.proven not in (None, wanted):
        failure = _failure(record, observed, now)
        if failure is not None:
            given_up = FailedServer(served=wanted, reason=failure.reason, message=shorten(failure.message, 700))
            return ServingRecord(served=record.proven, surroundings=surroundings, proven=record.proven, failed=given_up)
    return record.model_copy(update={"failed": None})


def _failure(record: ServingRecord, observed: Observed, now: datetime) -> Obstacle | None:
    """Why a new server will not become ready, once that is certain; a GPU that is taken is no failure of its own."""
    one = _newest_unready(record, observed)
    if one is None or one.pod.node is None:
        return None
    if one.pod.engine.restart_count >= CRASHES_OF_A_BROKEN_SERVER:
        return _crash(record, one)
    return _late(record, observed.server, one, now)


def _crash(record: ServingRecord, one: ServerPod) -> Obstacle | None:
    """How the engine of a server ended, if it did; one that has once been ready may well become so again."""
    ended = one.pod.engine.last_terminated or one.pod.engine.terminated
    if ended is None:
        return None
    failure = judgment.engine_failure(ended)
    is_broken = one.pod.engine.restart_count >= CRASHES_OF_A_BROKEN_SERVER and record.proven != record.served
    return Obstacle(failure.reason, failure.message, needs_a_person=is_broken)


def _late(record: ServingRecord, server: Server | None, one: ServerPod, now: datetime) -> Obstacle | None:
    """Why a rollout has taken too long, if it has, as far as that is known.

    The Deployment's own clock runs while a pod waits for a GPU, which is not a fault of what it serves.
    """
    if server is None or not server.timed_out or one.pod.started_at is None:
        return None
    if now - one.pod.started_at < timedelta(seconds=record.surroundings.ready_seconds):
        return None
    late = Obstacle(
        "ProgressDeadlineExceeded", "no completion worked within spec.template.readySeconds", needs_a_person=True
    )
    return obstacles.container_obstacle(one.pod) or late


# -- objects -----------------------------------------------------------------------------------------------------------


def _objects(
    model: MTPModel, record: ServingRecord | None, tuning: Tuning, observed: Observed, settings: OperatorSettings
) -> tuple[Apply, ...]:
    if record is None:
        return ()
    replicas = model.spec.serving.replicas
    if _must_pause(model, tuning, observed):
        replicas = 0
    applies = []
    if settings.network_policies:
        applies.append(Apply(Kind.NETWORK_POLICY, network_policy(model, settings.server_clients)))
    applies.append(Apply(Kind.SERVICE, service(model)))
    if model.spec.serving.replicas >= FEWEST_REPLICAS:
        applies.append(Apply(Kind.DISRUPTION_BUDGET, disruption_budget(model)))
    server = deployment(model, record, replicas)
    return (*applies, Apply(Kind.DEPLOYMENT, server))


def _ensures(model: MTPModel, record: ServingRecord | None, observed: Observed) -> tuple[Ensure, ...]:
    """What the pods of a new Deployment refer to, and nothing watches."""
    if record is None:
        return ()
    accelerator = record.served.settings.accelerator
    before = observed.server.record if observed.server is not None else None
    if before is not None and before.served.settings.accelerator == accelerator:
        return ()
    subject = Reference(Kind.MODEL, model.metadata.namespace, model.metadata.name, model.metadata.uid)
    return gpus.gpu_claims(subject, accelerator)


def _must_pause(model: MTPModel, tuning: Tuning, observed: Observed) -> bool:
    """Whether the GPU is the trials'; a trial is held on where this does not say so, so that they never meet."""
    if not _in_place(model):
        return False
    if _trials_have_gpu(model, observed):
        return True
    if _is_gone(observed):
        # A server that came back now would have to go again as soon as a trial is planned.
        return tuning is not Tuning.OVER
    return tuning is Tuning.MEASURING and model.spec.tuning.disruption is Disruption.ALLOWED


def _unwanted(model: MTPModel, wanted: Sequence[Apply], observed: Observed) -> tuple[Delete, ...]:
    kinds = {apply.kind for apply in wanted}
    return tuple(
        Delete(child.reference)
        for child in observed.children
        # What serves has the model's own name; the trials' policy has not.
        if child.reference.name == model.metadata.name
        and child.owner_uid == model.metadata.uid
        and not child.deleting
        and child.reference.kind not in kinds
    )


# -- how it stands -----------------------------------------------------------------------------------------------------


def _state(
    model: MTPModel,
    desired: DesiredState,
    record: ServingRecord | None,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> ServingState:
    ready = [one for one in observed.server_pods if one.is_ready]
    fitting = [one for one in ready if _fits(model, desired, record, one)]
    selector = ",".join(f"{name}={value}" for name, value in server_selector(model.metadata.name).items())
    state = replace(
        _reason_and_message(model, record, ready, observed, settings, now),
        satisfied=len(fitting) >= model.spec.serving.replicas,
        serves=bool(ready),
        n_spec=_served_n_spec(record, ready),
        replicas=observed.server.replicas if observed.server is not None else 0,
        url=url(model) if record is not None else None,
        selector=selector,
    )
    return replace(state, stalled=state.stalled and not state.satisfied)


def _fits(model: MTPModel, desired: DesiredState, record: ServingRecord | None, one: ServerPod) -> bool:
    """Whether a server is what the spec asks for: any n will do where a measurement decides it."""
    if desired.servable is None:
        return False
    fixed = fixed_n_spec(desired.intent)
    # The baseline is served wherever a GPU is, what follows it where that was measured: either is what is asked for.
    settings = (desired.servable, placed(desired.servable, None, record))
    wanted = {Served.of(each, fixed or 0, model.spec.template.pod).settings_hash for each in settings}
    return one.settings_hash in wanted and fixed in (None, one.n_spec)


def _served_n_spec(record: ServingRecord | None, ready: Sequence[ServerPod]) -> int | None:
    """The n of the servers that are ready; of two, the older one."""
    served = {one.n_spec for one in ready if one.n_spec is not None}
    if record is not None and len(served) > 1:
        served.discard(record.served.n_spec)
    return min(served, default=None)


def _reason_and_message(
    model: MTPModel,
    record: ServingRecord | None,
    ready: Sequence[ServerPod],
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> ServingState:
    """Reason and message, the most telling ones first."""
    replicas = model.spec.serving.replicas

    def say(reason: str, message: str, *, trouble: bool = False, stalled: bool = False) -> ServingState:
        return ServingState(False, False, reason, message, trouble, stalled)

    failure = unreadable.serving(observed) or obstacles.failure(observed, Lane.SERVING)
    if failure is not None:
        return say(failure.reason, failure.message, trouble=True, stalled=failure.needs_a_person)
    if replicas == 0:
        return say("ScaledToZero", "spec.serving.replicas is 0")
    if record is None:
        return say("WaitingForTuning", "Not serving yet: waiting for tuning (spec.serving.whileTuning: Wait)")
    n_spec = record.served.n_spec
    # A pod that does not say what it serves is kept for debugging: it is neither counted nor waited for.
    others = [one for one in ready if one.n_spec is not None and not _is(record.served, one)]
    current = [one for one in ready if _is(record.served, one)]
    counted = f"n_spec={n_spec}: {len(current)} of {replicas} replicas ready"
    if record.failed is not None:
        failed = record.failed
        return say(
            "RolledBack",
            f"Rolled back to {counted}. n_spec={failed.served.n_spec} did not become ready ({failed.reason}: "
            f"{failed.message}). Fix the cause, then change the spec to retry",
            trouble=True,
            stalled=True,
        )
    if observed.server is not None and observed.server.wanted_replicas == 0:
        return say("Paused", "the trials have the GPUs (spec.serving.rollout.strategy is InPlace)")
    if len(current) >= replicas and not others:
        return say("Available", counted)
    remaining = f"; n_spec={others[0].n_spec} continues to serve" if others else ""
    obstacle = _obstacle(record, observed, settings, now)
    if obstacle is not None:
        message = f"the server with n_spec={n_spec} does not become ready: {obstacle.message}{remaining}"
        return say(obstacle.reason, message, trouble=True, stalled=obstacle.needs_a_person)
    if others or current:
        return say("RollingOut", counted + remaining)
    ending = [one for one in observed.server_pods if one.pod.deleting and not one.pod.is_finished]
    if ending and _in_place(model):
        return say("Replacing", f"{counted}; it starts when pod {ending[0].pod.name} has ended")
    return say("Starting", counted)


def _obstacle(record: ServingRecord, observed: Observed, settings: OperatorSettings, now: datetime) -> Obstacle | None:
    """What keeps a server from becoming ready, if it does not."""
    server = observed.server
    if server is not None and server.refusal:
        words = f"its pod is refused: {server.refusal}"
        return Obstacle("ServerRefused", words, obstacles.needs_a_person(server.refusal))
    one = _newest_unready(record, observed)
    if one is None:
        return _rejected_at_admission(record, observed)
    return (
        _crash(record, one)
        or obstacles.pod_obstacle(one.pod, observed, record.served.settings, settings, now)
        or _late(record, server, one, now)
    )


def _rejected_at_admission(record: ServingRecord, observed: Observed) -> Obstacle | None:
    """What kubelet has against the newest pod, if it refused it: its ReplicaSet makes another one, again and again."""
    pods = [one.pod for one in observed.server_pods if _is(record.served, one)]
    newest = max(pods, key=lambda pod: pod.created_at, default=None)
    if newest is None or newest.phase != "Failed" or newest.engine != Container():
        return None
    words = f"its node rejects pod {newest.name} at admission ({newest.reason}: {newest.message})"
    return Obstacle("ServerRefused", words, needs_a_person=False)


def _next_look(
    model: MTPModel,
    record: ServingRecord | None,
    one: ServerPod | None,
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> tuple[EventsRead | None, float | None]:
    """Whose Events shall be listed, and when time alone changes what is said."""
    if one is None:
        return None, None
    if obstacles.is_starting(one.pod):
        return obstacles.pod_events_read_due(model.metadata.namespace, one.pod, observed.event_snapshots, settings, now)
    waits = (*limits(settings), timedelta(seconds=record.surroundings.ready_seconds)) if record is not None else ()
    return None, next_limit_seconds(one.pod, waits, now)


def _newest_unready(record: ServingRecord | None, observed: Observed) -> ServerPod | None:
    waiting = [
        one
        for one in observed.server_pods
        if record is not None
        and _is(record.served, one)
        and not (one.is_ready or one.pod.deleting or one.pod.is_finished)
    ]
    return max(waiting, key=lambda one: one.pod.created_at, default=None)


def _ready(served: Served, pods: Sequence[ServerPod]) -> list[ServerPod]:
    return [one for one in pods if one.is_ready and _is(served, one)]


def _is(served: Served, one: ServerPod) -> bool:
    return (one.n_spec, one.settings_hash) == (served.n_spec, served.settings_hash)
