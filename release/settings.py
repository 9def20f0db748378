"""Who publishes this project, and where: `release.env`, which shells read as well; and what makes builds repeatable."""

from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("release.env")
_SETTINGS: Final = dict(
    line.split("=", 1) for line in _FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
)

OWNER: Final = _SETTINGS["OWNER"]
REPOSITORY: Final = _SETTINGS["REPOSITORY"]
REGISTRY: Final = _SETTINGS["REGISTRY"]

SOURCE_DATE_EPOCH: Final = 1767225600
"""Time that archives and images carry, in seconds since the epoch, so that the same sources make the same bytes."""
