"""How a run ends, and what was found on the way there."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from .base import MAX_LEVELS, MAX_N_SPEC, DecimalString, Schema
from .candidate import CandidateId


class VerdictType(StrEnum):
    """How a run ended."""

    SELECTED = "Selected"
    SPECULATION_OFF = "SpeculationOff"
    INCONCLUSIVE = "Inconclusive"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"


CHOICES: Final = frozenset({VerdictType.SELECTED, VerdictType.SPECULATION_OFF, VerdictType.INCONCLUSIVE})
"""Verdicts that name an n_spec."""


class NoiseSource(StrEnum):
    """Where a figure of the noise between trials comes from."""

    MEASURED = "Measured"
    ASSUMED = "Assumed"


class Noise(Schema):
    """How much trials of one candidate differ; every interval follows from it."""

    share: Annotated[
        DecimalString,
        Field(description="Standard deviation of the speed between trials, as a share of it: 0.021 is 2.1%."),
    ]
    source: Annotated[
        NoiseSource, Field(description="Measured: some candidate had more than one trial. Assumed: none had.")
    ]


class BestAtLevel(Schema):
    """What would be best at one level alone."""

    concurrency: Annotated[int, Field(ge=1, description="The level.")]
    candidate: Annotated[CandidateId, Field(description="The measured candidate that is fastest there.")]
    n_spec: Annotated[int, Field(ge=0, description="Its n_spec.")]
    speedup: Annotated[DecimalString, Field(description="Its throughput there over that at n_spec=0.")]


class ParetoPoint(Schema):
    """A candidate at a level that no other pair beats both in throughput and for a single request."""

    candidate: Annotated[CandidateId, Field(description="The candidate.")]
    n_spec: Annotated[int, Field(ge=0, description="Its n_spec.")]
    concurrency: Annotated[int, Field(ge=1, description="The level.")]
    output_tokens_per_second: Annotated[DecimalString, Field(description="Of all requests together.")]
    request_output_tokens_per_second: Annotated[DecimalString, Field(description="Of one request.")]


class VerdictStatus(Schema):
    """The end of a run."""

    type: Annotated[
        VerdictType,
        Field(
            description="Selected: an n_spec above 0 won. SpeculationOff: n_spec=0 won. Inconclusive: no proof within "
            "the budget; the lowest n_spec is kept. Failed: nothing could be measured. Superseded: the model's spec "
            "changed meanwhile."
        ),
    ]
    candidate: Annotated[CandidateId | None, Field(description="The candidate that was chosen.")] = None
    n_spec: Annotated[int | None, Field(ge=0, description="Its n_spec.")] = None
    speedup: Annotated[DecimalString | None, Field(description="Throughput at nSpec over that at n_spec=0.")] = None
    speedup_low: Annotated[DecimalString | None, Field(description="Lower end of the 95% interval of speedup.")] = None
    speedup_high: Annotated[DecimalString | None, Field(description="Upper end of the 95% interval of speedup.")] = None
    reason: Annotated[str, Field(max_length=64, description="Why, as one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, in a sentence.")]
    noise: Annotated[
        Noise | None, Field(description="How much trials of one candidate differ, as the interval of speedup takes it.")
    ] = None
    best_per_level: Annotated[
        tuple[BestAtLevel, ...],
        Field(
            max_length=MAX_LEVELS,
            description="What would be best at each level alone.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["concurrency"]},
        ),
    ] = ()
    pareto: Annotated[
        tuple[ParetoPoint, ...],
        Field(
            max_length=MAX_LEVELS * (MAX_N_SPEC + 1),
            description="The measured pairs of candidate and level that no other pair beats both in throughput and in "
            "the speed of one request.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["candidate", "concurrency"],
            },
        ),
    ] = ()
