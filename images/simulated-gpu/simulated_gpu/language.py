"""Tokens, their text, and the target model.

A token is up to three bytes of UTF-8, and its id is these bytes as a number, behind a 1 that keeps leading zeros: any
text has tokens, any tokens have one text, and nothing has to be stored. The target model looks at the last token alone,
and walks through its hundred words again and again; it never ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

BYTES_OF_A_TOKEN = 3
LEAST_ID, MOST_IDS = 1, 2 << (8 * BYTES_OF_A_TOKEN)
"""The least id, which is no byte at all, and the least number that is no id."""

SURE_NATS, UNLIKELY_NATS = -0.01, -12.0
"""Log-probability of what the target says next, and of everything else."""


def tokenized(text: str) -> list[int]:
    """The tokens of a text."""
    content = text.encode()
    parts = (content[begin : begin + BYTES_OF_A_TOKEN] for begin in range(0, len(content), BYTES_OF_A_TOKEN))
    return [int.from_bytes(b"\1" + part, "big") for part in parts]


def written(tokens: Iterable[int]) -> str:
    """The text of tokens; what is no UTF-8 is marked as vLLM marks it."""
    return b"".join(_bytes_of(token) for token in tokens).decode(errors="replace")


def conversation(messages: Iterable[Mapping[str, Any]]) -> list[int]:
    """The tokens of a chat: its template names each speaker, and then the one whose turn it is."""
    return tokenized("".join(f"{one.get('role')}: {one.get('content')}\n" for one in messages) + "assistant:")


_WORDS = tuple(tokenized("".join(f" {one}{other}" for one in "bcdfghjklmnpqrstvwxz" for other in "aeiou")))
_PLACES = {token: place for place, token in enumerate(_WORDS)}


def next_token(before: int) -> int:
    """What the target says after a token."""
    # A linear congruential generator whose period is the number of words (Knuth 1997, section 3.2.1.2, theorem A).
    return _WORDS[(21 * _place(before) + 7) % len(_WORDS)]


def other_token(before: int) -> int:
    """What the target would not say after a token."""
    return next_token(_WORDS[(_place(before) + 1) % len(_WORDS)])


def greedy_text(prompt: Sequence[int]) -> Iterator[int]:
    """What the target writes after a prompt, without end."""
    token = prompt[-1]
    while True:
        token = next_token(token)
        yield token


def log_probabilities(before: int, token: int) -> dict[int, float]:
    """What the target says after a token and how probable that is, and the same of a given token, in nats."""
    said = next_token(before)
    return {said: SURE_NATS, token: SURE_NATS if token == said else UNLIKELY_NATS}


def _place(token: int) -> int:
    return _PLACES.get(token, token % len(_WORDS))


def _bytes_of(token: int) -> bytes:
    return token.to_bytes(BYTES_OF_A_TOKEN + 1, "big").lstrip(b"\0")[1:]
