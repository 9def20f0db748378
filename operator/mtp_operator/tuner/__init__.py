"""Which n to measure next, when to stop, and the verdict: pure functions of the arms measured so far."""

from .evidence import typical
from .records import (
    Acceptance,
    Arm,
    Level,
    LevelMeasurement,
    Measure,
    Settings,
    Speedup,
    Verdict,
    VerdictType,
)
from .step import next_step

__all__ = [
    "Acceptance",
    "Arm",
    "Level",
    "LevelMeasurement",
    "Measure",
    "Settings",
    "Speedup",
    "Verdict",
    "VerdictType",
    "next_step",
    "typical",
]
