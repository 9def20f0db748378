"""Judges the tuner by the protocol of `mtp tuner-step`: owns the curves, the noise, and the count of boots.

    python -m tests.perf.tuner_judge --families generated flat --noises 0.002 0.03 --count 400 --seed 1
    python -m tests.perf.tuner_judge --coverage          # 2,000 runs, noise between boots drawn from 1, 3, 5 and 7 %

Each family draws its curves from the seed: another seed is another set. The tuner's constants were compared on all of
these families, so none of them is unseen.

Three families are of machines that jump: `slow-first-boot` (and `flat-slow-first-boot`, of 15 % and where nothing is to
be gained), `slower-machine` from the second boot on, where much is to be gained; `levels-disagree` has several levels
whose best n lie apart. wronglyOff is the share of `SpeculationOff` where some n is faster than n=0.
"""

import argparse
import json
import math
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtp_operator.tuner.answer import answer
from tests.perf import tuner_curves
from tests.perf.tuner_curves import Curve, Family

FAMILIES: dict[str, Family] = {
    "public-like": tuner_curves.public_like,
    "generated": tuner_curves.generated,
    "adversarial": tuner_curves.adversarial,
    "flat": tuner_curves.flat,
    "plain": tuner_curves.plain,
    "engine-physics": tuner_curves.engine_physics,
    "smooth-random": tuner_curves.smooth_random,
    "slow-first-boot": tuner_curves.slow_first_boot,
    "flat-slow-first-boot": tuner_curves.flat_slow_first_boot,
    "slower-machine": tuner_curves.slower_machine,
    "levels-disagree": tuner_curves.levels_disagree,
}
RUN_NOISE = 0.01
WINDOWS = 8


@dataclass(frozen=True)
class Outcome:
    """One run on one curve."""

    curve: Curve
    noise: float
    verdict: dict[str, Any]
    trace: tuple[int, ...]

    @property
    def n_spec(self) -> int:
        """The n that the run ended with."""
        return int(self.verdict["nSpec"])

    @property
    def regret(self) -> float:
        """Share of the best speed that is lost."""
        return self.curve.regret(self.n_spec)

    @property
    def is_covered(self) -> bool:
        """Whether the reported interval holds the true speed-up."""
        truth = self.curve.score(self.n_spec) / self.curve.score(min(self.curve.points))
        return bool(self.verdict["speedup"]["low"] <= truth <= self.verdict["speedup"]["high"])

    @property
    def half_width(self) -> float:
        """Half the reported interval, as a share of the estimate."""
        interval = self.verdict["speedup"]
        return float((interval["high"] - interval["low"]) / 2 / interval["estimate"])


def boot(curve: Curve, n: int, index: int, noise: float, seed: int, jump: float = 1.0) -> dict[str, Any]:
    """One boot: its levels share the noise between boots and a jump of the machine, each window has its own noise."""
    random = np.random.default_rng((seed, zlib.crc32(curve.name.encode()), n, index))
    factor = jump * math.exp(noise * random.normal())
    point = curve.points[n]
    levels = [
        {
            "concurrency": concurrency,
            "windows": [speed * factor * (1 + RUN_NOISE * g) for g in random.normal(size=WINDOWS)],
            "acceptance": counters,
        }
        for concurrency, speed, counters in zip(curve.concurrencies, point.speeds, point.acceptance, strict=True)
    ]
    return {"nSpec": n, "boot": index, "levels": levels}


def tune(curve: Curve, noise: float, seed: int, max_trials: int = 12) -> Outcome:
    """Play the protocol, line by line, until the verdict."""
    settings = {
        "nSpecs": list(curve.points),
        "maxTrials": max_trials,
        "levels": [{"concurrency": concurrency, "weight": 1} for concurrency in curve.concurrencies],
    }
    arms: list[dict[str, Any]] = []
    while True:
        step = json.loads(answer(json.dumps({"settings": settings, "arms": arms}))[0])
        trace = tuple(arm["nSpec"] for arm in arms)
        if "verdict" in step:
            return Outcome(curve, noise, step["verdict"], trace)
        n = step["measure"]["nSpec"]
        if len(arms) == max_trials:
            raise AssertionError(f"{curve.name}: over budget")
        jump = curve.later_boots if arms else curve.first_boot
        arms.append(boot(curve, n, trace.count(n), noise, seed, jump))


