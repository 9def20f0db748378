"""The two documents of a trial: the plan that its bench container is started with, and the result that it leaves.

The result travels in the container's termination message, which kubelet cuts at 4,096 bytes; hence its bound, its
short lists and its own statement of length.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from mtp_operator.measures.quantities import Count, LatencyCount, refuse_more

from .base import (
    MAX_CATEGORIES,
    MAX_CONSTRAINTS,
    MAX_LEVELS,
    MAX_MEASURE,
    MAX_N_SPEC,
    MAX_WARNINGS,
    MAX_WINDOWS,
    Positions,
    Schema,
    first_problem,
)
from .candidate import CandidateId
from .conditions import shorten
from .spec import EngineType, LatencyConstraint, Maximize, PromptCategory, Sampling

RESULT_LIMIT_BYTES: Final = 3000
"""Largest encoded result."""

_MESSAGE_LIMIT: Final = 1024

_SIGNIFICANT_DIGITS: Final = 4
"""Of every speed and time on the wire."""

_FEWEST_WINDOWS: Final = 4
"""Windows of a level that texts are shortened for, before any fewer are kept."""

_TEXT_LIMITS: Final = (512, 256, 128, 64)
"""Lengths that texts are cut to, one after the other, until the result is short enough."""

_TEXTS: Final = frozenset({"message", "unmeasurable", "context", "expected", "actual"})
"""Fields whose values may be cut."""

_WINDOWS: Final = frozenset({"windows", "interactivity"})
"""Fields with one value a window."""

RESULT_VERSION: Final = 1

DRIFTING: Final = "Drifting"
"""Reason of a failure that may be the machine's: throughput sank while it was measured. The trial is repeated once."""

PROMPTS_UNUSABLE: Final = "PromptsUnusable"
"""Reason of a failure that no trial is to blame for: the user's own prompts are wrong, and stay so for every n."""

SLOWEST: Final = 0.01
"""Tokens per second below which a trial has measured nothing: speeds are kept with few decimals."""

IMPLAUSIBLE: Final = "ResultImplausible"
"""Reason of a failure: the figures are not of the trial that was asked for, or cannot be those of any trial."""

MODEL_MISSING: Final = "ModelMissing"
"""Reason of a failure that an engine may die of as well, before or after the bench has seen it: no model is there."""

SIMULATED: Final = "Simulated"
"""Reason of a warning that nothing may be concluded without: what was measured is no engine, but a recorded curve."""

TOO_SLOW: Final = "TooSlow"
"""Reason of a failure that more time may help: a level did not get its passes in. The trial is repeated once."""

LEVEL_CEILING: Final = 8
"""A slow engine may take this many times a level's time, where a plan does not say how long."""

OUTPUT_CHECK_SECONDS: Final = 900
"""What checking the output may take after all levels; an engine that needs longer is not checked."""

