"""What the tuner is told and what it answers: frozen records, camelCase on the wire, speeds in tokens per second."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mtp_operator.measures.quantities import LatencyConstraint, LatencyCount, Level, Record

NSpec = Annotated[int, Field(ge=0, le=1024)]
"""Draft tokens per step of the target model; 0 is no speculation."""

PositiveSpeed = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Output tokens per second."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Settings(Record):
    """What may be measured, and how much of it."""

    n_specs: Annotated[tuple[NSpec, ...], Field(min_length=1, max_length=33)]
    """The n that may be booted, in any order; gaps are allowed. The lowest is the baseline."""
    first_n_spec: NSpec | None = None
    """The n that is compared with the baseline first."""
    max_trials: Annotated[int, Field(ge=0)]
    """Boots that the run may use; failed ones count."""
    max_gpu_minutes: Annotated[float | None, Field(ge=0, alias="maxGPUMinutes", allow_inf_nan=False)] = None
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=16)]
    constraints: tuple[LatencyConstraint, ...] = ()
    slower_levels: Literal["Allow", "Forbid"] = "Allow"
    """Forbid: no n is chosen that is expected to be slower than the baseline at some level."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        refuse_repeats("nSpecs", self.n_specs)
        if self.first_n_spec is not None and self.first_n_spec not in self.n_specs:
            raise ValueError(f"firstNSpec: {self.first_n_spec} is not among nSpecs")
        refuse_repeats("levels.concurrency", (level.concurrency for level in self.levels))
        known = {level.concurrency for level in self.levels}
        for constraint in self.constraints:
            if constraint.concurrency not in known:
                raise ValueError(f"constraints.concurrency: {constraint.concurrency} is not among the levels")
        return self

    @property
    def baseline(self) -> int:
        """The n that a speed-up is against: 0, or the lowest where 0 cannot be booted."""
        return min(self.n_specs)


class Acceptance(Record):
    """The engine's own counters of one boot; engines deliver one form or the other."""

    per_position: tuple[Share, ...] | None = None
    """Share of the drafts whose token at position i was accepted, unconditional: it falls with i."""
    rate: Share | None = None
    """Accepted draft tokens / draft tokens."""


class LevelMeasurement(Record):
    """One level of one boot."""

    concurrency: Annotated[int, Field(ge=1)]
    windows: Annotated[tuple[PositiveSpeed, ...], Field(min_length=1)]
    """Output throughput of each pass over the prompts."""
    acceptance: Acceptance | None = None
    latencies: tuple[LatencyCount, ...] = ()


class Arm(Record):
    """One boot of the engine at one n."""

    n_spec: NSpec
    boot: Annotated[int, Field(ge=0)] = 0
    """How often this n had been booted before."""
    levels: tuple[LevelMeasurement, ...] = ()
    failed: str | None = None
    """Why the boot failed or a gate disqualified it; such an n is never chosen."""
    output_verified: bool = True
    """False: its timings inform the model, but the n is not chosen (its output could not be checked)."""
    node: str | None = None
    gpu_minutes: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None

    @model_validator(mode="after")
    def _measured_or_failed(self) -> Self:
        if self.failed is None and not self.levels:
            raise ValueError("levels are missing: a trial has levels, or says why it failed")
        refuse_repeats("levels.concurrency", (level.concurrency for level in self.levels))
        return self


class Speedup(Record):
    """Speed against the baseline with its 95 % credible interval."""

    estimate: float
    low: float
    high: float


class Measure(Record):
    """The next boot."""

    n_spec: int
    boot: int
    why: str
    predicted: Speedup | None = None
    """What the model expects of this n before the boot; absent for the baseline."""
    gain: float | None = None
    """By how much the boot is expected to raise the log speed of the choice; absent where it is needed in any case."""


class BestAtLevel(Record):
    """The measured n that is best at one level alone."""

    concurrency: int
    n_spec: int
    speedup: float
    """Against the baseline, at this level."""


class ParetoPoint(Record):
    """An n at a level that no other pair beats in both throughput and interactivity."""

    n_spec: int
    concurrency: int
    output_tokens_per_second: float
    tokens_per_second_per_request: float


class VerdictType(StrEnum):
    """How a run ends."""

    SELECTED = "Selected"
    SPECULATION_OFF = "SpeculationOff"
    INCONCLUSIVE = "Inconclusive"
    FAILED = "Failed"


BUDGET_EXHAUSTED = "BudgetExhausted"
"""Reason of `Inconclusive`: the budget ended the search, and another boot was worth it."""
BASELINE_DRIFTED = "BaselineDrifted"
"""Reason of `Inconclusive`: boots of the baseline differ by more than noise explains, and no claim outlasts that."""


class Verdict(Record):
    """The end of a run."""

    type: VerdictType
    n_spec: int
    """The n to serve; of FAILED the baseline, which could not be measured."""
    speedup: Speedup | None = None
    """Only of an n above the baseline."""
    reason: str | None = None
    """Why it is no more than INCONCLUSIVE, where that has a name; of FAILED why the baseline failed."""
    message: str
    """The sentence that a person reads."""
    noise_between_boots: Literal["measured", "assumed"] = "assumed"
    """Whether some n was booted more than once."""
    noise: Annotated[float | None, Field(exclude=True)] = None
    """Standard deviation of log speed between boots, as believed. Not on the wire, where the message says it."""
    best_n_spec_per_level: tuple[BestAtLevel, ...] = ()
    pareto: tuple[ParetoPoint, ...] = ()


def refuse_repeats(field: str, values: Iterable[int]) -> None:
    """Raise ValueError if a value occurs twice."""
    seen: set[int] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{field}: {value} is given twice")
        seen.add(value)


def describe_error(error: ValidationError) -> str:
    """The first thing that is wrong with a document: its field, and why."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
