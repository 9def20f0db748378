"""What is known of one reason."""

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a reason appears."""

    MODEL = "MTPModel condition"
    RUN = "MTPTuningRun condition or verdict"
    TRIAL = "trial of an MTPTuningRun"
    WARNING = "trial warning"
    EVENT = "Event"


class Who(StrEnum):
    """Who has to act."""

    NOBODY = "nobody"
    OPERATOR = "nobody: the operator retries"
    AUTHOR = "the author of the MTPModel"
    ADMINISTRATOR = "the administrator of the cluster"


@dataclass(frozen=True)
class Reason:
    """One CamelCase word that a status or an Event states, and what it means to a reader."""

    name: str
    where: tuple[Place, ...]
    who: Who
    meaning: str
    """What has happened, and why."""
    action: str
    """What to do about it; that nothing is to be done where that is so."""
    example: str
    """A message that came with it."""
