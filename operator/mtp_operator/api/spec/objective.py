"""What makes one n_spec better than another, and what finding it may cost."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mtp_operator.api.base import MAX_CONSTRAINTS, Schema
from mtp_operator.measures import quantities


class Maximize(StrEnum):
    """What the best n_spec has most of."""

    OUTPUT_THROUGHPUT = "OutputThroughput"
    INTERACTIVITY = "Interactivity"


class LatencyMetric(StrEnum):
    """A quantile over requests of a latency."""

    P50_TTFT = "P50TimeToFirstToken"
    P95_TTFT = "P95TimeToFirstToken"
    P99_TTFT = "P99TimeToFirstToken"
    P50_TPOT = "P50TimePerOutputToken"
    P95_TPOT = "P95TimePerOutputToken"
    P99_TPOT = "P99TimePerOutputToken"
    P50_REQUEST_LATENCY = "P50RequestLatency"
    P95_REQUEST_LATENCY = "P95RequestLatency"
    P99_REQUEST_LATENCY = "P99RequestLatency"


class LatencyConstraint(Schema, quantities.LatencyConstraint):
    """A limit on a latency at one level."""

    metric: Annotated[
        LatencyMetric,
        Field(
            description="A quantile over requests. TimeToFirstToken: from sending to the first token of any kind. "
            "TimePerOutputToken: the time after that, divided by the output tokens less one. RequestLatency: from "
            "sending to the end of the answer."
        ),
    ]
    concurrency: Annotated[
        int, Field(ge=1, description="The level that the limit is for: a concurrency of workload.levels.")
    ]
    max_milliseconds: Annotated[
        int, Field(ge=1, le=3_600_000, description="The largest value that is accepted, in milliseconds.")
    ]


class SlowerLevels(StrEnum):
    """Whether a level may pay for another one."""

    FORBID = "Forbid"
    ALLOW = "Allow"


class Objective(Schema):
    """What makes one n_spec better than another."""

    maximize: Annotated[
        Maximize,
        Field(
            description="OutputThroughput: output tokens per second of all requests together. Interactivity: output "
            "tokens per second that one request sees, 1 / TimePerOutputToken."
        ),
    ] = Maximize.OUTPUT_THROUGHPUT
    constraints: Annotated[
        tuple[LatencyConstraint, ...],
        Field(
            max_length=MAX_CONSTRAINTS,
            description="Limits that an n_spec must keep to be chosen, with 95% confidence. A P50 or P95 needs 60 "
            "measured requests at its level, a P99 299; what two trials cannot prove counts as not kept.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["metric", "concurrency"],
            },
        ),
    ] = ()
    slower_levels: Annotated[
        SlowerLevels,
        Field(
            description="Forbid chooses no n_spec that is expected to be slower than n_spec=0 at some level. Allow: "
            "the weighted mean over all levels decides."
        ),
    ] = SlowerLevels.FORBID


class Budget(Schema):
    """Upper limits of one tuning run."""

    max_trials: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Trials, each one start of the engine; a lost one (node gone, preempted) does not count.",
        ),
    ] = 24
    max_gpu_minutes: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            alias="maxGPUMinutes",
            description="GPU minutes of all trials together, which is minutes times GPUs. Default: no limit.",
        ),
    ] = None
