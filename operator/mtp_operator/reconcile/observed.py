"""What a decision reads: what is known of one model at one moment, and what the operator's installation says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from mtp_operator.api.fetch import FetchProgress
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.serving_record import ServingRecord
from mtp_operator.api.spec import EngineType
from mtp_operator.api.template import PodTemplateSpec
from mtp_operator.api.weights_source import CABundle
from mtp_operator.resources.network_policy import DEFAULT_CLIENTS


@dataclass(frozen=True)
class ModelKey:
    """What is decided about: one model name of one namespace, whether or not the model exists."""

    namespace: str
    name: str


@dataclass(frozen=True)
class OperatorSettings:
    """What the operator's installation says, as far as decisions depend on it."""

    engine_images: Mapping[EngineType, str]
    bench_image: str
    ready_seconds: int = 1800
    """Time that an engine may take from the pod's start until a completion works."""
    level_seconds: int = 300
    """Time for one concurrency level of one trial, warm-up included: five passes over four prompts of 512 output tokens
    take 260 s at 40 tokens per second."""
    pending_seconds: int = 3600
    """Time that a trial may wait for a node before the run says that a person has to look."""
    lookup_seconds: int = 15
    """Time without progress after which the Events of a trial are read."""
    node_gone_seconds: int = 300
    """Time that a trial may find its node gone before the run starts over elsewhere."""
    nodes_readable: bool = True
    """Whether the operator may read nodes; without it product and driver are Unknown."""
    progress_seconds: int = 30
    """Time between two questions how far a fetch is, and so between two writes of a status about it."""
    fetch_environment: Mapping[str, str] = field(default_factory=dict)
    """Environment of a fetch: which hub, through which proxy."""
    ca_bundle: CABundle | None = None
    """Whom fetches trust beside the public authorities, where a model does not say."""
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)
    """Defaults of `spec.template` of all models."""
    network_policies: bool = True
    """Whether servers and trials get a NetworkPolicy."""
    server_host: str | None = None
    """What servers' engines listen at; None: every address of IPv4."""
    server_clients: Sequence[Mapping[str, Any]] = DEFAULT_CLIENTS
    """Who may ask servers, as NetworkPolicyPeers; none: everybody."""


class Kind(StrEnum):
    """Kinds that plans write to."""

    MODEL = "MTPModel"
    RUN = "MTPTuningRun"
    JOB = "Job"
    POD = "Pod"
    CLAIM_TEMPLATE = "ResourceClaimTemplate"
    CLAIM = "PersistentVolumeClaim"
    DEPLOYMENT = "Deployment"
    SERVICE = "Service"
    DISRUPTION_BUDGET = "PodDisruptionBudget"
    NETWORK_POLICY = "NetworkPolicy"


APPLIED_KINDS: Final = (Kind.DEPLOYMENT, Kind.SERVICE, Kind.DISRUPTION_BUDGET, Kind.NETWORK_POLICY)
"""Kinds that are applied, and kept as they were applied."""


@dataclass(frozen=True)
class Reference:
    """One object, of which a uid makes sure that it is not a namesake."""

    kind: Kind
    namespace: str
    name: str
    uid: str


class Lane(StrEnum):
    """Concerns of a model that never wait for each other, in the order in which they are carried out."""

    WEIGHTS = "weights"
    TUNING = "tuning"
    SERVING = "serving"
    REPORT = "report"
    """The model's status: always the last."""


_STRICT: Final = ConfigDict(strict=True)
"""Of records that are made of what others wrote: with a wrong type or out of bounds they cannot be made at all."""

Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
"""Far enough from the ends of the calendar that anything may be added to it."""

Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


@checked(config=_STRICT, frozen=True)
class Terminated:
    """How a container ended."""

    exit_code: Int64
    reason: str
    message: str
    finished_at: Moment | None = None


@checked(config=_STRICT, frozen=True)
class Container:
    """One container of a trial's pod."""

    image_id: str = ""
    running: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    terminated: Terminated | None = None
    last_terminated: Terminated | None = None
    restart_count: Int64 = 0


