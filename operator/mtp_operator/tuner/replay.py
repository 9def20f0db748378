"""The tuner's loop on recorded curves: a laboratory that knows the truth, so that boots and regret can be counted."""

import csv
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from mtp_operator.measures.quantities import Level, Record

from .step import next_step
from .tokens_per_step import Array
from .tuner_records import (
    Acceptance,
    Arm,
    LevelMeasurement,
    Measure,
    Settings,
    Verdict,
    describe_error,
)

WINDOWS = 8
COLUMNS = ("curve", "concurrency", "n_spec", "tokens_per_second", "acceptance_rate", "per_position_acceptance")


class Noise(Record):
    """What a replay adds to recorded speeds; standard deviations as shares of the speed."""

    boot: Annotated[float, Field(ge=0, le=1)] = 0.002
    run: Annotated[float, Field(ge=0, le=0.3)] = 0.01
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Curve:
    """A recorded curve: by n, what was measured at each level."""

    name: str
    points: dict[int, dict[int, LevelMeasurement]]
    """n -> concurrency -> one window with the recorded speed, and its counters."""

    @property
    def concurrencies(self) -> tuple[int, ...]:
        """The levels, ascending."""
        return tuple(sorted(next(iter(self.points.values()))))

    @property
    def baseline(self) -> int:
        """The lowest n."""
        return min(self.points)

    def speed(self, n: int) -> float:
        """Recorded objective of an n: the geometric mean over levels, in tokens per second."""
        speeds = [level.windows[0] for level in self.points[n].values()]
        return math.exp(sum(math.log(speed) for speed in speeds) / len(speeds))

    @property
    def best(self) -> int:
        """The fastest n; of equals the smallest."""
        return max(sorted(self.points), key=self.speed)

    def regret(self, n: int) -> float:
        """Share of the best recorded speed that is lost at an n."""
        return 1 - self.speed(n) / self.speed(self.best)

    def settings(self, max_trials: int) -> Settings:
        """Settings that allow every recorded n, all levels of the same weight."""
        levels = tuple(Level(concurrency=concurrency) for concurrency in self.concurrencies)
        return Settings(n_specs=tuple(sorted(self.points)), max_trials=max_trials, levels=levels)

    def boot(self, n: int, boot: int, repeat: int, noise: Noise) -> Arm:
        """What a boot would show: the same whatever was booted before it."""
        random = np.random.default_rng((noise.seed, zlib.crc32(self.name.encode()), repeat, n, boot))
        factor = math.exp(noise.boot * random.normal())
        levels = []
        for concurrency in self.concurrencies:
            recorded = self.points[n][concurrency]
            windows = recorded.windows[0] * factor * (1 + noise.run * random.normal(size=WINDOWS))
            levels.append(
                LevelMeasurement(
                    concurrency=concurrency,
                    windows=tuple(float(max(window, 1e-3 * recorded.windows[0])) for window in windows),
                    acceptance=recorded.acceptance,
                )
            )
        return Arm(n_spec=n, boot=boot, levels=tuple(levels))


@dataclass(frozen=True)
class Run:
    """One tuning of one curve."""

    curve: Curve
    repeat: int
    n_spec: int
    trace: tuple[int, ...]
    """The n booted, in order."""
    steps: tuple[tuple[Measure, Arm], ...] = ()
    """What was asked for and what it showed; only for the tuner."""
    verdict: Verdict | None = None
    """Only for the tuner."""

    @property
    def regret(self) -> float:
        """Share of the best speed that is lost."""
        return self.curve.regret(self.n_spec)

    @property
    def true_speedup(self) -> float:
        """Recorded speed at the chosen n over that of the lowest."""
        return self.curve.speed(self.n_spec) / self.curve.speed(self.curve.baseline)


class Summary(Record):
    """All runs of one strategy."""

    runs: int
    mean_boots: float
    share_of_double_sweep: float
    """Boots over those of a sweep of two boots an n."""
    mean_regret: float
    p99_regret: float
    worst_regret: float
    wrongly_on: float | None
    """Share of the runs that chose n>0, over curves where n=0 is best; absent without such curves."""
    interval_coverage: float | None
    """Share of the reported intervals that hold the recorded speed-up; absent without intervals."""


def read_curves(lines: Iterable[str]) -> tuple[Curve, ...]:
    """Parse recorded curves.

    Raises:
        ValueError: the message names the row (the header is row 1) and the column.
    """
    reader = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"row 1: column {missing[0]} is missing; needed are {', '.join(COLUMNS)}")
    points: dict[str, dict[int, dict[int, LevelMeasurement]]] = {}
    for row in reader:
        try:
            n, level = _point(row)
            levels = points.setdefault(_text(row, "curve"), {}).setdefault(n, {})
            if level.concurrency in levels:
                raise ValueError(f"column n_spec: {n} at concurrency {level.concurrency} is given twice for this curve")
        except ValueError as error:
            raise ValueError(f"row {reader.line_num}, {error}") from None
        levels[level.concurrency] = level
    if not points:
        raise ValueError("row 2: there are no curves")
    for name, curve in points.items():
        everywhere = {concurrency for levels in curve.values() for concurrency in levels}
        for n, levels in curve.items():
            if lacking := everywhere - set(levels):
                raise ValueError(f"curve {name}: n_spec {n} has no row with concurrency {min(lacking)}")
    return tuple(Curve(name, curve) for name, curve in points.items())


