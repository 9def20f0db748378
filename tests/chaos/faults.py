"""What can go wrong at a write of the operator."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """A fault; each strikes at one write."""

    NONE = "none"
    KILLED_BEFORE = "killed before the write is carried out"
    KILLED_AFTER = "killed after the write was carried out"
    CONFLICT = "answered 409"
    ERROR = "answered 500"
    UNAVAILABLE = "answered 503"
    TIMEOUT = "carried out, but no answer comes"
    FROZEN = "all watches frozen for 40 s"
    FROZEN_FOR_GOOD = "all watches frozen for good"
    EXPIRED = "all watches expired"
    REORDERED = "news of one kind up to 8 s later than that of another"
    SLOW = "every answer up to 4 s late from then on"
    RESTARTED = "the API server is away for 8 s"
    AWAY = "the API server is away for 40 s"
    LEASE_DELETED = "the Lease deleted, with another replica standing by"
    PAUSED = "the process stands still for 65 s, with another replica standing by"
    CLOCK_AHEAD = "the clock jumps ahead by 2 h"
    CLOCK_BEHIND = "the clock jumps back by 2 h"
    CLOCK_FAR_AHEAD = "the clock jumps ahead by 31 days"
    CLOCK_FAR_BEHIND = "the clock jumps back by 31 days"


ANSWERS: Final = {Kind.CONFLICT: 409, Kind.ERROR: 500, Kind.UNAVAILABLE: 503}

CLOCK_HOURS: Final = {
    Kind.CLOCK_AHEAD: 2,
    Kind.CLOCK_BEHIND: -2,
    Kind.CLOCK_FAR_AHEAD: 31 * 24,
    Kind.CLOCK_FAR_BEHIND: -31 * 24,
}

FAILOVER_SECONDS: Final = 75
"""The Lease runs out, and a new process lists everything."""

SWEEP_SECONDS: Final = 60
"""What ended between a watch and the next list is found by a sweep."""

DELAYS_SECONDS: Final = {
    Kind.KILLED_BEFORE: FAILOVER_SECONDS,
    Kind.KILLED_AFTER: FAILOVER_SECONDS,
    Kind.TIMEOUT: 50,
    Kind.FROZEN: 60 + FAILOVER_SECONDS,
    Kind.FROZEN_FOR_GOOD: 100 + FAILOVER_SECONDS,
    Kind.EXPIRED: SWEEP_SECONDS + 10,
    Kind.REORDERED: 400,
    Kind.SLOW: 400,
    Kind.RESTARTED: SWEEP_SECONDS + 25,
    Kind.AWAY: SWEEP_SECONDS + 50 + FAILOVER_SECONDS,
    Kind.LEASE_DELETED: FAILOVER_SECONDS,
    Kind.PAUSED: 65 + FAILOVER_SECONDS,
}
"""How much longer a life may take for a fault; a few seconds where none is named."""


@dataclass(frozen=True)
class Fault:
    """A fault at the write of this number; with `every`, at each write of that many, or at the first try of each."""

    kind: Kind = Kind.NONE
    at: int = 0
    every: int = 0
    first_tries: bool = False

    def __str__(self) -> str:
        if self.first_tries:
            return f"the first try of every write {self.kind}"
        return f"every {self.every}th write: {self.kind}" if self.every else f"write {self.at}: {self.kind}"

    def strikes(self, number: int, *, is_first_try: bool) -> bool:
        """Whether it strikes at a write."""
        if self.kind is Kind.NONE:
            return False
        if self.first_tries:
            return is_first_try
        return number % self.every == self.every - 1 if self.every else number == self.at

    @property
    def delay_seconds(self) -> float:
        """How much longer a life may take with it; with one that strikes again and again it may take its time."""
        if self.every or self.first_tries:
            return float("inf")
        return DELAYS_SECONDS.get(self.kind, 10)