Text = Annotated[str, Field(max_length=_MESSAGE_LIMIT)]
Reason = Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
Category = Annotated[str, Field(max_length=16, pattern=r"^[A-Za-z][-_A-Za-z0-9]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Measure = Annotated[float, Field(ge=0, le=MAX_MEASURE, allow_inf_nan=False)]


class ImplausibleError(ValueError):
    """A whole result of this version, with figures that no trial can have."""


class Document(Schema):
    """Base of what travels between the operator and a bench container."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class PlannedPrompts(Document):
    """What is asked: built-in prompts, or a file of the user's own."""

    built_in: Annotated[tuple[PromptCategory, ...], Field(max_length=len(PromptCategory))] = ()
    """Categories of the built-in prompts, where there is no file."""
    file: str | None = None
    """Path of the JSONL file as the bench container sees it."""
    field: str | None = None
    """What a person knows the file by: the field that names it, for messages."""


class PlannedLevel(Document):
    """One concurrency level to measure."""

    concurrency: Annotated[int, Field(ge=1)]


class TrialPlan(Document):
    """What the bench container shall do."""

    engine: EngineType
    url: str
    served_name: str
    candidate: CandidateId
    n_spec: Annotated[int, Field(ge=0, le=MAX_N_SPEC)]
    """Of the candidate."""
    prompts: PlannedPrompts = PlannedPrompts(built_in=tuple(PromptCategory))
    sampling: Sampling = Sampling()
    output_tokens: Annotated[int, Field(ge=1)]
    levels: Annotated[tuple[PlannedLevel, ...], Field(min_length=1, max_length=MAX_LEVELS)]
    level_seconds: Annotated[float, Field(gt=0)]
    """Time for one level, warm-up included. An engine that is too slow for it gets more; see `ceiling_seconds`."""
    level_ceiling_seconds: Annotated[float, Field(gt=0)] | None = None
    """Longest time for one level, however slow the engine is; absent: `LEVEL_CEILING` times `level_seconds`."""
    ready_seconds: Annotated[float, Field(gt=0)]
    """Time that the engine may take until a real completion works."""
    drafts_every_step: bool | None = None
    """Whether the way of drafting leaves no step out, as n-grams do that find nothing, and drafters that are unsure.

    None where that is unknown.
    """
    seed: int = 0
    """Of the first request; every request has its own."""
    model_path: str | None = None
    """Where the engine finds the model; checked first, so that an empty folder is reported as what it is."""
    engine_log: str | None = None
    """File on a shared volume that the engine logs to, where it can."""
    maximize: Maximize = Maximize.OUTPUT_THROUGHPUT
    """What is reported of each window beside its throughput."""
    limits: Annotated[tuple[LatencyConstraint, ...], Field(max_length=MAX_CONSTRAINTS)] = ()
    """Limits on latency: the requests beyond each are counted, and the whole time of its level is used."""

    @property
    def ceiling_seconds(self) -> float:
        """Time for one level that no engine gets more of."""
        return self.level_ceiling_seconds or LEVEL_CEILING * self.level_seconds

    @property
    def longest_seconds(self) -> float:
        """How long the trial can take from the bench's start on: a level's last requests may take its time again."""
        return self.ready_seconds + len(self.levels) * 2 * self.ceiling_seconds + OUTPUT_CHECK_SECONDS


class LatencySummary(NamedTuple):
    """A latency over the requests after the warm-up, in milliseconds: its mean and three quantiles."""

    mean: Measure
    p50: Measure
    p95: Measure
    p99: Measure


class Latencies(Document):
    """Latencies of the requests after the warm-up; docs/explanation/how-speed-is-measured.md has the formulas."""

    time_to_first_token: LatencySummary | None = None
    time_per_output_token: LatencySummary | None = None
    """Absent where no request has two tokens."""
    request_latency: LatencySummary | None = None
    unmeasurable: Annotated[str | None, Field(max_length=_MESSAGE_LIMIT)] = None
    """Why token latencies are missing although the throughput is known; the first two are absent then."""


class LevelResult(Document):
    """What was measured at one level; counters are differences of the engine's own, absent where it has none."""

    concurrency: Annotated[int, Field(ge=1)]
    windows: Annotated[tuple[Measure, ...], Field(max_length=MAX_WINDOWS)]
    """Output tokens per second of each pass over the prompts, warm-up left out."""
    interactivity: Annotated[tuple[Measure, ...], Field(max_length=MAX_WINDOWS)] | None = None
    """Of each window, the mean over its requests of 1 / time per output token: what one request sees, in tokens per
    second. Only where the plan maximizes Interactivity and the times of tokens could be measured."""
    requests: Count
    """Requests of the whole level, warm-up included, as in the engine's counters."""
    failed_requests: Count = 0
    """Requests that failed or were cut."""
    ended_by_eos: Annotated[Count, Field(alias="endedByEOS")] = 0
    """Requests that the model ended by itself, before `max_tokens`."""
    output_tokens: Count
    """Output tokens of the whole level."""
    drafts: Count | None = None
    draft_tokens: Count | None = None
    accepted_tokens: Count | None = None
    accepted_per_position: Annotated[tuple[Count, ...], Field(max_length=MAX_N_SPEC)] = ()
    """The first position first."""
    categories: Annotated[Mapping[Category, Measure], Field(max_length=MAX_CATEGORIES, default_factory=dict)]
    """Category of prompts -> output tokens per second of one request, over the requests after the warm-up."""
    latencies: Latencies | None = None
    limits: Annotated[tuple[LatencyCount, ...], Field(max_length=MAX_CONSTRAINTS)] = ()
    """One for each limit of the plan at this level whose latency could be measured."""
    client_cpu_share: Annotated[Measure | None, Field(alias="clientCPUShare")] = None
    """CPU seconds that the bench itself took, over the seconds of the level: 1 is one core."""

    @model_validator(mode="after")
    def _each_limit_once(self) -> Self:
        if len({limit.metric for limit in self.limits}) < len(self.limits):
            raise ValueError("limits: a metric is there twice")
        return self


class TrialFailure(Document):
    """Why a trial is disqualified, could not be measured, or is not chosen automatically."""

    reason: Reason
    message: Text


class TrialWarning(Document):
    """A fault that was tolerated: the number is right all the same."""

    reason: Reason
    message: Text


class OutputStatus(StrEnum):
    """How far the check of a trial's output came."""

    SCORED = "Scored"
    UNVERIFIED = "Unverified"


class StructuredOutput(StrEnum):
    """What became of one request for an output of a given form."""

    PASSED = "Passed"
    FAILED = "Failed"
    NOT_CHECKED = "NotChecked"


class Divergence(Document):
    """The first place where the output parts from what the target model alone would say."""

    position: Positions
    """Output tokens before it."""
    context: Annotated[str, Field(max_length=_MESSAGE_LIMIT)]
    """The end of the text before it."""
    expected: Annotated[str, Field(max_length=_MESSAGE_LIMIT)]
    actual: Annotated[str, Field(max_length=_MESSAGE_LIMIT)]


class OutputCheck(Document):
    """What was seen of a trial's output: compared with that of n_spec=0, it may disqualify the trial."""

    status: OutputStatus
    positions: Positions = 0
    """Output tokens scored by the target model alone."""
    tolerance_nats: Measure = 0
    """How much less probable than the target's own choice a token may be."""
    violations: Positions = 0
    """Tokens that are less probable than that."""
    large_gaps: Positions = 0
    """Tokens that no noise of the arithmetic explains."""
    worst_gap_nats: Measure = 0
    """Largest gap between the target's choice and the token."""
    texts: Positions = 0
    """Answers whose text was compared with their tokens."""
    altered_texts: Positions = 0
    """Answers whose text is not what their tokens say."""
    first_divergence: Divergence | None = None
    json_schema: StructuredOutput = StructuredOutput.NOT_CHECKED
    """Whether an answer that a JSON schema constrains follows it."""
    tool_call: StructuredOutput = StructuredOutput.NOT_CHECKED
    """Whether the arguments of a tool call follow the tool's schema."""
    message: Text | None = None
    """Why the output is Unverified."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        refuse_more("violations", self.violations, "positions", self.positions)
        refuse_more("largeGaps", self.large_gaps, "positions", self.positions)
        refuse_more("alteredTexts", self.altered_texts, "texts", self.texts)
        return self


class TrialResult(Document):
    """What one trial found. `failure` is set where the trial cannot be believed or could not be measured."""

    version: Literal[1] = 1
    candidate: CandidateId | None = None
    """That of the plan; absent where the server is not one of a trial's."""
    n_spec: Annotated[int, Field(ge=0, le=MAX_N_SPEC)]
    ready_seconds: Measure | None = None
    """From the bench's start, beside the engine's, until a completion worked; absent where none did."""
    levels: Annotated[tuple[LevelResult, ...], Field(max_length=MAX_LEVELS)] = ()
    failure: TrialFailure | None = None
    doubt: TrialFailure | None = None
    """Why the trial is measured and reported, but never chosen automatically."""
    warnings: Annotated[tuple[TrialWarning, ...], Field(max_length=MAX_WARNINGS)] = ()
    output_check: OutputCheck | None = None
    prompts_sha256: Sha256 | None = None
    """Of the user's own prompts as this trial read them; absent for built-in ones."""

    def encode(self) -> str:
        """One line of ASCII: the length of the JSON document in bytes, a blank, the document.

        Speeds and times are rounded to four significant digits. Where the line is still too long, windows are thinned
        out, evenly over each level; then texts are cut, then windows again; the last to go are categories, latencies
        and warnings. Counts always stay.

        Raises:
            ValueError: even so the line is longer than `RESULT_LIMIT_BYTES`.
        """
        stated = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        document = _rounded({"version": self.version, **stated})
        for windows, characters in _ever_shorter():
            line = _line(_shortened(document, windows, characters))
            if len(line) <= RESULT_LIMIT_BYTES:
                return line
        line = _line(_bare(_shortened(document, 1, _TEXT_LIMITS[-1])))
        if len(line) <= RESULT_LIMIT_BYTES:
            return line
        raise ValueError(f"the result has {len(line)} bytes at least, {RESULT_LIMIT_BYTES} are allowed")

    @classmethod
    def decode(cls, text: str) -> "TrialResult":
        """The result in a termination message.

        Raises:
            ImplausibleError: it is one, but its figures are out of bounds or contradict each other.
            ValueError: the message is no complete result of this version.
        """
        length, _, document = text.strip().partition(" ")
        if not length.isdigit() or int(length) != len(document.encode()):
            raise ValueError("the termination message is truncated or is not a result")
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            is_another = error.errors()[0]["type"] == "json_invalid" or error.errors()[0]["loc"] == ("version",)
            raise (ValueError if is_another else ImplausibleError)(first_problem(error)) from error


def _line(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    return f"{len(text)} {text}"


def _ever_shorter() -> Iterator[tuple[int, int]]:
    """Windows of a level, characters of a text."""
    for windows in range(MAX_WINDOWS, _FEWEST_WINDOWS - 1, -1):
        yield windows, _MESSAGE_LIMIT
    for characters in _TEXT_LIMITS:
        yield _FEWEST_WINDOWS, characters
    for windows in range(_FEWEST_WINDOWS - 1, 0, -1):
        yield windows, _TEXT_LIMITS[-1]


def _rounded(part: Any) -> Any:
    match part:
        case float():
            return float(f"{part:.{_SIGNIFICANT_DIGITS}g}")
        case Mapping():
            return {key: _rounded(value) for key, value in part.items()}
        case list():
            return [_rounded(value) for value in part]
        case _:
            return part


def _shortened(part: Any, windows: int, characters: int, key: str = "") -> Any:
    """The document with fewer windows and shorter texts; reasons and names are no texts."""
    match part:
        case str() if key in _TEXTS:
            return shorten(part, characters)
        case Mapping():
            return {name: _shortened(value, windows, characters, name) for name, value in part.items()}
        case list() if key in _WINDOWS:
            return _thinned(part, windows)
        case list():
            return [_shortened(value, windows, characters) for value in part]
        case _:
            return part


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """What has to stay: counts, one window a level, and what is against the trial."""
    levels = [
        {name: value for name, value in level.items() if name not in ("categories", "latencies")}
        for level in document["levels"]
    ]
    return {name: value for name, value in document.items() if name != "warnings"} | {"levels": levels}


def _thinned(windows: Sequence[float], kept: int) -> Sequence[float]:
    if len(windows) <= kept:
        return windows
    return [windows[index * len(windows) // kept] for index in range(kept)]