def sweep_regret(curve: Curve, noise: float, seed: int, boots: int) -> float:
    """Regret of booting every n so often and choosing the highest mean."""
    means = {
        n: np.mean(
            [
                np.mean([math.log(np.mean(level["windows"])) for level in boot(curve, n, index, noise, seed)["levels"]])
                for index in range(boots)
            ]
        )
        for n in curve.points
    }
    return curve.regret(max(sorted(means), key=lambda n: float(means[n])))


def curves_of(family: str, count: int, seed: int) -> list[Curve]:
    """The curves of a family that a seed stands for."""
    return [
        FAMILIES[family](np.random.default_rng((seed, zlib.crc32(family.encode()), index)), index)
        for index in range(count)
    ]


def report(name: str, outcomes: Sequence[Outcome], once: float) -> str:
    """One line of figures."""
    regrets = np.array([outcome.regret for outcome in outcomes])
    boots = sum(len(outcome.trace) for outcome in outcomes) / sum(2 * len(outcome.curve.points) for outcome in outcomes)
    off = [outcome.n_spec > 0 for outcome in outcomes if outcome.curve.best == 0]
    selected = [outcome for outcome in outcomes if outcome.verdict["type"] == "Selected"]
    wrong = f"{np.mean(off):.1%} of {len(off)}" if off else "-"
    faster = [outcome.verdict["type"] == "SpeculationOff" for outcome in outcomes if outcome.curve.best > 0]
    wrongly_off = f"{np.mean(faster):.1%} of {len(faster)}" if faster else "-"
    interval = "-"
    if selected:
        covered = np.mean([outcome.is_covered for outcome in selected])
        half = np.median([outcome.half_width for outcome in selected])
        with_one = sum(outcome.verdict["speedup"]["low"] <= 1 for outcome in selected)
        interval = f"covers {covered:.1%} ±{half:.1%}, {with_one} with 1"
    return (
        f"{name:22s} regret {regrets.mean():.3%} p99 {np.quantile(regrets, 0.99):.2%} worst {regrets.max():.2%} | "
        f"boots {boots:.3f} | once: regret {once:.3%} | wronglyOn {wrong} wronglyOff {wrongly_off} | "
        f"Selected {len(selected) / len(outcomes):.0%} {interval}"
    )


def judge(families: Iterable[str], noises: Sequence[float], count: int, seed: int) -> None:
    """Print one line for each family and noise."""
    for family in families:
        for noise in noises:
            curves = curves_of(family, count, seed)
            outcomes = [tune(curve, noise, seed) for curve in curves]
            once = float(np.mean([sweep_regret(curve, noise, seed, 1) for curve in curves]))
            print(report(f"{family} {noise:.1%}", outcomes, once), flush=True)


def judge_coverage(family: str, count: int, seed: int) -> None:
    """Print the coverage of the intervals of one family over all noises, and at each."""
    noises = np.random.default_rng(seed).choice([0.01, 0.03, 0.05, 0.07], size=count)
    curves = curves_of(family, count, seed)
    outcomes = [tune(curve, float(noise), seed) for curve, noise in zip(curves, noises, strict=True)]
    for noise in (None, 0.01, 0.03, 0.05, 0.07):
        some = [outcome for outcome in outcomes if noise in (None, outcome.noise)]
        print(report(f"{family} {'all' if noise is None else f'{noise:.0%}'}", some, math.nan), flush=True)


def measure_time(count: int) -> None:
    """Print the time of tuner-steps on curves of nine arms."""
    curves = curves_of("generated", count // 4, seed=5)
    start = time.perf_counter()
    steps = 0
    for curve in curves:
        steps += len(tune(curve, 0.03, 5).trace) + 1
        if steps >= count:
            break
    seconds = time.perf_counter() - start
    print(f"{steps} tuner-steps in {seconds:.1f} s: {1000 * seconds / steps:.1f} ms each")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--noises", nargs="+", type=float, default=[0.002, 0.03])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true", help="2,000 runs on generated curves")
    parser.add_argument("--time", action="store_true", help="2,000 steps on curves of nine arms")
    options = parser.parse_args()
    if options.time:
        measure_time(2000)
    elif options.coverage:
        judge_coverage("generated", 2000, options.seed)
    else:
        judge(options.families, options.noises, options.count, options.seed)


if __name__ == "__main__":
    main()
