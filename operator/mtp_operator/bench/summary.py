"""What is told of the answers of a level: latencies, limits, categories. Pure.

docs/explanation/how-speed-is-measured.md has the formulas.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, quantiles
from typing import Final

from mtp_operator.api.spec import LatencyConstraint
from mtp_operator.api.trial_documents import Latencies, LatencySummary
from mtp_operator.measures.quantities import LatencyCount

from .steady import Pass
from .stream import Completion

LUMP_SHARE: Final = 0.9
"""Share of a stream in one arrival at its end from which on the stream says nothing about when tokens were made."""

LUMPY_STREAMS_LIMIT: Final = 0.05
"""Share of such streams from which on the times of tokens cannot be told. A pause of the machine makes a few, and P95,
the quantile that limits ask about, withstands as many; an engine or a proxy that withholds tokens does so in most."""

FIRST_SHARE: Final = 0.15
"""Share of a stream in its first arrival from which on that says nothing about when its first token was made."""

TOKENS_TOGETHER: Final = 4
"""Times what a step gives that a message may hold: some tokens are no whole character, and wait for the next."""

UNKNOWN_TOKENS_PER_STEP: Final = 4.0
"""What a step is taken to give where nothing tells it: a good drafter gives as much."""

SHORTEST_STREAM_TOKENS: Final = 32
"""Speculation may bring a shorter answer in one step."""

_QUANTITIES: Final[Mapping[str, Callable[[Completion, float | None], float | None]]] = {
    "TimeToFirstToken": lambda answer, _: answer.first_token_seconds,
    "TimePerOutputToken": lambda answer, tokens_per_step: _time_per_output_token(answer, tokens_per_step),
    "RequestLatency": lambda answer, _: answer.seconds,
}
"""The latencies of one answer, in seconds, under the names that limits have, by the tokens that a step gives."""

_OF_TOKENS: Final = ("TimeToFirstToken", "TimePerOutputToken")

_UNCOUNTED: Final = "there are answers that do not say how many tokens they have (usage.completion_tokens)"


def hidden_times(answers: Sequence[Completion], tokens_per_step: float | None) -> str | None:
    """Why these streams do not say when their tokens were made, if so.

    Args:
        answers: that were streamed.
        tokens_per_step: that the engine gave a request in a step; None where that is unknown.
    """
    long = [one for one in answers if one.output_tokens is None or one.output_tokens >= SHORTEST_STREAM_TOKENS]
    limit = _tokens_of_a_message(tokens_per_step)
    kept_back = {
        f"delivered {LUMP_SHARE:.0%} of their text or more in the final chunk": (
            sum(one.last_arrival_share >= LUMP_SHARE for one in long)
        ),
        f"delivered {FIRST_SHARE:.0%} of their text or more in the first chunk": (
            sum(_begins_with_many(one, tokens_per_step) for one in long)
        ),
        f"delivered a message for more than {limit:.1f} tokens": (
            sum((one.output_tokens or 0) > limit * one.messages > 0 for one in long)
        ),
    }
    for how, streams in kept_back.items():
        if streams > max(1, LUMPY_STREAMS_LIMIT * len(long)):
            return (
                f"{streams} of {len(long)} streams {how}: the engine, or something between it and its client, "
                "withholds tokens (parsers of reasoning and tool calls, buffers of a proxy), or the bench waited for a "
                "CPU meanwhile (other load on the node)"
            )
    return None


def latencies(answers: Sequence[Completion], tokens_per_step: float | None = None) -> Latencies:
    """Mean and quantiles of the latencies."""
    hidden = hidden_times(answers, tokens_per_step)
    reported = {
        name: _summary(_values(name, answers, tokens_per_step))
        for name in _QUANTITIES
        if not (hidden and name in _OF_TOKENS)
    }
    uncounted = any(one.output_tokens is None for one in answers)
    return Latencies(
        time_to_first_token=reported.get("TimeToFirstToken"),
        time_per_output_token=reported.get("TimePerOutputToken"),
        request_latency=reported.get("RequestLatency"),
        unmeasurable=hidden or (_UNCOUNTED if uncounted else None),
    )


def limit_counts(
    answers: Sequence[Completion], limits: Iterable[LatencyConstraint], tokens_per_step: float | None = None
) -> tuple[LatencyCount, ...]:
    """How many answers exceed each limit; nothing of a latency that cannot be measured."""
    hidden = hidden_times(answers, tokens_per_step)
    counts = []
    for limit in limits:
        name = limit.metric.value[len("P95") :]
        values = _values(name, answers, tokens_per_step)
        if values and not (hidden and name in _OF_TOKENS):
            counts.append(
                LatencyCount(
                    metric=limit.metric,
                    max_milliseconds=limit.max_milliseconds,
                    requests=len(values),
                    exceeding=sum(1000 * value > limit.max_milliseconds for value in values),
                )
            )
    return tuple(counts)


def categories(answers: Iterable[Completion]) -> dict[str, float]:
    """Category -> output tokens per second of one request: tokens over latency, both summed over its requests."""
    tokens: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for answer in answers:
        if answer.output_tokens is not None and answer.category:
            tokens[answer.category] += answer.output_tokens
            seconds[answer.category] += answer.seconds
    return {name: tokens[name] / seconds[name] for name in tokens if seconds[name] > 0}


def interactivity(passes: Sequence[Pass], tokens_per_step: float | None = None) -> tuple[float, ...]:
    """Of each pass, the mean over its answers of 1 / time per output token; empty where one has none."""
    answers = [answer for one in passes for answer in one.answers]
    if hidden_times(answers, tokens_per_step):
        return ()
    means = []
    for one in passes:
        times = [time for time in _values("TimePerOutputToken", one.answers, tokens_per_step) if time > 0]
        if not times:
            return ()
        means.append(fmean(1 / time for time in times))
    return tuple(means)


def _tokens_of_a_message(tokens_per_step: float | None) -> float:
    return TOKENS_TOGETHER * (tokens_per_step or UNKNOWN_TOKENS_PER_STEP)


def _begins_with_many(answer: Completion, tokens_per_step: float | None) -> bool:
    """Whether its first arrival holds more than steps and characters explain."""
    share = _tokens_of_a_message(tokens_per_step) / (answer.output_tokens or math.inf)
    return answer.first_arrival_share >= max(FIRST_SHARE, share)


def _time_per_output_token(answer: Completion, tokens_per_step: float | None) -> float | None:
    """In seconds; of a stream whose first arrival holds many tokens, the mean over those that came after it."""
    seconds = answer.seconds_per_output_token
    if seconds is None or not _begins_with_many(answer, tokens_per_step):
        return seconds
    later_share = 1 - answer.first_arrival_share
    return seconds / later_share if later_share > 0 else None


def _values(name: str, answers: Iterable[Completion], tokens_per_step: float | None) -> list[float]:
    values = (_QUANTITIES[name](answer, tokens_per_step) for answer in answers)
    return [value for value in values if value is not None]


def _summary(seconds: Sequence[float]) -> LatencySummary | None:
    """Quantiles by linear interpolation between order statistics (type 7 of Hyndman and Fan 1996, numpy's default)."""
    if not seconds:
        return None
    times = [1000 * value for value in seconds]
    cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return LatencySummary(mean=fmean(times), p50=cuts[49], p95=cuts[94], p99=cuts[98])
