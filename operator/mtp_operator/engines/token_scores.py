"""What it takes to ask an engine what its target model alone thinks of a text that it wrote under speculation."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Messages = Sequence[Mapping[str, Any]]
"""A conversation as clients send it: `{"role": …, "content": …}` each."""

Post = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Sends a JSON document to a path of the engine; the answer's JSON."""

NEUTRAL_PENALTIES: Final = {"presence_penalty": 0, "frequency_penalty": 0}
"""Sent where text is written for scoring, which knows no penalties: a model and a server may have some by default."""

WIDEST_GAP_NATS: Final = 1000.0
"""Stands for everything wider, and for what is no number at all."""


@dataclass(frozen=True)
class Continuation:
    """What an engine wrote after a prompt."""

    token_ids: tuple[int, ...]
    text: str
    """As a client gets it."""


@dataclass(frozen=True)
class TokenScore:
    """What the target model alone thinks of one token of a continuation."""

    position: int
    """Tokens of the continuation before it."""
    gap_nats: float
    """Log-probability of the target's own choice, less that of the token: 0 where they are the same."""
    choice: int
    """The token that the target would have said."""


def token_score(position: int, token_id: int, log_probabilities: Mapping[int, float]) -> TokenScore:
    """The score of a token, given the most probable tokens of its place and their log-probabilities.

    A token that is not among them is less probable than all of them: its gap is then the least that it can be.

    Args:
        position: tokens of the continuation before it.
        token_id: the token that was written there.
        log_probabilities: token id -> log-probability, in nats; the most probable one must be among them.
    """
    choice = max(log_probabilities, key=lambda one: _comparable(log_probabilities[one]))
    known = log_probabilities.get(token_id, min(log_probabilities.values()))
    gap = log_probabilities[choice] - known
    return TokenScore(position, WIDEST_GAP_NATS if math.isnan(gap) else min(gap, WIDEST_GAP_NATS), choice)


def _comparable(log_probability: float) -> float:
    return -math.inf if math.isnan(log_probability) else log_probability
