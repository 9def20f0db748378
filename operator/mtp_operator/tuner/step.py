"""The next boot, or the verdict."""

import math
from collections.abc import Sequence
from statistics import fmean

from .records import Arm, Measure, Settings, Speedup, Verdict, VerdictType

ASSUMED_BOOT_NOISE = 0.05


def next_step(arms: Sequence[Arm], settings: Settings) -> Measure | Verdict:
    """Measure the baseline, then every other n, largest first; then choose the fastest if it beats the baseline."""
    baseline = settings.baseline
    tried = {arm.n_spec for arm in arms}
    waiting = [baseline, *sorted(set(settings.n_specs) - {baseline}, reverse=True)]
    spent = sum(arm.gpu_minutes or 0 for arm in arms)
    affordable = settings.max_gpu_minutes is None or spent < settings.max_gpu_minutes
    for n in waiting:
        if n not in tried and len(arms) < settings.max_trials and affordable:
            return Measure(n_spec=n, boot=0, why=f"n={n} has not been measured yet")
    failed = {arm.n_spec for arm in arms if arm.failed is not None}
    score: dict[int, list[float]] = {}
    weights = {level.concurrency: level.weight for level in settings.levels}
    for arm in arms:
        if arm.n_spec not in failed and arm.output_verified:
            total = sum(weights[level.concurrency] * math.log(fmean(level.windows)) for level in arm.levels)
            score.setdefault(arm.n_spec, []).append(total / sum(weights.values()))
    if baseline not in score:
        return Verdict(
            type=VerdictType.INCONCLUSIVE, n_spec=baseline, message=f"n={baseline} could not be measured."
        )
    best = max(sorted(score), key=lambda n: fmean(score[n]))
    gain = fmean(score[best]) - fmean(score[baseline])
    half = 1.96 * ASSUMED_BOOT_NOISE * math.sqrt(1 / len(score[best]) + 1 / len(score[baseline]))
    if best == baseline:
        return Verdict(
            type=VerdictType.SPECULATION_OFF if baseline == 0 else VerdictType.SELECTED,
            n_spec=baseline,
            message=f"n={baseline} is the fastest of those measured.",
        )
    if gain <= half:
        return Verdict(
            type=VerdictType.INCONCLUSIVE,
            n_spec=baseline,
            message=f"n={best} looks {math.expm1(gain):+.1%} faster than n={baseline}, within the noise between boots.",
        )
    return Verdict(
        type=VerdictType.SELECTED,
        n_spec=best,
        speedup=Speedup(estimate=math.exp(gain), low=math.exp(gain - half), high=math.exp(gain + half)),
        message=f"n={best} is {math.exp(gain):.2f} times as fast as n={baseline}.",
    )
