"""How n_spec is found: `spec.tuning` of an MTPModel."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mtp_operator.api.base import MAX_N_SPEC, Schema, rule, validated

from .objective import Budget, Objective
from .workload import Workload

QueueName = Annotated[
    str | None,
    Field(
        max_length=63,
        description="Kueue's LocalQueue for the trials' Jobs, in the model's namespace. They are created suspended, "
        "and the queue starts them; servers and fetches are not queued. No part of what is measured: a run that has "
        "measured something keeps the queue that it began with.",
        json_schema_extra=validated(
            rule(
                "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                "must be the name of a LocalQueue: lower-case letters, digits, '-' and '.', with a letter or digit at "
                "both ends",
            )
        ),
    ),
]


class TuningMode(StrEnum):
    """Who decides n_spec."""

    AUTO = "Auto"
    ADVISORY = "Advisory"
    DISABLED = "Disabled"


class Disruption(StrEnum):
    """Whether tuning may take the servers' GPUs."""

    NEVER = "Never"
    ALLOWED = "Allowed"


class TuningSpec(Schema):
    """How n_spec, the number of draft tokens per step, is found."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                # The API server holds the rule against the default {} before it fills in the levels.
                "!has(self.objective) || !has(self.objective.constraints) || !has(self.workload) || "
                "!has(self.workload.levels) || self.workload.levels.size() == 0 || "
                "self.objective.constraints.all(constraint, "
                "self.workload.levels.exists(level, level.concurrency == constraint.concurrency))",
                "must have no concurrency that is not among workload.levels: nothing is measured there",
                field_path=".objective.constraints",
            ),
            rule(
                "!has(self.firstNSpec) || self.firstNSpec <= (has(self.maxNSpec) ? self.maxNSpec : 8)",
                "must be at most maxNSpec (default 8): nothing above it is tried",
                field_path=".firstNSpec",
            ),
            rule(
                "!has(self.queueName) || !has(self.disruption) || self.disruption != 'Allowed'",
                "must be Never where queueName is set: no server would run for as long as a trial is queued",
                field_path=".disruption",
            ),
        )
    )

    mode: Annotated[
        TuningMode,
        Field(
            description="Auto measures, chooses and serves the choice. Advisory measures and reports the choice in "
            "status.nSpec, and serves speculation.nSpec, else 0: for a pull request to change. Disabled measures "
            "nothing and serves the same."
        ),
    ] = TuningMode.AUTO
    suspend: Annotated[
        bool, Field(description="true ends a running tuning and starts none; what was chosen before stays.")
    ] = False
    retune_request: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="Increase this number to measure again although nothing else changed."),
    ] = 0
    max_n_spec: Annotated[
        int, Field(alias="maxNSpec", ge=1, le=MAX_N_SPEC, description="The largest n_spec that is tried; 0 always is.")
    ] = 8
    first_n_spec: Annotated[
        int | None,
        Field(
            alias="firstNSpec",
            ge=1,
            le=MAX_N_SPEC,
            description="The n_spec to compare with 0 first, such as the one in use today. At most maxNSpec.",
        ),
    ] = None
    workload: Annotated[Workload, Field(description="The load that every n_spec is measured under.")] = Workload()
    objective: Annotated[Objective, Field(description="What makes one n_spec better than another.")] = Objective()
    budget: Annotated[Budget, Field(description="Upper limits of one tuning run.")] = Budget()
    disruption: Annotated[
        Disruption,
        Field(
            description="Matters where serving.rollout.strategy is InPlace and servers run: Never lets a tuning wait "
            "until they are gone, Allowed stops them while it measures."
        ),
    ] = Disruption.NEVER
    queue_name: QueueName = None
    history_limit: Annotated[
        int, Field(ge=1, le=20, description="Finished MTPTuningRuns that are kept as evidence.")
    ] = 3
