"""The verdict and the sentence that a person reads."""

import math
from collections.abc import Iterable
from statistics import fmean

from mtp_operator.measures import digits
from mtp_operator.measures.averages import typical

from .beliefs import TAILS_AT_THE_END, noise_between_boots, speedup
from .curve import Posterior
from .evidence import Evidence
from .tuner_records import (
    BASELINE_DRIFTED,
    BUDGET_EXHAUSTED,
    BestAtLevel,
    Measure,
    ParetoPoint,
    Speedup,
    Verdict,
    VerdictType,
)

DRIFT_SIGMA = 3.0
"""A later boot of the baseline may differ from its first by this many standard deviations of a difference."""
WORTH_ANOTHER_BOOT = 0.01
"""Log speed that a boot is expected to gain, where a search that ended without it has not come to its end."""
LEVELS_DISAGREE = 0.05
"""A schedule by batch size is named if some level would gain more than this with an n of its own."""


def without_baseline(evidence: Evidence) -> Verdict:
    """Nothing can be said: the baseline was not measured."""
    baseline = evidence.settings.baseline
    failed = evidence.failed.get(baseline)
    if evidence.is_baseline_given_up:
        kind, reason = VerdictType.FAILED, failed
        because = f"failed {evidence.failures(baseline)} times ({failed})"
    else:
        kind, reason = VerdictType.INCONCLUSIVE, BUDGET_EXHAUSTED
        because = (
            f"failed ({failed}), and the budget allows no other trial" if failed else "was not measured: no budget"
        )
    message = f"n_spec={baseline}, the baseline, {because}."
    return Verdict(type=kind, n_spec=baseline, reason=reason, message=message)


def conclude(
    evidence: Evidence,
    posterior: Posterior,
    choice: int,
    *,
    is_proven: bool,
    is_confirmed: bool,
    prevented: Measure | None,
) -> Verdict:
    """The verdict once no more boot is made.

    Args:
        evidence: all arms.
        posterior: over the grid.
        choice: position in the grid of the n that is best to the best of knowledge.
        is_proven: whether it is faster than the baseline beyond doubt.
        is_confirmed: whether the comparison does not hang on one boot of the baseline.
        prevented: the boot that the budget did not allow.
    """
    baseline, n = evidence.grid[0], evidence.grid[choice]
    change = drift(evidence)
    gain = speedup(posterior, choice, TAILS_AT_THE_END, abs(change) / 2)
    is_faster = choice != 0 and is_proven and is_confirmed and gain.low > 1
    is_slower = choice == 0 and baseline == 0 and is_confirmed and not _may_be_faster(evidence, posterior, change)
    is_cut_short = prevented is not None and (prevented.gain or 0.0) > WORTH_ANOTHER_BOOT
    kind, reason = VerdictType.INCONCLUSIVE, None
    if is_faster and not is_cut_short:
        kind = VerdictType.SELECTED
    elif is_slower and not is_cut_short:
        kind = VerdictType.SPECULATION_OFF
    elif prevented is not None:
        reason = BUDGET_EXHAUSTED
    elif change:
        reason = BASELINE_DRIFTED
    chosen = n if is_faster else baseline
    best = best_per_level(evidence)
    sentences = [
        _headline(evidence, posterior, choice, gain, kind, is_faster=is_faster),
        _effort(evidence, posterior),
        *_baseline_sentences(evidence, change, is_confirmed=is_confirmed),
        *_slower_sentence(evidence, posterior, choice),
        *_level_sentences(evidence, chosen, best),
        *_failure_sentence(evidence),
        *([f"Stopped by the budget; next would be {prevented.why}"] if prevented else []),
    ]
    return Verdict(
        type=kind,
        n_spec=chosen,
        speedup=gain if is_faster else None,
        reason=reason,
        message=". ".join(sentences) + ".",
        noise_between_boots="measured" if _is_noise_measured(evidence) else "assumed",
        noise=noise_between_boots(posterior),
        best_n_spec_per_level=best,
        pareto=pareto(evidence),
    )


