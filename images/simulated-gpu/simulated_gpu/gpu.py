"""Who gets how many tokens when.

Time is the curve's, not the machine's: each answer has a clock of its own that only its tokens move on, and what is
late is sent at once, so that no delay adds up. A place that is free again keeps the time at which it became free: an
answer that takes the place soon begins then. What a client needs to send its next request thus costs the simulated GPU
nothing; else it would be measured as slower than its curve by what the machine is slow.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile

from .curve import Curve

PATIENCE_SECONDS = 0.25
"""How long a place counts as taken after its answer has ended."""

GOLDEN_RATIO = (5**0.5 - 1) / 2


class Gpu:
    """One boot of the engine on it.

    Args:
        curve: how fast it is.
        n_spec: draft tokens per step.
        places: requests that run at a time.
        speed_factor: what the curve's speed is multiplied by.
        acceptance_factor: what the curve's acceptance is multiplied by; steps take as long as before.
    """

    def __init__(
        self, curve: Curve, n_spec: int, places: int, speed_factor: float = 1.0, acceptance_factor: float = 1.0
    ) -> None:
        self.n_spec = n_spec
        self.drafts = 0
        self.accepted_per_position = [0] * n_spec
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.finished: Counter[str] = Counter()
        """Answers by their finish_reason."""
        self._curve = curve
        self._speed_factor = speed_factor
        self._acceptance_factor = acceptance_factor
        self._free_since = [float("-inf")] * places
        self._places = places
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._draw = 0.5
        """Of the last draft, in [0, 1): it decides how many of its tokens are accepted."""

    @property
    def running(self) -> int:
        """Requests that have a place."""
        return self._places - len(self._free_since)

    @property
    def waiting(self) -> int:
        """Requests that have none yet."""
        return sum(not one.done() for one in self._waiting)

    async def answer(
        self, prompt_tokens: int, tokens: Sequence[int], finish_reason: str
    ) -> AsyncGenerator[list[int], None]:
        """The tokens of an answer, each step's at its time.

        Reading the prompt gives the first token, and takes as long as any token of this n does: a recorded speed has
        the prompts in it. A step takes as long as its tokens do on average, so that answers of every length have the
        recorded speed; what the last one accepts beyond the answer's end is counted, and lost, as with vLLM.

        Args:
            prompt_tokens: of the request.
            tokens: all of the answer.
            finish_reason: why it ends after them.
        """
        async with self._place() as clock:
            self.prompt_tokens += prompt_tokens
            position = 0
            while position < len(tokens):
                size = 1 + self._draft() if position else 1
                step = list(tokens[position : position + size])
                clock.now += len(step) * self._seconds_per_token()
                await asyncio.sleep(max(0.0, clock.now - _machine_time()))
                self.generated_tokens += len(step)
                position += size
                yield step
            self.finished[finish_reason] += 1

    def _draft(self) -> int:
        """Draft once more; the number of tokens that are accepted.

        Draws are as even as can be (a Weyl sequence of the golden ratio): the share of drafts whose i-th token is
        accepted is that of the curve, to within very few drafts, however many there were.
        """
        if not self.n_spec:
            return 0
        self._draw = (self._draw + GOLDEN_RATIO) % 1
        shares = self._curve.acceptance(self.n_spec, self._batch())
        accepted = sum(self._draw < self._acceptance_factor * share for share in shares)
        self.drafts += 1
        for position in range(accepted):
            self.accepted_per_position[position] += 1
        return accepted

    def _seconds_per_token(self) -> float:
        """Of each request, at this moment."""
        batch = self._batch()
        tokens_per_step = 1 + self._acceptance_factor * sum(self._curve.acceptance(self.n_spec, batch))
        return self._curve.step_seconds(self.n_spec, batch) / tokens_per_step / self._speed_factor

    def _batch(self) -> int:
        """Requests of a step; answers that have just ended are about to be followed by others, and count."""
        since = _machine_time() - PATIENCE_SECONDS
        return self.running + sum(1 for _ in takewhile(lambda free: free > since, reversed(self._free_since)))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[_Clock]:
        clock = _Clock(await self._taken())
        try:
            yield clock
        finally:
            self._leave(min(clock.now, _machine_time()))

    async def _taken(self) -> float:
        """Waits for a place; when the answer in it begins."""
        if self._free_since:
            free, now = self._free_since.pop(), _machine_time()
            return free if now - free < PATIENCE_SECONDS else now
        place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._leave(place.result())
            raise

    def _leave(self, now: float) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(now)
                return
        self._free_since.append(now)


@dataclass
class _Clock:
    """Of one answer."""

    now: float


def _machine_time() -> float:
    return asyncio.get_running_loop().time()
