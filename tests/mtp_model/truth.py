"""What the model will do: decided before there are weights, and all that a test needs to check an engine against."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.mtp_model.vocabulary import Vocabulary

ARRANGEMENTS = 400
"""How many orders of the cycle are looked at to find the most even one."""

STRETCH = 25
"""Tokens of the cycle over which the limits keep their shares."""


@dataclass(frozen=True)
class Truth:
    """The behaviour of one model under greedy decoding.

    Attributes:
        acceptance_per_position: P_1, P_2, …: the share of the cycle's tokens after which the first, second, … draft
            token is right. Every later position is never right.
        next_token: by token id, the token that the target says after it.
        draft_limit: by token id, how many draft tokens are right if it is the last one the target has seen.
        wrong_token: the id that the MTP head drafts beyond the limit.
    """

    acceptance_per_position: tuple[float, ...]
    next_token: tuple[int, ...]
    draft_limit: tuple[int, ...]
    wrong_token: int

    def acceptance(self, position: int) -> float:
        """P_i for any position i from 1 on."""
        if position < 1:
            raise ValueError(f"position is {position}; draft positions are counted from 1")
        return self.acceptance_per_position[position - 1] if position <= len(self.acceptance_per_position) else 0.0


def design_truth(vocabulary: Vocabulary, acceptance_per_position: Sequence[float], seed: int) -> Truth:
    """Choose the cycle and every token's draft limit.

    Args:
        vocabulary: its words make the cycle.
        acceptance_per_position: P_1, P_2, …, never increasing; each is rounded to a whole number of tokens.
        seed: of the order of the words and of the limits.

    Raises:
        ValueError: the acceptance is no sequence of non-increasing shares.
    """
    _check_acceptance(acceptance_per_position)
    rng = np.random.default_rng(seed)
    cycle = rng.permutation(vocabulary.words)
    limits = _arrange(_limits(len(cycle), acceptance_per_position), rng)
    # Every other token leads into the cycle. Spread evenly, few share a successor, and stay easy to tell apart.
    next_token = np.resize(cycle, len(vocabulary.tokens))
    draft_limit = np.resize(limits, len(vocabulary.tokens))
    next_token[cycle] = np.roll(cycle, -1)
    draft_limit[cycle] = limits
    return Truth(
        acceptance_per_position=tuple(
            float(np.mean(limits >= position)) for position in range(1, len(acceptance_per_position) + 1)
        ),
        next_token=tuple(next_token.tolist()),
        draft_limit=tuple(draft_limit.tolist()),
        wrong_token=vocabulary.wrong,
    )


def expected_continuation(truth: Truth, prompt_token_ids: Sequence[int], count: int) -> list[int]:
    """The `count` tokens that follow a prompt, whatever the number of draft tokens."""
    tokens = [prompt_token_ids[-1]]
    for _ in range(count):
        tokens.append(truth.next_token[tokens[-1]])
    return tokens[1:]


def simulate(truth: Truth, n: int, start: int, tokens: int, *, drafts_past_end: bool = True) -> tuple[int, list[int]]:
    """Count the drafts of one greedy request, exactly.

    Args:
        truth: of the model.
        n: draft tokens per step.
        start: the id of the prompt's last token.
        tokens: how many tokens are generated. The first comes from reading the prompt, without a draft; every step
            after that yields the accepted draft tokens and one more.
        drafts_past_end: whether the last draft is as long as the others though the request ends in the middle of it
            (vLLM), or at most as long as what is left beside the step's own token (llama.cpp).

    Returns:
        The number of drafts, and for every position 1 … n how many of them had it accepted.
    """
    drafts, accepted, last_seen, left = 0, [0] * n, start, tokens - 1
    while left > 0:
        drafted = n if drafts_past_end else min(n, left - 1)
        right = min(truth.draft_limit[last_seen], drafted)
        drafts += drafted > 0
        for position in range(right):
            accepted[position] += 1
        for _ in range(right + 1):
            last_seen = truth.next_token[last_seen]
        left -= right + 1
    return drafts, accepted


def write_truth(truth: Truth, path: Path) -> None:
    """Write the truth as one JSON document."""
    path.write_text(json.dumps(asdict(truth), indent=1) + "\n")


def read_truth(path: Path) -> Truth:
    """Read what `write_truth` wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    return Truth(
        acceptance_per_position=tuple(document["acceptance_per_position"]),
        next_token=tuple(document["next_token"]),
        draft_limit=tuple(document["draft_limit"]),
        wrong_token=document["wrong_token"],
    )


def _check_acceptance(acceptance_per_position: Sequence[float]) -> None:
    steps = [1.0, *acceptance_per_position, 0.0]
    if not acceptance_per_position or not all(earlier >= later for earlier, later in pairwise(steps)):
        raise ValueError(
            f"acceptance_per_position is {list(acceptance_per_position)}; it needs at least one share between 0 and 1, "
            "and none may be larger than the one before: a draft token counts only if all before it were accepted"
        )


def _limits(count: int, acceptance_per_position: Sequence[float]) -> NDArray[Any]:
    """`count` limits of which the share P_i is at least i."""
    limits = np.zeros(count, dtype=np.int64)
    for share in acceptance_per_position:
        limits[: round(share * count)] += 1
    return limits


def _arrange(limits: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The most even of many shuffles of the limits.

    A step that accepts k tokens skips k tokens of the cycle, so every n looks at another sample of the limits, and
    in a cycle of some hundred tokens a sample can be off by several percent. Taking the order in which the worst
    sample is best makes P_i hold for every n alike. Requests are shorter than the cycle: the limits are dealt out
    evenly to its stretches first, and shuffled only within them.
    """
    count = max(1, len(limits) // STRETCH)
    stretches = [limits[index::count] for index in range(count)]
    candidates = (np.concatenate([rng.permutation(stretch) for stretch in stretches]) for _ in range(ARRANGEMENTS))
    return min(candidates, key=_unevenness)


def _unevenness(limits: NDArray[Any]) -> float:
    """The largest distance from P_i, over the positions i, all n, and all laps of the cycle.

    No step is longer than the largest limit + 1, so every lap of any walk begins at one of that many places.
    """
    largest = int(limits.max())
    share = np.array([np.mean(limits >= position) for position in range(1, largest + 1)])
    return max(
        (
            float(np.abs(_lap(limits, n, start) - share[:n]).max())
            for n in range(1, largest + 1)
            for start in range(largest + 1)
        ),
        default=0.0,
    )


def _lap(limits: NDArray[Any], n: int, start: int) -> NDArray[Any]:
    """The acceptance per position 1 … n of one walk from `start` to the end of the cycle."""
    accepted_tokens = np.minimum(limits, n).tolist()
    visited, place = [], start
    while place < len(accepted_tokens):
        visited.append(accepted_tokens[place])
        place += accepted_tokens[place] + 1
    return np.asarray(np.mean(np.array(visited)[:, None] >= np.arange(1, n + 1), axis=0))
