"""What a report shows, as one record."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema

RUNNING: Final = "Running"
"""Stands for the verdict of a run that has none yet."""


class Interval(Schema):
    """A speed-up over no speculation, with its 95% interval."""

    estimate: float
    low: float
    high: float


class Verdict(Schema):
    """How the run ended, or that it has not."""

    type: str
    n_spec: int | None = None
    speedup: Interval | None = None
    reason: str = ""
    message: str = ""


class Point(Schema):
    """One n_spec on a curve."""

    n_spec: int
    believed: Interval
    """What the tuner makes of all trials together."""
    trials: tuple[float, ...]
    """Speed-up of each trial of this n_spec; none where it was not measured."""


class Curve(Schema):
    """Speed-up over n_spec."""

    concurrency: int | None
    """None: over all levels, by their weights."""
    best_n_spec: int | None = None
    """The measured n_spec that is best at this level alone."""
    points: tuple[Point, ...]


class Latency(Schema):
    """A latency in milliseconds."""

    mean: float
    p50: float
    p95: float
    p99: float


class Level(Schema):
    """One level of one trial."""

    concurrency: int
    output_tokens_per_second: float
    windows: tuple[float, ...]
    requests: int
    failed_requests: int
    ended_by_eos: Annotated[int, Field(alias="endedByEOS")]
    output_tokens: int
    acceptance: tuple[float, ...]
    """Share of the drafting steps whose token at each position was accepted."""
    categories: Mapping[str, float]
    time_to_first_token: Latency | None = None
    time_per_output_token: Latency | None = None
    request_latency: Latency | None = None
    unmeasurable: str | None = None


class Output(Schema):
    """What was seen of the output of one trial."""

    status: str
    positions: int
    violations: int
    large_gaps: int
    tolerance: float | None = None
    worst_gap: float | None = None
    detection_limit: float | None = None
    texts: int
    altered_texts: int
    json_schema: str
    tool_call: str
    first_divergence: str | None = None
    message: str | None = None


class TrialSummary(Schema):
    """One trial without its figures at each level."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    n_spec: int
    state: str
    rationale: str | None = None
    """Why this n_spec was measured then."""
    reason: str | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()
    output_tokens_per_second: float | None = None
    acceptance_length: float | None = None
    gpu_seconds: int | None = None
    started_at: str | None = None
    adopted_from: str | None = None
    """The run that made it, where this one took it over."""


class Trial(TrialSummary):
    """One start of the engine."""

    name: str
    node: str | None = None
    levels: tuple[Level, ...] = ()
    output: Output | None = None

    def summary(self) -> TrialSummary:
        """The trial without its figures at each level."""
        return TrialSummary(**{name: getattr(self, name) for name in TrialSummary.model_fields})


class Candidate(Schema):
    """One n_spec that was tried, over all of its trials."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    n_spec: int
    trials: int
    output_tokens_per_second: float | None = None
    measured: float | None = None
    """Speed over the baseline's by the trials of these two alone."""
    speedup: Interval | None = None
    """The same by all trials together, with its interval."""
    acceptance_length: float | None = None
    limits: str | None = None
    """Whether it keeps all limits on latencies: Pass, Fail or Unknown; None where there are none."""
    output: str | None = None
    """Control, Scored, or what speaks against it; None where nothing was checked."""
    failed: str | None = None


class LimitOutcome(Schema):
    """How one n_spec kept a limit."""

    n_spec: int
    requests: int
    exceeding: int
    outcome: str


class Limit(Schema):
    """A limit on a latency at one level."""

    metric: str
    concurrency: int
    max_milliseconds: int
    outcomes: tuple[LimitOutcome, ...]


class Accepted(Schema):
    """How many drafted tokens were accepted at one position of the draft, at one level."""

    position: int
    share: float
    """Over all trials together."""
    trials: tuple[float, ...]
    """Of each trial that drafted so far ahead."""


class Acceptance(Schema):
    """Acceptance by position at one level."""

    concurrency: int
    positions: tuple[Accepted, ...]


class Noise(Schema):
    """Noise between two starts of the engine."""

    share: float
    is_measured: bool
    """Whether some n_spec was started more than once; else the value is assumed."""


class Cost(Schema):
    """What the run took."""

    measured: int
    failed: int
    lost: int
    adopted: int = 0
    """Trials of other runs that were reused: they took nothing."""
    max_trials: int
    gpu_seconds: int
    max_gpu_minutes: int | None
    sweep_gpu_seconds: int | None = None
    """What one trial of every n_spec would have taken, by the mean of those that were made."""
    started_at: str | None = None
    completed_at: str | None = None


class Command(Schema):
    """How the engine was started, after its image's entry point."""

    n_spec: int
    arguments: tuple[str, ...]

    @property
    def line(self) -> str:
        """The arguments as a shell takes them."""
        return shlex.join(self.arguments)


class Fact(Schema):
    """One line of the provenance."""

    label: str
    value: str


class ReportData(Schema):
    """Everything that a report shows."""

    name: str
    namespace: str
    model_name: str
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    curves: tuple[Curve, ...]
    """The objective first; each level after it where there are several."""
    no_curve: str | None = None
    """Why there are no curves."""
    noise: Noise | None = None
    trials: tuple[Trial, ...]
    acceptance: tuple[Acceptance, ...]
    limits: tuple[Limit, ...]
    cost: Cost
    provenance: tuple[Fact, ...]
    commands: tuple[Command, ...]
    settings: Mapping[str, Any]
    """The run's spec; values of environment variables are left out."""
