"""The verdict and the sentence that a person reads."""

import math
from collections.abc import Iterable
from statistics import fmean

from .beliefs import TAILS_AT_THE_END, noise_between_boots, speedup
from .curve import Posterior
from .evidence import Evidence, typical
from .records import BestAtLevel, Measure, ParetoPoint, Speedup, Verdict, VerdictType

DRIFT_SIGMA = 3.0
"""The baseline's first and last boot may differ by this many standard deviations of a difference."""
LEVELS_DISAGREE = 0.05
"""A schedule by batch size is named if some level would gain more than this with an n of its own."""


def without_baseline(evidence: Evidence) -> Verdict:
    """Nothing can be said: the baseline was not measured."""
    baseline = evidence.settings.baseline
    reason = evidence.failed.get(baseline)
    because = f"could not be booted ({reason})" if reason else "was not measured: the budget allows no boot"
    return Verdict(
        type=VerdictType.INCONCLUSIVE, n_spec=baseline, message=f"n={baseline}, which all is compared with, {because}."
    )


def conclude(
    evidence: Evidence, posterior: Posterior, choice: int, *, is_proven: bool, prevented: Measure | None
) -> Verdict:
    """The verdict once no more boot is made.

    Args:
        evidence: all arms.
        posterior: over the grid.
        choice: position in the grid of the n that is best to the best of knowledge.
        is_proven: whether it is faster than the baseline beyond doubt.
        prevented: the boot that the budget did not allow.
    """
    baseline, n = evidence.grid[0], evidence.grid[choice]
    drift = _drift(evidence)
    gain = speedup(posterior, choice, TAILS_AT_THE_END, abs(drift) / 2)
    is_selected = choice != 0 and is_proven and gain.low > 1
    if is_selected:
        kind, headline = VerdictType.SELECTED, f"n={n} is {_times(gain)} as fast as n={baseline}"
    elif choice:
        kind = VerdictType.INCONCLUSIVE
        headline = f"n={n} may be {_times(gain)} as fast as n={baseline}, which is no proof; n={baseline} stays"
    elif baseline:
        kind = VerdictType.INCONCLUSIVE
        headline = f"no n measured is faster than n={baseline}, which stays; n=0 was not to be measured"
    else:
        kind, headline = VerdictType.SPECULATION_OFF, _off(evidence, posterior)
    chosen = n if is_selected else baseline
    best = best_per_level(evidence)
    sentences = [
        f"{headline}; {_effort(evidence, posterior)}",
        *_drift_sentence(baseline, drift),
        *_level_sentences(evidence, chosen, best),
        *_failure_sentence(evidence),
        *([f"The budget did not allow the next boot: {prevented.why}"] if prevented else []),
    ]
    return Verdict(
        type=kind,
        n_spec=chosen,
        speedup=gain if is_selected else None,
        message=". ".join(sentence[0].upper() + sentence[1:] if i else sentence for i, sentence in enumerate(sentences))
        + ".",
        noise_between_boots="measured" if _is_noise_measured(evidence) else "assumed",
        best_n_spec_per_level=best,
        pareto=pareto(evidence),
    )


def best_per_level(evidence: Evidence) -> tuple[BestAtLevel, ...]:
    """The eligible n that is best at each level alone, by the same model."""
    found = []
    eligible = [point for point, n in enumerate(evidence.grid) if evidence.eligible(n)]
    for level in evidence.settings.levels:
        mean = evidence.only_level(level.concurrency).posterior().mean
        best = max(eligible, key=lambda point: (mean[point], -point))
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
        if evidence.eligible(n)
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


def _drift(evidence: Evidence) -> float:
    """Logarithm of last over first boot of the baseline, if that is more than noise between boots explains; else 0.

    The noise is what all other boots tell.
    """
    boots = evidence.measured[evidence.settings.baseline]
    change = evidence.log_speed(boots[-1]) - evidence.log_speed(boots[0])
    if len(boots) < 2:
        return 0.0
    noise = math.sqrt(2) * noise_between_boots(evidence.posterior(baseline_boots=1))
    return change if abs(change) > DRIFT_SIGMA * noise else 0.0


def _off(evidence: Evidence, posterior: Posterior) -> str:
    others = [point for point, n in enumerate(evidence.grid) if point and n in evidence.measured]
    if not others:
        return "n=0 stays: nothing else could be measured"
    mean = posterior.mean
    best = max(others, key=lambda point: mean[point])
    gain = _times(speedup(posterior, best))
    return f"no n is faster than n=0; the best other one, n={evidence.grid[best]}, is {gain} as fast"


def _effort(evidence: Evidence, posterior: Posterior) -> str:
    noise = noise_between_boots(posterior)
    source = "measured" if _is_noise_measured(evidence) else "assumed, no n was booted twice"
    arms = sum(len(arms) for arms in evidence.measured.values())
    return f"{arms} boots of {len(evidence.measured)} n, noise between boots {noise:.1%} ({source})"


def _is_noise_measured(evidence: Evidence) -> bool:
    return any(len(arms) > 1 for arms in evidence.measured.values())


def _drift_sentence(baseline: int, drift: float) -> Iterable[str]:
    if drift:
        change = f"{math.expm1(drift):+.1%}"
        yield f"n={baseline} drifted by {change} from its first boot to its last; the interval is wider for it"


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
    if evidence.failed:
        yield "not measured: " + ", ".join(f"n={n} ({reason})" for n, reason in sorted(evidence.failed.items()))


def _times(gain: Speedup) -> str:
    return f"{gain.estimate:.2f} times (95 % interval {gain.low:.2f} to {gain.high:.2f})"
