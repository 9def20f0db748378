"""Levels of load, and latencies: what is limited, and how often a limit was exceeded."""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

MAX_COUNT: Final = 10**9
"""The largest count (requests, tokens, drafts, seconds) that is believed: what a pod says becomes work and numbers."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]

QuantileOfLatency = Annotated[str, Field(max_length=64, pattern=r"^P[5-9][0-9][A-Z][A-Za-z]{2,60}$")]
"""A quantile and what it is of, such as P95TimeToFirstToken."""


class Record(BaseModel):
    """Base of all records: frozen, camelCase on the wire, unknown fields ignored so that older readers survive."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Level(Record):
    """One concurrency level of the workload and its weight in the objective, a weighted geometric mean."""

    concurrency: Annotated[int, Field(ge=1)]
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class LatencyConstraint(Record):
    """A quantile of a latency at one level that must stay within a limit."""

    metric: QuantileOfLatency
    concurrency: Annotated[int, Field(ge=1)]
    max_milliseconds: Annotated[int, Field(ge=1)]

    @property
    def quantile(self) -> float:
        """Share of the requests that must stay within the limit."""
        return int(self.metric[1:3]) / 100


class LatencyCount(Record):
    """How many requests of a level took longer than the limit of a constraint."""

    metric: Annotated[QuantileOfLatency, Field(description="The latency, as in objective.constraints.")]
    max_milliseconds: Annotated[int, Field(ge=1, description="The limit, in milliseconds.")]
    requests: Annotated[Count, Field(description="Requests whose latency was measured.")]
    exceeding: Annotated[Count, Field(description="Requests of them that took longer.")]

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        refuse_more("exceeding", self.exceeding, "requests", self.requests)
        return self

    def is_of(self, constraint: LatencyConstraint) -> bool:
        """Whether the requests were held against this limit, at whatever level."""
        return (self.metric, self.max_milliseconds) == (constraint.metric, constraint.max_milliseconds)


def refuse_more(part: str, number: int, whole: str, of: int) -> None:
    """Refuses a part that is larger than its whole.

    Raises:
        ValueError: it is.
    """
    if number > of:
        raise ValueError(f"{part}: {number} is more than the {of} {whole}")
