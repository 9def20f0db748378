"""MTPTuningRun: one execution of a tuning, with its evidence."""

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from mtp_operator.measures.quantities import Count, LatencyCount

from .base import (
    MAX_CATEGORIES,
    MAX_CONSTRAINTS,
    MAX_LEVELS,
    MAX_N_SPEC,
    MAX_WARNINGS,
    MAX_WINDOWS,
    DecimalString,
    Positions,
    Schema,
    Timestamp,
    rule,
    validated,
)
from .candidate import CandidateId
from .conditions import Condition
from .hashing import canonical_hash
from .model import NAME_LIMIT, ObjectMeta
from .settings import Measurement
from .spec import Budget, Objective, QueueName
from .template import PodTemplate
from .trial_documents import OutputStatus, StructuredOutput
from .verdicts import VerdictStatus

MAX_TRIALS: Final = 128
"""Trials that one run keeps, those included that were invalidated or taken over."""

MAX_LOSSES: Final = 8
"""Attempts of one trial that may be lost: with the last one it fails."""

MAX_ATTEMPTS: Final = MAX_LOSSES + 2
"""Jobs of one trial at most: a lost attempt is repeated, and one that drifted or was too slow once."""

MAX_ADOPTED: Final = 64
"""Trials of other runs that a run takes over at the most: its own, as many as a budget allows, fit beside them."""


class RunSettings(Measurement):
    """Everything that the result depends on and that is known before a pod exists."""

    max_n_spec: Annotated[int, Field(alias="maxNSpec", ge=1, le=MAX_N_SPEC, description="The largest n_spec tried.")]
    first_n_spec: Annotated[
        int | None,
        Field(alias="firstNSpec", ge=1, le=MAX_N_SPEC, description="The n_spec that is compared with 0 first."),
    ] = None
    objective: Annotated[Objective, Field(description="What makes one n_spec better than another.")] = Objective()
    budget: Annotated[Budget, Field(description="Upper limits of the run.")]

    def request_hash(self) -> str:
        """sha256 over the settings in canonical JSON, as `sha256:<64 hex>`.

        Defaults are left out, so that a field which a later version adds does not change the hash of what was there;
        so are where the weights are stored, and the image that measures: an upgrade of the operator changes no hash.
        Which n_spec is compared first does not count either: it changes only the order of trials.
        """
        return canonical_hash(self, exclude={"weights_claim", "cache_claim", "bench_image", "first_n_spec"})


