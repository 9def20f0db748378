"""What a run chooses among: each candidate has a short id, which is its identity wherever trials are told apart."""

from typing import Annotated, Final

from pydantic import Field

from .base import MAX_N_SPEC
from .spec import SpeculationMethod

OFF: Final = "off"
"""The candidate without speculation, the baseline of every run."""

LIMIT: Final = 32
"""Longest id."""

CandidateId = Annotated[str, Field(min_length=1, max_length=LIMIT, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
"""Such as `mtp-3`; also the value of a label."""


def candidate_id(method: SpeculationMethod, n_spec: int) -> str:
    """The candidate that drafts so many tokens by this method; `off` drafts none, by whatever method.

    Args:
        method: where draft tokens come from.
        n_spec: draft tokens per step, from 0 to the API's largest.

    Raises:
        ValueError: n_spec is out of these bounds.
    """
    if not 0 <= n_spec <= MAX_N_SPEC:
        raise ValueError(f"n_spec: {n_spec} is not between 0 and {MAX_N_SPEC}")
    return f"{method.value.lower()}-{n_spec}" if n_spec else OFF
