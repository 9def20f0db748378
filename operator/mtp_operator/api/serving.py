"""What a server is made from, what is remembered of it, and what the container beside its engine is told.

The record lies in an annotation of the Deployment: whoever reads the Deployment knows what it serves, and what to go
back to, although the spec may have moved on.
"""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import Field

from .base import MAX_N_SPEC, Schema
from .run import RunSettings
from .spec import Budget, EngineType, Workload

_HASH_LENGTH = 10


class Served(Schema):
    """What a server is made from."""

    settings: RunSettings
    """With a workload and a budget that say nothing: servers do not depend on them."""
    n_spec: Annotated[int, Field(ge=0, le=MAX_N_SPEC)]

    @classmethod
    def of(cls, settings: RunSettings, n_spec: int) -> Self:
        """A server with these settings and this n."""
        return cls(
            settings=RunSettings(
                model=settings.model,
                weights_claim=settings.weights_claim,
                engine=settings.engine,
                bench_image=settings.bench_image,
                accelerator=settings.accelerator,
                speculation=settings.speculation,
                max_n_spec=MAX_N_SPEC,
                workload=Workload(),
                budget=Budget(),
            ),
            n_spec=n_spec,
        )

    @property
    def settings_hash(self) -> str:
        """Tells apart what is served, but for n; fits a label."""
        stated: dict[str, Any] = self.settings.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
        )
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]


class FailedServer(Schema):
    """A server that was given up."""

    served: Served
    reason: str
    message: str


class ServingRecord(Schema):
    """What a Deployment serves, and how it came to that."""

    served: Served
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