class MTPTuningRunSpec(RunSettings):
    """An immutable snapshot: a run finishes with what it began with."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule("self == oldSelf", "is immutable: a run finishes with what it began with; change the MTPModel instead")
        )
    )

    model_name: Annotated[str, Field(max_length=NAME_LIMIT, description="The MTPModel that this run is for.")]
    retune_request: Annotated[
        int, Field(ge=0, description="spec.tuning.retuneRequest of the model when the run was made.")
    ]
    epoch: Annotated[
        int,
        Field(ge=0, description="How many runs of the same settings and request were abandoned before this one."),
    ] = 0
    template: Annotated[
        PodTemplate, Field(description="The pods of the trials, beside what the operator itself sets.")
    ] = PodTemplate()
    queue_name: QueueName = None
    settings_hash: Annotated[
        str,
        Field(
            alias="requestHash",
            max_length=71,
            pattern=r"^sha256:[0-9a-f]{64}$",
            description="Hash of everything known before a pod exists: equal settings have equal results.",
        ),
    ]

    def settings(self) -> RunSettings:
        """The part that the result depends on."""
        return self.part(RunSettings)


class TrialState(StrEnum):
    """How far one trial is."""

    PLANNED = "Planned"
    RUNNING = "Running"
    ENDING = "Ending"
    MEASURED = "Measured"
    FAILED = "Failed"
    INVALIDATED = "Invalidated"


class TrialCategory(Schema):
    """How fast one category of prompts was answered."""

    category: Annotated[str, Field(max_length=16, description="The category.")]
    output_tokens_per_second: Annotated[
        DecimalString, Field(description="Output tokens over latency, both summed over its requests.")
    ]


class TrialLatency(Schema):
    """A latency over the requests after the warm-up, in milliseconds."""

    mean: Annotated[DecimalString, Field(description="Arithmetic mean.")]
    p50: Annotated[DecimalString, Field(description="Median.")]
    p95: Annotated[DecimalString, Field(description="95% of the requests were not slower.")]
    p99: Annotated[DecimalString, Field(description="99% of the requests were not slower.")]


class TrialLevel(Schema):
    """What was measured at one concurrency level. Counters are the engine's own."""

    concurrency: Annotated[int, Field(ge=1, description="Requests in flight.")]
    output_tokens_per_second: Annotated[
        DecimalString,
        Field(description="Output throughput: the mean over windows without the slowest and the fastest eighth."),
    ]
    windows: Annotated[
        tuple[DecimalString, ...],
        Field(
            max_length=MAX_WINDOWS,
            description="Output throughput of each pass over the prompts, in tokens per second.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]
    interactivity: Annotated[
        tuple[DecimalString, ...],
        Field(
            max_length=MAX_WINDOWS,
            description="Output tokens per second that one request saw, 1 / TimePerOutputToken: the mean over each "
            "pass. Only where objective.maximize is Interactivity.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    limits: Annotated[
        tuple[LatencyCount, ...],
        Field(
            max_length=MAX_CONSTRAINTS,
            description="How the limits of objective.constraints were kept at this level.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["metric"]},
        ),
    ] = ()
    requests: Annotated[Count, Field(description="Requests that were measured.")]
    failed_requests: Annotated[Count, Field(description="Requests that failed or were cut.")] = 0
    ended_by_eos: Annotated[
        Count,
        Field(
            alias="endedByEOS",
            description="Requests that the model ended by itself, before outputTokens.",
        ),
    ] = 0
    output_tokens: Annotated[Count, Field(description="Output tokens that the engine reported in `usage`.")]
    drafts: Annotated[Count | None, Field(description="Drafting steps; absent where the engine counts none.")] = None
    draft_tokens: Annotated[Count | None, Field(description="Tokens drafted.")] = None
    accepted_tokens: Annotated[Count | None, Field(description="Draft tokens accepted.")] = None
    accepted_per_position: Annotated[
        tuple[Count, ...],
        Field(
            max_length=MAX_N_SPEC,
            description="Draft tokens accepted at each position, the first position first.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    categories: Annotated[
        tuple[TrialCategory, ...],
        Field(
            max_length=MAX_CATEGORIES,
            description="Speed of a single request by category of prompts.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["category"]},
        ),
    ] = ()
    time_to_first_token: Annotated[
        TrialLatency | None, Field(description="From sending to the first token of any kind, in milliseconds.")
    ] = None
    time_per_output_token: Annotated[
        TrialLatency | None,
        Field(description="The time after the first token, divided by the output tokens less one, in milliseconds."),
    ] = None
    request_latency: Annotated[
        TrialLatency | None, Field(description="From sending to the last token, in milliseconds.")
    ] = None
    unmeasurable: Annotated[
        str | None, Field(max_length=256, description="Why token latencies are missing, where they are.")
    ] = None
    client_cpu_share: Annotated[
        DecimalString | None,
        Field(alias="clientCPUShare", description="CPU that the measuring itself took; 1 is one core."),
    ] = None


class TrialOutput(Schema):
    """What was seen of a trial's output: speculation must not change it."""

    status: Annotated[
        OutputStatus,
        Field(
            description="Scored: the target model alone, without speculation, was asked about the tokens that came "
            "out. Unverified: that did not work, see message; the trial is never chosen automatically."
        ),
    ]
    positions: Annotated[Positions, Field(description="Output tokens that the target model alone was asked about.")] = 0
    detection_limit: Annotated[
        DecimalString | None,
        Field(
            description="Share of wrong tokens of which this many positions show one with a probability of 95%: "
            "3 / positions."
        ),
    ] = None
    tolerance: Annotated[
        DecimalString | None,
        Field(description="How much less probable than the target's own choice a token may be, in nats."),
    ] = None
    violations: Annotated[Positions, Field(description="Tokens that are less probable than that.")] = 0
    large_gaps: Annotated[Positions, Field(description="Tokens more than 5 nats less probable.")] = 0
    worst_gap: Annotated[DecimalString | None, Field(description="The largest gap that was seen, in nats.")] = None
    texts: Annotated[Positions, Field(description="Answers whose text was compared with their tokens.")] = 0
    altered_texts: Annotated[Positions, Field(description="Answers whose text is not that of their tokens.")] = 0
    json_schema: Annotated[
        StructuredOutput,
        Field(
            description="Whether an answer that a JSON schema constrains follows it. NotChecked: the server refused "
            "the request, or the answer was cut off."
        ),
    ] = StructuredOutput.NOT_CHECKED
    tool_call: Annotated[
        StructuredOutput,
        Field(
            description="Whether the arguments of a tool call follow the tool's schema; NotChecked as in jsonSchema."
        ),
    ] = StructuredOutput.NOT_CHECKED
    first_divergence: Annotated[
        str | None, Field(max_length=640, description="The first place where the output is not the target model's.")
    ] = None
    message: Annotated[str | None, Field(max_length=512, description="Why the output is Unverified.")] = None


class TrialStatus(Schema):
    """One trial: one start of the engine with one candidate."""

    number: Annotated[int, Field(ge=1, description="Number of the trial within the run, from 1 on.")]
    candidate: Annotated[
        CandidateId,
        Field(
            description="What was measured: off (no speculation, the baseline), or the method of drafting and n_spec, "
            "such as mtp-3."
        ),
    ]
    n_spec: Annotated[int, Field(ge=0, description="Draft tokens per step of the candidate.")]
    repeat: Annotated[int, Field(ge=0, description="How many trials of the same candidate came before this one.")]
    attempt: Annotated[
        int, Field(ge=0, description="How often the trial was repeated: it was lost, drifted or was too slow.")
    ] = 0
    drifted: Annotated[
        int,
        Field(ge=0, description="Attempts of these whose throughput sank while it was measured; the second one fails."),
    ] = 0
    adopted_from: Annotated[
        str | None,
        Field(
            max_length=63,
            description="The MTPTuningRun whose trial this is, where it was reused: it measured the same engine, "
            "load, node and images. It counts as evidence, and not against the budget.",
        ),
    ] = None
    job_name: Annotated[str, Field(max_length=63, description="The trial's Job.")]
    job_uid: Annotated[str | None, Field(max_length=64, alias="jobUID", description="UID of the Job.")] = None
    state: Annotated[
        TrialState,
        Field(
            description="Planned: its Job is about to be created. Running. Ending: the trial is being ended. "
            "Measured. Failed: see reason and message. Invalidated: measured on a node that is gone, or before "
            "the prompts, the engine's image or the GPU's driver changed."
        ),
    ]
    rationale: Annotated[str | None, Field(max_length=512, description="Why this candidate was measured.")] = None
    reason: Annotated[
        str | None,
        Field(
            max_length=64,
            description="Why the trial failed, or is never chosen automatically although Measured, as one word.",
        ),
    ] = None
    message: Annotated[str | None, Field(max_length=1024, description="Why, in a sentence.")] = None
    warnings: Annotated[
        tuple[Annotated[str, Field(max_length=256)], ...],
        Field(
            max_length=MAX_WARNINGS,
            description="Faults that were tolerated: the figures are valid.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    retry_after: Annotated[
        Timestamp | None, Field(description="When the next attempt begins, after one that was lost.")
    ] = None
    node: Annotated[str | None, Field(max_length=253, description="The node that it ran on.")] = None
    started_at: Annotated[Timestamp | None, Field(description="When the pod was started by the node.")] = None
    ready_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            description="Seconds that the engine took from the start of its container until a completion worked. "
            "Pulling images is not a part of it.",
        ),
    ] = None
    ended_at: Annotated[Timestamp | None, Field(description="When the last container of the pod had ended.")] = None
    gpu_seconds: Annotated[
        int | None, Field(ge=0, description="Seconds of GPU time that the trial held, over all its attempts.")
    ] = None
    output_tokens_per_second: Annotated[
        DecimalString | None, Field(description="Output throughput over all levels: their weighted geometric mean.")
    ] = None
    acceptance_length: Annotated[
        DecimalString | None,
        Field(description="Acceptance length: tokens per step of the target model, 1 + accepted / drafts."),
    ] = None
    levels: Annotated[
        tuple[TrialLevel, ...],
        Field(
            max_length=MAX_LEVELS,
            description="What was measured at each concurrency.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["concurrency"]},
        ),
    ] = ()
    output_check: Annotated[TrialOutput | None, Field(description="Result of the output check.")] = None


class ObservedByTrial(Schema):
    """What the first trial saw and could not be known before: part of the fingerprint."""

    node: Annotated[str, Field(max_length=253, description="The node that trials run on.")]
    gpu_product: Annotated[str, Field(max_length=253, description="Product of the GPU, or Unknown.")] = "Unknown"
    driver_version: Annotated[str, Field(max_length=63, description="Version of the GPU's driver, or Unknown.")] = (
        "Unknown"
    )
    engine_image_id: Annotated[
        str, Field(max_length=512, alias="engineImageID", description="The engine's image, by digest, as it ran.")
    ] = "Unknown"
    prompts_sha256: Annotated[
        str | None,
        Field(
            max_length=64,
            description="sha256 of the user's own prompts (workload.prompts), in hex; absent for built-in ones.",
        ),
    ] = None


class TrialCounters(Schema):
    """How many trials there were."""

    measured: Annotated[int, Field(ge=0, description="Trials with a result.")] = 0
    failed: Annotated[int, Field(ge=0, description="Trials that failed.")] = 0
    lost: Annotated[int, Field(ge=0, description="Trials that were lost and repeated; they do not count.")] = 0
    gpu_seconds: Annotated[int, Field(ge=0, description="GPU time of all trials, in seconds.")] = 0


class MTPTuningRunStatus(Schema):
    """What was measured, and what was concluded."""

    observed_generation: Annotated[
        int | None, Field(ge=-1, description="The generation that this status describes.")
    ] = None
    started_at: Annotated[Timestamp | None, Field(description="When the run began.")] = None
    completed_at: Annotated[Timestamp | None, Field(description="When the run had its verdict.")] = None
    observed: Annotated[ObservedByTrial | None, Field(description="What the first trial observed.")] = None
    fingerprint: Annotated[
        str | None, Field(max_length=80, description="Settings and what was observed, as a hash.")
    ] = None
    counters: Annotated[TrialCounters, Field(description="How many trials there were.")] = TrialCounters()
    trials: Annotated[
        tuple[TrialStatus, ...],
        Field(
            max_length=MAX_TRIALS,
            description="The evidence, one entry for each trial.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]},
        ),
    ] = ()
    verdict: Annotated[VerdictStatus | None, Field(description="The result; absent while the run is under way.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8,
            description="Ready (there is a verdict); while they are true, Reconciling or Stalled.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()


class MTPTuningRun(Schema):
    """One execution of a tuning: candidates measured in trials, one Job each, and the verdict."""

    metadata: ObjectMeta
    spec: MTPTuningRunSpec
    status: MTPTuningRunStatus = MTPTuningRunStatus()

    @classmethod
    def from_wire(cls, body: dict[str, Any]) -> "MTPTuningRun":
        """The run that the API server sent.

        Raises:
            pydantic.ValidationError: the object does not follow this version of the API.
        """
        return cls.model_validate(body)


def run_name(model_name: str, request_hash: str, request: int, epoch: int = 0) -> str:
    """The name of the run of these settings: the model's, and 10 hex digits of sha256(requestHash, request, epoch)."""
    parts = [request_hash, str(request), *([str(epoch)] if epoch else [])]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{model_name}-{digest[:10]}"


def job_name(run: str, trial: int, attempt: int) -> str:
    """The name of the Job of one attempt of a trial, given by its number."""
    return f"{run}-t{trial}-a{attempt}"
