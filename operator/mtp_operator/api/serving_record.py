"""What a server is made from, what is remembered of it, and what the container beside its engine is told.

The record lies in an annotation of the Deployment: whoever reads the Deployment knows what it serves, and what to go
back to, although the spec may have moved on.
"""

from typing import Annotated, Self

from pydantic import Field

from .base import MAX_N_SPEC, Schema
from .hashing import canonical_hash
from .settings import EngineSettings
from .spec import EngineType
from .template import PodTemplate

_HASH_LENGTH = 10


class _ServedSettings(EngineSettings):
    """What a server's pod is made from, but for n."""

    template: PodTemplate = PodTemplate()


class Served(Schema):
    """What a server is made from."""

    settings: EngineSettings
    n_spec: Annotated[int, Field(ge=0, le=MAX_N_SPEC)]
    template: PodTemplate = PodTemplate()
    """The user's own: what an edit of it asks for is another server, which is proven and given up like any other."""

    @classmethod
    def of(cls, settings: EngineSettings, n_spec: int, template: PodTemplate) -> Self:
        """A server with these settings, of which a run's are more than an engine boots from, and this n."""
        boots_from = {name: getattr(settings, name) for name in EngineSettings.model_fields}
        return cls(settings=EngineSettings(**boots_from), n_spec=n_spec, template=template)

    @property
    def settings_hash(self) -> str:
        """Identifies what is served, but for n; fits a label."""
        made_from = _ServedSettings(**dict(self.settings), template=self.template)
        return canonical_hash(made_from).removeprefix("sha256:")[:_HASH_LENGTH]


class Surroundings(Schema):
    """What a server has beside its engine: renewed only when what is served changes, so that no upgrade restarts it."""

    probe_image: str
    ready_seconds: Annotated[int, Field(ge=1)]
    """Time that the engine may take until it is healthy."""
    host: str | None = None
    """What the engine listens at; None: every address of IPv4."""


class FailedServer(Schema):
    """A server that was given up."""

    served: Served
    reason: str
    message: str


class ServingRecord(Schema):
    """What a Deployment serves, and how it came to that."""

    served: Served
    surroundings: Surroundings
    proven: Served | None = None
    """What was last ready on all replicas."""
    failed: FailedServer | None = None
    """What was wanted and did not become ready, where `proven` came back in its place."""


class ProbePlan(Schema):
    """What the container beside a server's engine shall do: say when it is ready, and when it has finished."""

    engine: EngineType
    url: str
    served_name: str
    port: Annotated[int, Field(ge=1, le=65_535)]
    drain_path: str
    """Where kubelet asks for the end: nobody else who reaches the pod may guess it, for it ends readiness for good."""
