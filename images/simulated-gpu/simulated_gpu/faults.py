"""What can be ordered to go wrong, to see whether it is found."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Faults:
    """None, unless one is named. Shares are spread evenly over what they are of; requests are counted from 0."""

    n_specs: tuple[int, ...] = ()
    """The boots that have the faults, by n_spec; empty: all."""
    dies_at_request: int | None = None
    """The engine ends when this completion is asked for."""
    hangs_from_request: int | None = None
    """Completions from this one on never end."""
    aborted_share: float = 0.0
    """Share of the completions that end in the middle, with finish_reason `abort`."""
    replaced_share: float = 0.0
    """Share of the tokens that are not what the target says: speculation is not lossless."""
    acceptance_factor: float = 1.0
    """What the recorded acceptance is multiplied by, while steps take as long as they do."""
    failed_scrapes: int = 0
    """The first so many requests of /metrics are answered with 503."""

    def at(self, n_spec: int) -> Faults:
        """The faults of a boot."""
        return self if not self.n_specs or n_spec in self.n_specs else Faults()


def read_faults(text: str) -> Faults:
    """Faults from a JSON object of their names.

    Raises:
        ValueError: it is none, or has another name in it.
    """
    stated = json.loads(text)
    known = {field.name for field in fields(Faults)}
    if not isinstance(stated, dict) or not set(stated) <= known:
        raise ValueError(f"faults are a JSON object with some of {', '.join(sorted(known))}, not {text}")
    values: dict[str, Any] = {**stated, "n_specs": tuple(stated.get("n_specs", ()))}
    return Faults(**values)


def falls_to(share: float, number: int) -> bool:
    """Whether the thing with this number, counted from 0, is one of a share of all that is spread evenly."""
    return math.floor((number + 1) * share) > math.floor(number * share)
