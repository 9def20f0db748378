"""The registry of reasons: every word that a condition, a verdict, a trial or an Event gives as its reason."""

from types import MappingProxyType
from typing import Final

from .entry import Place, Reason, Who
from .of_fetches import FETCHES
from .of_models import GENERAL, SERVING, TUNING, WEIGHTS
from .of_runs import EVENTS, VERDICTS
from .of_trials import FAILURES, INVALIDATED
from .of_warnings import WARNINGS
from .reasons_page import reasons_page

__all__ = ["GROUPS", "REASONS", "Place", "Reason", "Who", "reasons_page"]

GROUPS: Final = MappingProxyType(
    {
        "Conditions in general": GENERAL,
        "Weights": WEIGHTS,
        "Download of weights": FETCHES,
        "Tuning": TUNING,
        "Verdicts": VERDICTS,
        "Trials that failed or are in doubt": FAILURES,
        "Trials that no longer count": INVALIDATED,
        "Warnings of trials that count": WARNINGS,
        "Serving": SERVING,
        "Events": EVENTS,
    }
)
"""Title -> the reasons of one topic, each in one group alone."""

REASONS: Final = MappingProxyType({one.name: one for group in GROUPS.values() for one in group})
"""Name -> reason."""
