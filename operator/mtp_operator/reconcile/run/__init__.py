"""The policy of one MTPTuningRun: which candidate next, what became of the last one, when it ends.

`advance` has the order of steps; `trials` what may become of a trial; `adopt` which trials of other runs a run begins
with; `end` the ends that a run does not find by itself; `status` what is said of it.
"""

from .advance import advance
from .end import clean_up, disown, supersede
from .status import has_planned, is_as_requested, is_finished, is_ours, progress, reference
from .trials import open_trial, planned

__all__ = [
    "advance",
    "clean_up",
    "disown",
    "has_planned",
    "is_as_requested",
    "is_finished",
    "is_ours",
    "open_trial",
    "planned",
    "progress",
    "reference",
    "supersede",
]
