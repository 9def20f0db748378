"""Recorded speeds over n_spec and concurrency, and what is taken to lie between and beyond them.

A step of a batch of c requests gives each of them E tokens, its own and the accepted ones, and takes T seconds, so that
the throughput is c E / T. E follows from the recorded acceptance, T from both:

* T is linear between recorded n, and beyond the last it grows by what it has grown for each n so far;
* T is linear between recorded concurrencies, and beyond them that of the nearest one;
* acceptance of an n that is not recorded is that of the next larger one, position for position; positions beyond the
  last recorded one fall by the ratio of the last two;
* where no acceptance is recorded, every draft token is accepted with the same probability after the one before it:
  the one with which the recorded speeds come closest to steps that take `USUAL_GROWTH` longer for each draft token.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

USUAL_GROWTH = 0.06
"""What one more draft token adds to a step, as a share of the step without speculation: many curves have about this."""

_SHARES = tuple(percent / 1000 for percent in range(1, 1000))
"""Probabilities that are tried where none is recorded."""

Acceptance = tuple[float, ...]
"""Share of the drafts whose token at each position was accepted, the first position first; it never rises."""


@dataclass(frozen=True)
class Point:
    """One recorded n at one concurrency."""

    tokens_per_second: float
    """Of all requests together."""
    acceptance: Acceptance

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a request gets in a step: the target's own and the accepted ones."""
        return 1 + sum(self.acceptance)


@dataclass(frozen=True)
class Level:
    """All recorded n at one concurrency, ascending."""

    concurrency: int
    points: Mapping[int, Point]

    def acceptance(self, n_spec: int) -> Acceptance:
        """Of any n."""
        if n_spec == 0:
            return ()
        source = next((n for n in self.points if n >= n_spec), max(self.points))
        shares = self.points[source].acceptance[:n_spec] or (0.0,)
        ratio = shares[-1] / shares[-2] if len(shares) > 1 and shares[-2] else shares[0]
        return shares + tuple(shares[-1] * ratio**further for further in range(1, n_spec - len(shares) + 1))

    def step_seconds(self, n_spec: int) -> float:
        """Of any n."""
        steps = [self._recorded_step_seconds(n) for n in self.points]
        recorded = list(self.points)
        if n_spec <= recorded[-1]:
            return interpolated(n_spec, recorded, steps)
        growth = (steps[-1] - steps[0]) / (recorded[-1] - recorded[0]) if len(steps) > 1 else 0.0
        return steps[-1] + max(0.0, growth) * (n_spec - recorded[-1])

    def _recorded_step_seconds(self, n_spec: int) -> float:
        point = self.points[n_spec]
        return self.concurrency * point.tokens_per_step / point.tokens_per_second


@dataclass(frozen=True)
class Curve:
    """One recorded curve: its levels, ascending by concurrency."""

    name: str
    levels: Sequence[Level]

    def acceptance(self, n_spec: int, batch: float = 1) -> Acceptance:
        """Per position, with this many requests in a step: that of the nearest recorded concurrency."""
        return min(self.levels, key=lambda level: abs(level.concurrency - batch)).acceptance(n_spec)

    def step_seconds(self, n_spec: int, batch: float = 1) -> float:
        """How long a step with this many requests takes."""
        recorded = [level.concurrency for level in self.levels]
        return interpolated(batch, recorded, [level.step_seconds(n_spec) for level in self.levels])

    def tokens_per_second(self, n_spec: int, batch: float = 1) -> float:
        """Of all requests of the batch together."""
        return batch * (1 + sum(self.acceptance(n_spec, batch))) / self.step_seconds(n_spec, batch)


def read_curve(path: Path, name: str | None) -> Curve:
    """The curve of that name in a CSV file, or in the CSV files of a folder; without a name the first.

    Raises:
        ValueError: there is none, or a row of it cannot be used.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    rows = [row for file in files for row in csv.DictReader(file.read_text().splitlines())]
    names = list(dict.fromkeys(row.get("curve", "") for row in rows))
    chosen = names[0] if name is None and names else name
    if chosen not in names:
        raise ValueError(f"{path} has no curve {chosen}; it has {', '.join(names) or 'none'}")
    return curve_of(chosen, [row for row in rows if row["curve"] == chosen])


def curve_of(name: str, rows: Iterable[Mapping[str, str]]) -> Curve:
    """The curve that rows of a CSV describe.

    Raises:
        ValueError: a row cannot be used.
    """
    levels: dict[int, dict[int, tuple[float, Acceptance | None]]] = {}
    for row in rows:
        try:
            n_spec, speed = int(row["n_spec"]), float(row["tokens_per_second"])
            if n_spec < 0 or not 0 < speed < math.inf:
                raise ValueError("n_spec is negative, or tokens_per_second not positive")
            levels.setdefault(int(row["concurrency"]), {})[n_spec] = (speed, _recorded_acceptance(row, n_spec))
        except (KeyError, ValueError) as error:
            raise ValueError(f"curve {name}: {dict(row)}: {error}") from error
    return Curve(
        name, tuple(_level(concurrency, dict(sorted(levels[concurrency].items()))) for concurrency in sorted(levels))
    )


def interpolated(at: float, places: Sequence[float], values: Sequence[float]) -> float:
    """On straight lines between values at ascending places; outside them the nearest value."""
    right = bisect_left(places, at)
    if right == 0 or right == len(places):
        return values[min(right, len(places) - 1)]
    share = (at - places[right - 1]) / (places[right] - places[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])


def _level(concurrency: int, recorded: Mapping[int, tuple[float, Acceptance | None]]) -> Level:
    assumed = _assumed_share({n_spec: speed for n_spec, (speed, _) in recorded.items()})
    points = {
        n_spec: Point(speed, _geometric(assumed, n_spec) if acceptance is None else acceptance)
        for n_spec, (speed, acceptance) in recorded.items()
    }
    return Level(concurrency, points)


def _recorded_acceptance(row: Mapping[str, str], n_spec: int) -> Acceptance | None:
    """What the row says; None where it says nothing."""
    if n_spec == 0:
        return ()
    if per_position := (row.get("per_position_acceptance") or "").strip():
        shares = [float(share) for share in per_position.split(";")][:n_spec]
        # An engine counts the second token of a draft only after the first: a share that rises is rounding.
        return tuple(min(shares[: index + 1]) for index in range(len(shares)))
    if rate := (row.get("acceptance_rate") or "").strip():
        return _geometric(min(_SHARES, key=lambda share: abs(_rate(share, n_spec) - float(rate))), n_spec)
    return None


def _assumed_share(speeds: Mapping[int, float]) -> float:
    """The probability of acceptance that makes steps grow most nearly as they usually do."""
    least, *others = speeds

    def misfit(share: float) -> float:
        def step(n_spec: int) -> float:
            return (1 + sum(_geometric(share, n_spec))) / speeds[n_spec]

        expected = {n_spec: (1 + USUAL_GROWTH * n_spec) / (1 + USUAL_GROWTH * least) for n_spec in others}
        return sum(math.log(step(n_spec) / step(least) / expected[n_spec]) ** 2 for n_spec in others)

    return min(_SHARES, key=misfit)


def _geometric(share: float, n_spec: int) -> Acceptance:
    return tuple(share**position for position in range(1, n_spec + 1))


def _rate(share: float, n_spec: int) -> float:
    """Accepted draft tokens over draft tokens."""
    return sum(_geometric(share, n_spec)) / n_spec