@checked(config=_STRICT, frozen=True)
class Pod:
    """A trial's pod, or a server's."""

    uid: str
    name: str
    job_uid: str
    """Uid of what owns it: a Job, or a server's ReplicaSet."""
    created_at: Moment
    phase: str
    reason: str = ""
    message: str = ""
    node: str | None = None
    started_at: Moment | None = None
    deleting: bool = False
    gone_by: Moment | None = None
    """When a pod that is being deleted has to have ended, by its grace period."""
    conditions: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """type -> (status, reason, message)"""
    engine: Container = Container()
    bench: Container = Container()
    """The container beside the engine: a trial's bench, a server's probe."""
    fetch: Container = Container()
    cache: Container = Container()
    """The one that makes or copies a compile cache, before the engine starts."""
    address: str | None = None
    """Its IP address, once it has one."""
    image_volumes: Mapping[str, str] = field(default_factory=dict)
    """volume -> the image that it shows"""

    @property
    def is_finished(self) -> bool:
        """Whether all containers have ended for good: nothing of it holds a GPU any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def finished_at(self) -> datetime | None:
        """When its last container ended, as far as they have."""
        ends = (one.terminated.finished_at for one in (self.engine, self.bench) if one.terminated)
        return max((end for end in ends if end is not None), default=None)


@checked(config=_STRICT, frozen=True)
class Job:
    """A trial's Job."""

    uid: str
    name: str
    run_uid: str
    created_at: Moment
    finished: str = ""
    """"Complete" or "Failed" (also while it is only `FailureTarget`), else empty."""
    reason: str = ""
    message: str = ""
    finished_at: Moment | None = None
    deleting: bool = False
    suspended: bool = False
    active_deadline_seconds: Int64 | None = None


@checked(config=_STRICT, frozen=True)
class ServerPod:
    """A server's pod, and what it was made to serve."""

    pod: Pod
    n_spec: Int64 | None
    """None where somebody has removed the label, or put something else there: it may still be ready and serve."""
    settings_hash: str

    @property
    def is_ready(self) -> bool:
        """Whether requests go to it."""
        return not self.pod.deleting and self.pod.conditions.get("Ready", ("",))[0] == "True"


@checked(config=_STRICT, frozen=True)
class Server:
    """The Deployment of a model's servers."""

    record: ServingRecord | None
    """What it serves; None where somebody has spoilt the annotation."""
    generation: Int64
    observed_generation: Int64
    wanted_replicas: Int64
    replicas: Int64
    """Pods that exist, those of an older template included."""
    refusal: str = ""
    """Why its pods are refused; empty where they are not."""
    timed_out: bool = False
    """Whether a new server has not become ready within its time."""


@checked(config=_STRICT, frozen=True)
class Child:
    """An object that a plan applies, as far as it has to be known to be deleted."""

    reference: Reference
    owner_uid: str
    deleting: bool


@checked(config=_STRICT, frozen=True)
class Node:
    """A GPU node: its name and labels, nothing more."""

    name: str
    labels: Mapping[str, str]


@checked(config=_STRICT, frozen=True)
class SeenEvent:
    """A Kubernetes Event about an object, newest last in a list."""

    reason: str
    message: str


@dataclass(frozen=True)
class EventSnapshot:
    """The Events of one object as they were listed once."""

    at: datetime
    events: tuple[SeenEvent, ...]


@dataclass(frozen=True)
class SeenProgress:
    """How far a fetch was when its pod was last asked; None where it did not answer."""

    at: datetime
    progress: FetchProgress | None


class FailureReason(StrEnum):
    """Why a write failed, as the reason of a condition."""

    WRITE_REFUSED = "WriteRefused"
    API_SERVER_FAILING = "APIServerFailing"
    """No answer, or one that blames the API server itself, and so for a while."""
    NAME_IN_USE = "NameInUse"
    """An object of that name is being deleted, and has been so for a while."""


@dataclass(frozen=True)
class Failure:
    """Why a lane's last write failed."""

    reason: FailureReason
    message: str


@dataclass(frozen=True)
class Unreadable:
    """An object that this version cannot read: nothing is decided from it, and it is never touched."""

    reference: Reference
    why: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As the API server sent it."""

    def __str__(self) -> str:
        return f"{self.reference.kind} {self.reference.name} ({self.why})"


@dataclass(frozen=True)
class Observed:
    """Everything that is known about one key at one moment."""

    model: MTPModel | None
    runs: tuple[MTPTuningRun, ...] = ()
    relatives: tuple[Mapping[str, Any], ...] = ()
    """Runs of other models of the namespace with finished trials, as the API server sent them: only a run that begins
    reads some."""
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    """Pods of trials."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    server: Server | None = None
    server_pods: tuple[ServerPod, ...] = ()
    children: tuple[Child, ...] = ()
    """Objects that plans apply, of this model's name."""
    event_snapshots: Mapping[str, EventSnapshot] = field(default_factory=dict)
    """uid of a Job or pod -> its Events, where a plan asked for them (`EventsRead`)."""
    progress: Mapping[str, SeenProgress] = field(default_factory=dict)
    """uid of a pod -> how far it was, where a plan asked for that (`ProgressRead`)."""
    unreadable: tuple[Unreadable, ...] = ()
    """What is of this model's name and had to be set aside; perhaps the model itself, and then there is no other."""
    failures: Mapping[Lane, Failure] = field(default_factory=dict)
    """Lanes whose last write failed, and why."""
