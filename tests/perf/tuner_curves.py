"""Families of speed curves that the tuner is judged on. Each differs from the tuner's own model in its own way."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Point:
    """The truth of one n: output tokens per second at each level, and the counters that its boot would show."""

    speeds: tuple[float, ...]
    acceptance: tuple[dict[str, object] | None, ...]


@dataclass(frozen=True)
class Curve:
    """A curve to tune on."""

    name: str
    concurrencies: tuple[int, ...]
    points: dict[int, Point]
    first_boot: float = 1.0
    """Speed of the very first boot of a run, as a share of what it should be."""
    later_boots: float = 1.0
    """The same of all that follow."""

    def score(self, n: int) -> float:
        """Geometric mean of the speeds over levels."""
        return math.exp(sum(math.log(speed) for speed in self.points[n].speeds) / len(self.concurrencies))

    @property
    def best(self) -> int:
        """The fastest n; ties: the smallest."""
        return max(sorted(self.points), key=self.score)

    def regret(self, n: int) -> float:
        """Share of the best speed that is lost at an n."""
        return 1 - self.score(n) / self.score(self.best)


Random = np.random.Generator
Family = Callable[[Random, int], Curve]


def one_level(name: str, speeds: dict[int, float], counters: dict[int, dict[str, object] | None]) -> Curve:
    """A curve with a single level."""
    return Curve(name, (1,), {n: Point((float(speeds[n]),), (counters.get(n),)) for n in speeds})


def positions(first: float, decay: float, count: int) -> np.ndarray:
    """P_i of a drafter whose conditional acceptance falls by `decay` at each position."""
    conditional = first * decay ** np.arange(count)
    return np.asarray(np.cumprod(np.clip(conditional, 0, 0.999)))


def counters_for(kind: str, p: np.ndarray, n: int) -> dict[str, object] | None:
    """What an engine would report at n: nothing at n=0."""
    if n == 0 or kind == "none":
        return None
    if kind == "rate":
        return {"rate": float(np.mean(p[:n]))}
    return {"perPosition": [float(value) for value in p[:n]]}


def public_like(rng: Random, index: int) -> Curve:
    """Few n, often without counters, smooth but for a roughness of 1 %; some lack n=0."""
    ns = [(0, 1, 2, 3, 4, 5, 6), (0, 2, 3, 4, 5), (0, 1, 2, 3, 4), (0, 3, 5), (2, 4), (1, 8), (0, 1, 2, 3)][
        rng.integers(7)
    ]
    p = positions(rng.uniform(0.6, 0.95), rng.uniform(0.9, 1.0), max(ns))
    kind = str(rng.choice(["none", "none", "rate", "perPosition"]))
    overhead, slope = rng.uniform(0.0, 0.2), rng.uniform(0.02, 0.2)
    scale = math.exp(rng.uniform(1, 7))
    speeds = {
        n: scale * (1 + p[:n].sum()) / (1 + (overhead + slope * n) * (n > 0)) * math.exp(0.01 * rng.normal())
        for n in ns
    }
    return one_level(f"public-like-{index}", speeds, {n: counters_for(kind, p, n) for n in ns})


def generated(rng: Random, index: int) -> Curve:
    """n 0..8 with broken drafters, cliffs and load; a quarter without counters."""
    ns = range(9)
    broken = rng.random() < 0.2
    p = positions(rng.uniform(0.0, 0.35) if broken else rng.uniform(0.55, 0.95), rng.uniform(0.88, 1.0), 8)
    overhead = rng.uniform(0.0, 0.15)
    slope = rng.uniform(0.1, 0.7) if rng.random() < 0.3 else rng.uniform(0.01, 0.12)
    cliff_at, jump = (int(rng.integers(1, 9)), rng.uniform(0.05, 0.8)) if rng.random() < 0.4 else (99, 0.0)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    rough = rng.choice([0.0, 0.005, 0.015])
    scale = math.exp(rng.uniform(1, 8))
    speeds = {}
    for n in ns:
        step = 1 + (overhead + slope * n) * (n > 0) + jump * (n >= cliff_at)
        speeds[n] = scale * (1 + p[:n].sum()) / step * math.exp(rough * rng.normal())
    return one_level(f"generated-{index}", speeds, {n: counters_for(kind, p, n) for n in ns})


def adversarial(rng: Random, index: int) -> Curve:
    """Rooflines, tiles, two cliffs, acceptance that drifts with n, gaps, n up to 12."""
    top = int(rng.integers(6, 13))
    inner = [n for n in range(1, top) if rng.random() < rng.choice([0.6, 1.0])]
    ns = [0, *inner, top]
    p = positions(rng.uniform(0.3, 0.97), rng.uniform(0.85, 1.0), top)
    drift = rng.choice([0.0, rng.uniform(-0.03, 0.01)])
    batch = float(rng.choice([1, 2, 4, 8, 16, 32]))
    shape = rng.choice(["roofline", "tiles", "two-cliffs"])
    draft = rng.uniform(0.005, 0.08)
    cliffs = sorted(rng.integers(1, top + 1, size=2))
    jumps = rng.uniform(-0.15, 0.6, size=2)
    knee = rng.uniform(2, 40)
    tile = int(rng.integers(2, 6))
    tile_cost = rng.uniform(0.02, 0.25)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    scale = math.exp(rng.uniform(0, 9))
    speeds: dict[int, float] = {}
    counters: dict[int, dict[str, object] | None] = {}
    for n in ns:
        if shape == "roofline":
            step = max(1.0, batch * (n + 1) / knee) / max(1.0, batch / knee)
        elif shape == "tiles":
            step = 1 + tile_cost * (n // tile)
        else:
            step = 1 + sum(float(jump) * (n >= cliff) for jump, cliff in zip(jumps, cliffs, strict=True))
        seen = np.clip(p * math.exp(drift * n), 0, 1)
        speeds[n] = scale * (1 + seen[:n].sum()) / (max(step, 0.5) + draft * n) * math.exp(0.004 * rng.normal())
        counters[n] = counters_for(kind, seen, n)
    return one_level(f"adversarial-{index}", speeds, counters)


def flat(rng: Random, index: int) -> Curve:
    """Speculation gives nothing at any n: step time grows exactly as the tokens per step do."""
    p = positions(rng.uniform(0.1, 0.95), rng.uniform(0.9, 1.0), 8)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    scale = math.exp(rng.uniform(1, 8))
    return one_level(f"flat-{index}", dict.fromkeys(range(9), scale), {n: counters_for(kind, p, n) for n in range(9)})


def engine_physics(rng: Random, index: int) -> Curve:
    """Step times from memory traffic, arithmetic and launch costs; acceptance of easy and hard tokens mixed.

    A verification step streams the weights once and computes (n+1) x batch rows, padded to a tile; past the largest
    captured graph every step pays for its launches. Two levels share the weights, not the batch.
    """
    top = int(rng.integers(4, 11))
    ns = list(range(top + 1))
    concurrencies = (1,) if rng.random() < 0.5 else (1, int(rng.choice([4, 8, 16, 32])))
    easy, hard, share = rng.uniform(0.75, 0.98), rng.uniform(0.05, 0.6), rng.uniform(0.2, 0.9)
    p = share * easy ** np.arange(1, top + 1) + (1 - share) * hard ** np.arange(1, top + 1)
    memory, rows_per_stream = 1.0, rng.uniform(8, 200)
    tile = int(rng.choice([1, 8, 16]))
    graph_rows, launches = int(rng.choice([8, 16, 32, 256])), rng.uniform(0.05, 0.5)
    draft = rng.uniform(0.01, 0.1)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    scale = math.exp(rng.uniform(1, 6))
    points = {}
    for n in ns:
        speeds = []
        for concurrency in concurrencies:
            rows = math.ceil((n + 1) * concurrency / tile) * tile
            step = max(memory, rows / rows_per_stream) + 0.1 * rows / rows_per_stream + draft * n
            step += launches * (rows > graph_rows)
            speeds.append(scale * concurrency * (1 + p[:n].sum()) / step * math.exp(0.004 * rng.normal()))
        points[n] = Point(tuple(speeds), tuple(counters_for(kind, p * rng.uniform(0.98, 1), n) for _ in concurrencies))
    return Curve(f"engine-physics-{index}", concurrencies, points)


def smooth_random(rng: Random, index: int) -> Curve:
    """No physics at all: a random smooth log speed, counters that say nothing about it for a third of the curves."""
    top = int(rng.integers(3, 13))
    ns = np.arange(top + 1)
    distance = np.subtract.outer(ns, ns) / rng.uniform(1.5, 5)
    covariance = rng.uniform(0.05, 0.4) ** 2 * np.exp(-0.5 * distance**2) + 1e-9 * np.eye(top + 1)
    log_speed = rng.multivariate_normal(np.zeros(top + 1), covariance) + rng.uniform(-0.05, 0.15) * np.sqrt(ns)
    p = positions(rng.uniform(0.3, 0.95), rng.uniform(0.85, 1.0), top)
    kind = str(rng.choice(["none", "rate", "perPosition"]))
    scale = math.exp(rng.uniform(0, 9))
    speeds = {int(n): scale * math.exp(log_speed[n]) for n in ns}
    return one_level(f"smooth-random-{index}", speeds, {int(n): counters_for(kind, p, int(n)) for n in ns})


def plain(rng: Random, index: int) -> Curve:
    """Drafters of every quality with at most one cliff, n 0..8: what most machines show."""
    ns = range(9)
    rate = rng.uniform(0.05, 0.4) if rng.random() < 0.15 else rng.uniform(0.5, 0.92)
    p = rate ** np.arange(1, 9)
    slope = rng.uniform(0.15, 0.6) if rng.random() < 0.25 else rng.uniform(0.02, 0.1)
    cliff_at, jump = (int(rng.integers(2, 9)), rng.uniform(0.1, 0.5)) if rng.random() < 0.3 else (99, 0.0)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    scale = math.exp(rng.uniform(2, 7))
    speeds = {n: scale * (1 + p[:n].sum()) / (1 + slope * n + jump * (n >= cliff_at)) for n in ns}
    return one_level(f"plain-{index}", speeds, {n: counters_for(kind, p, n) for n in ns})


def slow_first_boot(rng: Random, index: int) -> Curve:
    """The first boot, that of n=0, is slow by 5-20 %; on half of the curves speculation gives nothing at any n."""
    curve = flat(rng, index) if index % 2 else generated(rng, index)
    return replace(curve, name=f"slow-first-boot-{index}", first_boot=1 - rng.uniform(0.05, 0.2))


def flat_slow_first_boot(rng: Random, index: int) -> Curve:
    """Speculation gives nothing at any n, and the first boot is slow by 15 %."""
    return replace(flat(rng, index), name=f"flat-slow-first-boot-{index}", first_boot=0.85)


def slower_machine(rng: Random, index: int) -> Curve:
    """The machine is slower by 15-20 % from the second boot on; speculation gains 5-40 % at the best n."""
    while not 1.05 <= (curve := generated(rng, index)).score(curve.best) / curve.score(0) <= 1.4:
        pass
    return replace(curve, name=f"slower-machine-{index}", later_boots=1 - rng.uniform(0.15, 0.2))


def levels_disagree(rng: Random, index: int) -> Curve:
    """Two to four levels: alone a step is bound by memory, together by arithmetic, so that their best n lie apart."""
    concurrencies = tuple(int(2**power) for power in sorted(rng.choice(7, size=rng.integers(2, 5), replace=False)))
    top = int(rng.integers(4, 11))
    p = positions(rng.uniform(0.5, 0.95), rng.uniform(0.88, 1.0), top)
    overhead, slope = rng.uniform(0.0, 0.1), rng.uniform(0.01, 0.06)
    knee = rng.uniform(8, 128)
    kind = str(rng.choice(["none", "rate", "perPosition", "perPosition"]))
    scale = math.exp(rng.uniform(1, 7))
    points = {}
    for n in range(top + 1):
        steps = [
            max(1.0, c * (n + 1) / knee) / max(1.0, c / knee) + overhead * (n > 0) + slope * n for c in concurrencies
        ]
        speeds = tuple(
            scale * c**0.8 * (1 + p[:n].sum()) / step * math.exp(0.004 * rng.normal())
            for c, step in zip(concurrencies, steps, strict=True)
        )
        points[n] = Point(speeds, tuple(counters_for(kind, p, n) for _ in concurrencies))
    return Curve(f"levels-disagree-{index}", concurrencies, points)
