"""The verdict and the sentence that a person reads."""

import math
from collections.abc import Iterable
from statistics import fmean

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
        because = f"failed ({failed}), and the budget allows no other boot" if failed else "was not measured: no budget"
    message = f"n={baseline}, which all is compared with, {because}."
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
        f"{_headline(evidence, posterior, choice, gain, kind, is_faster=is_faster)}; {_effort(evidence, posterior)}",
        *_baseline_sentences(evidence, change, is_confirmed=is_confirmed),
        *_slower_sentence(evidence, posterior, choice),
        *_level_sentences(evidence, chosen, best),
        *_failure_sentence(evidence),
        *([f"The budget did not allow the next boot: {prevented.why}"] if prevented else []),
    ]
    return Verdict(
        type=kind,
        n_spec=chosen,
        speedup=gain if is_faster else None,
        reason=reason,
        message=". ".join(sentence[0].upper() + sentence[1:] if i else sentence for i, sentence in enumerate(sentences))
        + ".",
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
        return f"n={n} is {_times(gain)} as fast as n={baseline}{so_far}"
    if choice:
        return f"n={n} may be {_times(gain)} as fast as n={baseline}, which is no proof; n={baseline} stays"
    if baseline:
        return f"no n measured is faster than n={baseline}, which stays; n=0 was not to be measured"
    off = _off(evidence, posterior)
    return off if kind is VerdictType.SPECULATION_OFF else f"n=0 stays, without proof: {off}"


def _off(evidence: Evidence, posterior: Posterior) -> str:
    others = [point for point, n in enumerate(evidence.grid) if point and n in evidence.measured]
    if not others:
        return "n=0 stays: nothing else could be measured"
    mean = posterior.mean
    best = max(others, key=lambda point: mean[point])
    gain = _times(speedup(posterior, best))
    if mean[best] > mean[0] and evidence.grid[best] in evidence.slower_somewhere:
        return "no n is faster than n=0 without being slower at some level"
    return f"no n is faster than n=0; the best other one, n={evidence.grid[best]}, is {gain} as fast"


def _effort(evidence: Evidence, posterior: Posterior) -> str:
    noise = noise_between_boots(posterior)
    source = "measured" if _is_noise_measured(evidence) else "assumed, no n was booted twice"
    arms = sum(len(arms) for arms in evidence.measured.values())
    return f"{arms} boots of {len(evidence.measured)} n, noise between boots {noise:.1%} ({source})"


def _is_noise_measured(evidence: Evidence) -> bool:
    return any(len(arms) > 1 for arms in evidence.measured.values())


def _baseline_sentences(evidence: Evidence, change: float, *, is_confirmed: bool) -> Iterable[str]:
    baseline = evidence.settings.baseline
    if change:
        yield (
            f"the baseline, n={baseline}, drifted by {math.expm1(change):+.1%} from its first boot to a later one; "
            "the interval is wider for it"
        )
    if not is_confirmed:
        yield f"the baseline, n={baseline}, was booted once, which proves nothing"


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
            f"n={best} is {math.exp(ahead[best]):.2f} times as fast as n={evidence.grid[choice]} over all levels, but "
            f"{share:.2f} times n={evidence.settings.baseline} at concurrency {concurrency}, which slowerLevels forbids"
        )


def _level_sentences(evidence: Evidence, chosen: int, best: tuple[BestAtLevel, ...]) -> Iterable[str]:
    if len(best) < 2:
        return
    losses = [
        _speed(evidence, one.n_spec, one.concurrency) / _speed(evidence, chosen, one.concurrency) - 1 for one in best
    ]
    yield "best by level: " + ", ".join(f"n={one.n_spec} at concurrency {one.concurrency}" for one in best)
    if max(losses) > LEVELS_DISAGREE:
        yield f"a schedule of n by batch size would gain up to {max(losses):.0%} at a level"


def _failure_sentence(evidence: Evidence) -> Iterable[str]:
    failed = sorted((n, reason) for n, reason in evidence.failed.items() if n not in evidence.measured)
    if failed:
        yield "not measured: " + ", ".join(f"n={n} ({reason})" for n, reason in failed)
    baseline = evidence.settings.baseline
    if baseline in evidence.failed:
        yield f"the baseline, n={baseline}, failed {evidence.failures(baseline)} of {evidence.attempts(baseline)} times"


def _times(gain: Speedup) -> str:
    return f"{gain.estimate:.2f} times (95 % interval {gain.low:.2f} to {gain.high:.2f})"
