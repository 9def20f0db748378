"""Warnings about trials that count all the same."""

from typing import Final

from .entry import Place, Reason, Who

_WARNING: Final = (Place.WARNING,)

WARNINGS: Final = (
    Reason(
        "Simulated",
        _WARNING,
        Who.NOBODY,
        "A simulated engine was measured: the figures are those of a recorded curve. Conclude nothing from them.",
        "Nothing in a demo. Use a real engine image to tune.",
        "no GPU was measured: the figures are those of the recorded curve gemma-4-31b",
    ),
    Reason(
        "DraftsInSomeSteps",
        _WARNING,
        Who.NOBODY,
        "The drafter skips steps, as n-grams, unsure drafters and llama.cpp's draft models do.",
        "Nothing.",
        "concurrency 1: 62% of the steps drafted; the others produced a single token",
    ),
    Reason(
        "DraftsFromAnswers",
        _WARNING,
        Who.NOBODY,
        "The engine's /metrics has no draft counters; those in its answers are used.",
        "Nothing.",
        "concurrency 1: the engine has no draft counters in /metrics",
    ),
    Reason(
        "UsageMissing",
        _WARNING,
        Who.NOBODY,
        "Some answers do not state how many tokens they have; the engine's counter is used.",
        "Nothing.",
        "concurrency 1: 2 of 120 answers do not state how many tokens they have",
    ),
    Reason(
        "UsageCountsMessages",
        _WARNING,
        Who.AUTHOR,
        "The server counts messages of the stream instead of tokens, so that the throughput shown may be too low.",
        "Use an engine version that counts tokens in usage.completion_tokens.",
        "concurrency 1: usage.completion_tokens is the number of messages in each stream",
    ),
    Reason(
        "MetricsMissing",
        _WARNING,
        Who.NOBODY,
        "The engine's /metrics has no counter of generated tokens; nothing shows whether other traffic reached it.",
        "Nothing.",
        "concurrency 1: the engine has no counter of its tokens in /metrics",
    ),
    Reason(
        "OtherRequests",
        _WARNING,
        Who.ADMINISTRATOR,
        "The engine generated more tokens than the bench received: other traffic reached it.",
        "Make sure that nothing else uses the engine, then run `kubectl mtp retune NAME`.",
        "concurrency 1: the engine generated 3100 tokens, the bench received 3000: other traffic reached it",
    ),
    Reason(
        "LatenciesUnmeasurable",
        _WARNING,
        Who.NOBODY,
        "Tokens arrive in bursts, so that the times of single tokens are not known. The throughput is right.",
        "Nothing, unless the objective has latency limits.",
        "concurrency 1: 40 of 40 streams delivered 90% of their text or more in the final chunk",
    ),
    Reason(
        "Noisy",
        _WARNING,
        Who.ADMINISTRATOR,
        "Throughput varies much from pass to pass; intervals are wide.",
        "Look for other load on the node.",
        "concurrency 1: the mean throughput has a standard error of 4.1%",
    ),
    Reason(
        "MaxTokensIgnored",
        _WARNING,
        Who.NOBODY,
        "Answers have more tokens than max_tokens allows.",
        "Nothing.",
        "concurrency 1: 3 of 120 answers have more than the 512 tokens asked for",
    ),
    Reason(
        "NoText",
        _WARNING,
        Who.NOBODY,
        "Answers have tokens but no text: a parser of the engine withholds it.",
        "Nothing. Check the engine's reasoning and tool parsers if clients see empty answers, too.",
        "concurrency 1: 5 of 120 answers have tokens but no text",
    ),
    Reason(
        "CachedPrompts",
        _WARNING,
        Who.AUTHOR,
        "Prompts were found in a cache, so that the time to first token is too short.",
        "Restart the server, or disable its prefix cache while `mtp bench` measures.",
        "concurrency 1: 900 of the 3000 prompt tokens were found in a cache",
    ),
    Reason(
        "ThroughputSank",
        _WARNING,
        Who.ADMINISTRATOR,
        "Throughput sank at first: the machine throttles, or another workload began to use it. The level was measured "
        "again in the same trial, and that counts.",
        "Look for thermal throttling, power caps and other load on the node if trials of one n_spec differ.",
        "concurrency 1: throughput sank by 14% at first; the level was measured again in the same trial",
    ),
    Reason(
        "MachineBusy",
        _WARNING,
        Who.ADMINISTRATOR,
        "Tasks of the node waited for a CPU during much of the measurement.",
        "Give the node more CPU, or move other pods.",
        "concurrency 1: tasks of the node waited for a CPU in 61% of the time",
    ),
    Reason(
        "ClientThrottled",
        _WARNING,
        Who.ADMINISTRATOR,
        "The bench container reached its CPU limit, so that it may be the bottleneck.",
        "Raise the CPU limit of the bench container in the chart.",
        "concurrency 1: the bench container reached its own CPU limit",
    ),
    Reason(
        "ClientBusy",
        _WARNING,
        Who.NOBODY,
        "The bench used most of a CPU core, so that it may be the bottleneck.",
        "Measure fewer concurrent requests if the throughput looks too low.",
        "concurrency 1: the bench took 92% of a core: it may be the bottleneck",
    ),
)