def tune(curve: Curve, repeat: int, noise: Noise, max_trials: int) -> Run:
    """Let the tuner decide which n to boot until it has its verdict."""
    settings = curve.settings(max_trials)
    steps: list[tuple[Measure, Arm]] = []
    while isinstance(step := next_step([arm for _, arm in steps], settings), Measure):
        steps.append((step, curve.boot(step.n_spec, step.boot, repeat, noise)))
    trace = tuple(arm.n_spec for _, arm in steps)
    return Run(curve, repeat, step.n_spec, trace, tuple(steps), step)


def fastest(curve: Curve, repeat: int, noise: Noise, trace: Sequence[int]) -> Run:
    """Boot a given list and choose the n with the highest mean."""
    speeds: dict[int, list[float]] = {}
    for n in trace:
        speeds.setdefault(n, []).append(log_speed(curve.boot(n, len(speeds.get(n, ())), repeat, noise)))
    best = max(sorted(speeds), key=lambda n: sum(speeds[n]) / len(speeds[n]))
    return Run(curve, repeat, best, tuple(trace))


def log_speed(arm: Arm) -> float:
    """Logarithm of the geometric mean over levels of the mean window."""
    return sum(math.log(sum(level.windows) / len(level.windows)) for level in arm.levels) / len(arm.levels)


def sweep(boots: int) -> Callable[[Curve], tuple[int, ...]]:
    """The list that boots every n so often."""
    return lambda curve: tuple(sorted(curve.points)) * boots


def fixed_list(curve: Curve) -> tuple[int, ...]:
    """{0, 2, 3, 4, 6, max}, as far as recorded."""
    return tuple(sorted({0, 2, 3, 4, 6, max(curve.points)} & set(curve.points)))


def summarised(runs: Sequence[Run]) -> Summary:
    """Boots, regret and errors over runs."""
    regrets: Array = np.array([run.regret for run in runs])
    boots = sum(len(run.trace) for run in runs)
    off = [run.n_spec > 0 for run in runs if run.curve.best == 0]
    covered = [
        run.verdict.speedup.low <= run.true_speedup <= run.verdict.speedup.high
        for run in runs
        if run.verdict is not None and run.verdict.speedup is not None
    ]
    return Summary(
        runs=len(runs),
        mean_boots=boots / len(runs),
        share_of_double_sweep=boots / sum(2 * len(run.curve.points) for run in runs),
        mean_regret=float(regrets.mean()),
        p99_regret=float(np.quantile(regrets, 0.99)),
        worst_regret=float(regrets.max()),
        wrongly_on=sum(off) / len(off) if off else None,
        interval_coverage=sum(covered) / len(covered) if covered else None,
    )


def runs_of(curves: Iterable[Curve], repeats: int) -> Iterator[tuple[Curve, int]]:
    """Every curve in every repeat."""
    return ((curve, repeat) for curve in curves for repeat in range(repeats))


def _point(row: dict[str, str | None]) -> tuple[int, LevelMeasurement]:
    n = _number(row, "n_spec")
    if n != int(n) or n < 0:
        raise ValueError(f"column n_spec: {n} is not a whole number of at least 0")
    concurrency = _number(row, "concurrency")
    if concurrency != int(concurrency) or concurrency < 1:
        raise ValueError(f"column concurrency: {concurrency} is not a whole number of at least 1")
    speed = _number(row, "tokens_per_second")
    if not 0 < speed < math.inf:
        raise ValueError(f"column tokens_per_second: {speed} is not a positive number")
    return int(n), LevelMeasurement(concurrency=int(concurrency), windows=(speed,), acceptance=_acceptance(row))


def _acceptance(row: dict[str, str | None]) -> Acceptance | None:
    for column, field in (("per_position_acceptance", "perPosition"), ("acceptance_rate", "rate")):
        text = (row[column] or "").strip()
        if not text:
            continue
        value = text.split(";") if field == "perPosition" else text
        try:
            return Acceptance.model_validate({field: value})
        except ValidationError as error:
            raise ValueError(f"column {column}: {describe_error(error)}") from None
    return None


def _text(row: dict[str, str | None], column: str) -> str:
    text = (row[column] or "").strip()
    if not text:
        raise ValueError(f"column {column}: is empty")
    return text


def _number(row: dict[str, str | None], column: str) -> float:
    text = _text(row, column)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"column {column}: {text!r} is not a number") from None