def drift(evidence: Evidence) -> float:
    """Log of the speed of a later boot of the baseline over its first, where noise between boots does not explain it.

    Of several the largest change; 0 where noise explains it. The noise is what all other boots tell.
    """
    first, *later = (evidence.log_speed(arm) for arm in evidence.measured[evidence.settings.baseline])
    if not later:
        return 0.0
    change = max((speed - first for speed in later), key=abs)
    noise = math.sqrt(2) * noise_between_boots(evidence.posterior(baseline_boots=1))
    return change if abs(change) > DRIFT_SIGMA * noise else 0.0


def _may_be_faster(evidence: Evidence, posterior: Posterior, change: float) -> bool:
    """Whether some n is faster than a baseline that drifted, if that is slower than it seems by half the drift."""
    others = [point for point, n in enumerate(evidence.grid) if point and evidence.eligible(n)]
    ahead = max((float(posterior.mean[point] - posterior.mean[0]) for point in others), default=-math.inf)
    return bool(change) and ahead + abs(change) / 2 > 0


def best_per_level(evidence: Evidence) -> tuple[BestAtLevel, ...]:
    """The n that is best at each level alone, by the same model."""
    found = []
    sound = [point for point, n in enumerate(evidence.grid) if evidence.sound(n)]
    for level in evidence.settings.levels:
        mean = evidence.only_level(level.concurrency).posterior().mean
        best = max(sound, key=lambda point: (mean[point], -point))
        found.append(
            BestAtLevel(
                concurrency=level.concurrency,
                n_spec=evidence.grid[best],
                speedup=math.exp(float(mean[best] - mean[0])),
            )
        )
    return tuple(found)


def pareto(evidence: Evidence) -> tuple[ParetoPoint, ...]:
    """The measured pairs of n and level that no other pair beats in throughput and in speed per request."""
    points = [
        ParetoPoint(
            n_spec=n,
            concurrency=concurrency,
            output_tokens_per_second=speed,
            tokens_per_second_per_request=speed / concurrency,
        )
        for n in evidence.measured
        if evidence.sound(n)
        for concurrency in evidence.shares
        for speed in [_speed(evidence, n, concurrency)]
    ]
    return tuple(
        point
        for point in points
        if not any(
            other.output_tokens_per_second >= point.output_tokens_per_second
            and other.tokens_per_second_per_request >= point.tokens_per_second_per_request
            and other != point
            for other in points
        )
    )


def _speed(evidence: Evidence, n: int, concurrency: int) -> float:
    """Output tokens per second of an n at one level: mean over boots of the typical window."""
    return fmean(
        typical(level.windows)
        for arm in evidence.measured[n]
        for level in arm.levels
        if level.concurrency == concurrency
    )


def _headline(
    evidence: Evidence, posterior: Posterior, choice: int, gain: Speedup, kind: VerdictType, *, is_faster: bool
) -> str:
    baseline, n = evidence.grid[0], evidence.grid[choice]
    if is_faster:
        so_far = "" if kind is VerdictType.SELECTED else ", the fastest that is proven so far"
        return f"n_spec={n} is {_ratio(gain)} as fast as n_spec={baseline}{so_far}"
    if choice:
        return f"Not proven: n_spec={n} measured {_ratio(gain)}. Keeping n_spec={baseline}"
    if baseline:
        return f"No n_spec is faster than n_spec={baseline}, the lowest that was measured. Keeping n_spec={baseline}"
    off = _off(evidence, posterior)
    if kind is VerdictType.SPECULATION_OFF:
        return f"Speculation is off: {off}"
    return f"Keeping n_spec=0 without proof: {off}"


