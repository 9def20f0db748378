"""The policy of one MTPTuningRun: which arm next, what became of the last one, when it ends.

`advance` has the order of steps; `arms` what may become of an arm; `end` the ends that a run does not find by itself;
`status` what is said of it.
"""

from .advance import advance
from .arms import open_arm
from .end import clean_up, disown, supersede
from .status import has_planned, is_as_asked, is_ours, is_over, progress, reference

__all__ = [
    "advance",
    "clean_up",
    "disown",
    "has_planned",
    "is_as_asked",
    "is_ours",
    "is_over",
    "open_arm",
    "progress",
    "reference",
    "supersede",
]
