"""What each verb has to say, as one record: text is made of it, and `-o json` prints it.

docs/kubectl-mtp.schema.json is generated from these records.
"""

from typing import Literal

from pydantic import ConfigDict

from mtp_operator.api.base import Schema
from mtp_operator.report.data import Candidate, Fact, Interval, LimitOutcome, TrialSummary


class Document(Schema):
    """Base of all records: their docstrings are in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ConditionLine(Document):
    """A condition of the model."""

    type: str
    status: str
    reason: str
    message: str = ""
    since: str
    action: str | None = None
    """What to do about it; None where nothing is to be done."""


class LevelLine(Document):
    """One concurrency level of one n_spec, over its trials."""

    concurrency: int
    output_tokens_per_second: float
    time_to_first_token_p95_milliseconds: float | None = None
    time_per_output_token_p50_milliseconds: float | None = None


class CandidateLine(Candidate):
    """One n_spec that was tried."""

    is_chosen: bool
    acceptance: tuple[float, ...] = ()
    """Share of the drafts whose token at each position was accepted, at the lowest concurrency."""
    levels: tuple[LevelLine, ...] = ()


class Prediction(Document):
    """What the tuner expects of an n_spec that was not measured."""

    n_spec: int
    speedup: Interval


class Effort(Document):
    """What a run has taken so far."""

    ended: int
    """Trials that were measured or failed."""
    max_trials: int
    gpu_seconds: int
    max_gpu_minutes: int | None = None
    seconds_per_trial: float | None = None


class RunLine(Document):
    """The run that the figures are of."""

    name: str
    verdict: str
    """Running while there is none."""
    message: str
    n_spec: int | None = None
    speedup: Interval | None = None
    effort: Effort
    noise: float | None = None
    is_noise_measured: bool = False


class WeightsLine(Document):
    """How far the download of weights is."""

    fetched_bytes: int
    total_bytes: int
    remaining_seconds: int | None = None


class StatusDocument(Document):
    """`kubectl mtp status` and `watch`."""

    kind: Literal["Status"] = "Status"
    name: str
    namespace: str
    headline: str
    summary: str
    n_spec: int | None = None
    served_n_spec: int | None = None
    replicas: int
    facts: tuple[Fact, ...]
    weights: WeightsLine | None = None
    run: RunLine | None = None
    candidates: tuple[CandidateLine, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    trials: tuple[TrialSummary, ...] = ()
    notes: tuple[str, ...] = ()
    conditions: tuple[ConditionLine, ...]


class ExplainDocument(Document):
    """`kubectl mtp explain NAME`."""

    kind: Literal["Explanation"] = "Explanation"
    name: str
    run: str
    verdict: str
    """Running while there is none."""
    headline: str
    answer: str
    """The verdict's own sentences, or how far the run is."""
    trials: tuple[TrialSummary, ...]
    predictions: tuple[Prediction, ...]
    candidates: tuple[CandidateLine, ...]
    limits: tuple[LimitOutcome, ...] = ()
    changes: tuple[str, ...]
    """What would change the answer."""


class ReasonDocument(Document):
    """`kubectl mtp explain REASON`."""

    kind: Literal["Reason"] = "Reason"
    reason: str
    where: tuple[str, ...]
    who: str
    meaning: str
    action: str
    example: str


class ComparisonRow(Document):
    """One figure of both sides."""

    label: str
    left: str
    right: str
    change: str = ""
    is_noise: bool | None = None
    """Whether the interval of the change contains zero; None where there is no interval."""


class CompareDocument(Document):
    """`kubectl mtp compare`."""

    kind: Literal["Comparison"] = "Comparison"
    left: str
    right: str
    rows: tuple[ComparisonRow, ...]
    differences: tuple[ComparisonRow, ...]
    """What was measured differently: engine, node, workload, …"""


class LogsDocument(Document):
    """`kubectl mtp logs`."""

    kind: Literal["Logs"] = "Logs"
    pod: str
    container: str
    lines: tuple[str, ...]


class RetuneDocument(Document):
    """`kubectl mtp retune`."""

    kind: Literal["Retune"] = "Retune"
    name: str
    namespace: str
    retune_request: int
    """spec.tuning.retuneRequest as it is now."""
    dry_run: bool
    message: str


class Check(Document):
    """One thing that the doctor looked at."""

    name: str
    result: Literal["ok", "warning", "failed", "unknown"]
    message: str
    action: str = ""


class DoctorDocument(Document):
    """`kubectl mtp doctor`."""

    kind: Literal["Diagnosis"] = "Diagnosis"
    namespace: str
    checks: tuple[Check, ...]


class PlannedObject(Document):
    """An object that the operator would create or apply."""

    object_kind: str
    name: str


class PlannedModel(Document):
    """What applying one MTPModel brings about."""

    name: str
    namespace: str
    objects: tuple[PlannedObject, ...]
    weights: str
    """What is downloaded, or where the weights are read from."""
    gpus: str
    """What it needs, and what fits now."""
    servers: str
    tuning: str
    expectation: str
    """Trials and GPU minutes."""


class PlanDocument(Document):
    """`kubectl mtp plan`."""

    kind: Literal["Plan"] = "Plan"
    models: tuple[PlannedModel, ...]


DOCUMENTS = (
    StatusDocument,
    ExplainDocument,
    ReasonDocument,
    CompareDocument,
    LogsDocument,
    RetuneDocument,
    DoctorDocument,
    PlanDocument,
)
"""What `-o json` may print; `kind` says which it is."""