def _off(evidence: Evidence, posterior: Posterior) -> str:
    others = [point for point, n in enumerate(evidence.grid) if point and n in evidence.measured]
    if not others:
        return "nothing but n_spec=0 could be measured"
    mean = posterior.mean
    best = max(others, key=lambda point: mean[point])
    gain = _ratio(speedup(posterior, best))
    if mean[best] > mean[0] and evidence.grid[best] in evidence.slower_somewhere:
        return "no n_spec is faster than n_spec=0 at every level"
    return f"no n_spec is faster than n_spec=0; the best other one, n_spec={evidence.grid[best]}, reaches {gain}"


def _effort(evidence: Evidence, posterior: Posterior) -> str:
    noise = noise_between_boots(posterior)
    source = "measured" if _is_noise_measured(evidence) else "assumed: no n_spec has two trials"
    arms = sum(len(arms) for arms in evidence.measured.values())
    trials = f"{arms} trial" if arms == 1 else f"{arms} trials"
    values = len(evidence.measured)
    over = "1 value" if values == 1 else f"{values} values"
    return f"{trials} over {over} of n_spec; run-to-run noise {noise:.1%} ({source})"


def _is_noise_measured(evidence: Evidence) -> bool:
    return any(len(arms) > 1 for arms in evidence.measured.values())


def _baseline_sentences(evidence: Evidence, change: float, *, is_confirmed: bool) -> Iterable[str]:
    baseline = evidence.settings.baseline
    if change:
        yield (
            f"The baseline, n_spec={baseline}, drifted by {math.expm1(change):+.1%} from its first trial to a later "
            "one, which widens the interval"
        )
    if not is_confirmed:
        yield f"The baseline, n_spec={baseline}, has one trial only; a proof needs two"


def _slower_sentence(evidence: Evidence, posterior: Posterior, choice: int) -> Iterable[str]:
    """That a better n was not chosen because of a level, if one was not."""
    ahead = {
        n: float(posterior.mean[point] - posterior.mean[choice])
        for point, n in enumerate(evidence.grid)
        if evidence.sound(n) and n in evidence.slower_somewhere
    }
    best = max(ahead, key=lambda n: ahead[n], default=None)
    if best is not None and ahead[best] > 0:
        concurrency = evidence.slower_somewhere[best]
        share = _speed(evidence, best, concurrency) / _speed(evidence, evidence.settings.baseline, concurrency)
        yield (
            f"n_spec={best} is {math.exp(ahead[best]):.2f}x as fast as n_spec={evidence.grid[choice]} over all "
            "levels, but "
            f"only {share:.2f}x as fast as n_spec={evidence.settings.baseline} at concurrency {concurrency}, "
            "which slowerLevels forbids"
        )


def _level_sentences(evidence: Evidence, chosen: int, best: tuple[BestAtLevel, ...]) -> Iterable[str]:
    if len(best) < 2:
        return
    losses = [
        _speed(evidence, one.n_spec, one.concurrency) / _speed(evidence, chosen, one.concurrency) - 1 for one in best
    ]
    yield "Best by level: " + ", ".join(f"n_spec={one.n_spec} at concurrency {one.concurrency}" for one in best)
    if max(losses) > LEVELS_DISAGREE:
        yield f"An n_spec of its own for each level would gain up to {max(losses):.0%} at one of them"


def _failure_sentence(evidence: Evidence) -> Iterable[str]:
    failed = sorted((n, reason) for n, reason in evidence.failed.items() if n not in evidence.measured)
    if failed:
        yield "Not measured: " + ", ".join(f"n_spec={n} ({reason})" for n, reason in failed)
    baseline = evidence.settings.baseline
    if baseline in evidence.failed:
        times = f"{evidence.failures(baseline)} of {evidence.attempts(baseline)} times"
        yield f"The baseline, n_spec={baseline}, failed {times}"


def _ratio(gain: Speedup) -> str:
    return digits.with_interval(gain.estimate, gain.low, gain.high)
