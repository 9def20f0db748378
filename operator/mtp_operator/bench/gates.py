"""What disqualifies a trial although it was measured, what leaves it in doubt, and what is only a warning."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from mtp_operator.api.base import MAX_WARNINGS
from mtp_operator.api.trial_documents import DRIFTING, SIMULATED, TrialFailure, TrialWarning

from .draft_counters import DraftCounters
from .load import LevelRun
from .steady import standard_error
from .summary import hidden_times

FAILED_REQUESTS_LIMIT: Final = 0.01
"""Share of requests that may fail or be cut."""

FIRST_POSITION_FLOOR: Final = 0.10
"""Share of drafts whose first token has to be accepted: below, the drafter does not fit the model."""

UNCOUNTED_LIMIT: Final = 0.02
"""Share of the output tokens by which the engine's counters may fall short of them."""

OTHER_TOKENS_LIMIT: Final = 0.02
"""Share by which an engine may generate more tokens than its answers have."""

CACHED_LIMIT: Final = 0.05
"""Share of the tokens of prompts out of a cache from which on it is told."""

SHORTEST_DRAFTED_TOKENS: Final = 2
"""Tokens of an answer for which no engine need draft: the first comes from the prompt, and the last without a draft."""

ACCEPTANCE_FELL: Final = "AcceptanceFell"

LOST_ACCEPTANCE: Final = 0.2
"""Share of P_1 that is lost over a level from which on it explains why throughput sank."""

FALLEN_ACCEPTANCE: Final = 0.5
"""The same, from which on it is told although throughput did not sink."""

SEVERAL_TOKENS: Final = 1.1
"""Tokens per step from which on tokens and messages are not as many."""

EMPTY_ANSWERS_LIMIT: Final = 0.01
"""Share of answers without any text from which on it is told."""

NOISY: Final = 0.03
"""Standard error of a level's throughput, as a share, from which on it is told."""

WAITING_SHARE: Final = 0.5
"""Share of a level in which tasks waited for a CPU from which on it is told."""

THROTTLED_SHARE: Final = 0.01
"""Share of a level in which the bench itself was held back from which on it is told."""

BUSY_CLIENT: Final = 0.8
"""Share of a core that the bench itself takes from which on it is told: it has only one."""


def disqualification(
    n_spec: int, runs: Iterable[LevelRun], *, drafts_every_step: bool | None = True
) -> TrialFailure | None:
    """The first reason against believing the throughput of this trial, if there is one.

    Args:
        n_spec: draft tokens per step.
        runs: of the levels.
        drafts_every_step: whether this way of drafting leaves no step out; None where that is unknown.
    """
    for run in runs:
        failure = (
            _failed_requests(run)
            or (_no_speculation(n_spec, run, drafts_every_step) if n_spec > 0 else None)
            or _drifting(run)
        )
        if failure is not None:
            return failure
    return None


def slowed_by_machine(run: LevelRun) -> bool:
    """Whether throughput sank over a level, and neither failed requests nor lower acceptance explain it."""
    failure = _drifting(run)
    return failure is not None and failure.reason == DRIFTING and not run.failures


def doubt(n_spec: int, runs: Iterable[LevelRun]) -> TrialFailure | None:
    """Why nobody can tell whether the drafter took part, if so: such a trial is never chosen by itself."""
    for run in runs:
        if n_spec > 0 and _drafting(run) is None and _drafted_by_answers(run) is None:
            seen = (
                f"its answers do not report drafts, and {run.metrics_problem}"
                if run.metrics_problem
                else "neither its /metrics nor its answers report drafts"
            )
            message = (
                f"nothing proves that the engine drafts {n_spec} tokens per step: {seen}, during {run.requests} "
                f"requests at concurrency {run.concurrency}. This n_spec is never chosen automatically; set "
                "spec.speculation.nSpec to serve it"
            )
            return TrialFailure(reason="SpeculationUnverified", message=message)
    return None


def warnings(
    n_spec: int, runs: Iterable[LevelRun], *, drafts_every_step: bool | None = True
) -> tuple[TrialWarning, ...]:
    """Faults that were tolerated, each kind once: the throughput is right all the same. See `disqualification`."""
    first: dict[str, TrialWarning] = {}
    for run in runs:
        seen = _tolerated(n_spec, run)
        if n_spec > 0 and not drafts_every_step:
            seen = itertools.chain(seen, _skipped_steps(run))
        for reason, message in seen:
            first.setdefault(reason, TrialWarning(reason=reason, message=f"concurrency {run.concurrency}: {message}"))
    return tuple(first.values())[:MAX_WARNINGS]


def _failed_requests(run: LevelRun) -> TrialFailure | None:
    failed = len(run.failures)
    if failed <= FAILED_REQUESTS_LIMIT * run.requests:
        return None
    cut = [one for one in run.failures if one.is_cut]
    if len(cut) > failed / 2:
        message = (
            f"{len(cut)} of {run.requests} answers broke off at concurrency {run.concurrency}; the first: {cut[0]}. "
            "Either the engine dropped requests that it had begun to answer (see its log), or a proxy in between "
            "closed the connections"
        )
        return TrialFailure(reason="StreamsCut", message=message)
    message = (
        f"{failed} of {run.requests} requests failed at concurrency {run.concurrency}; the first: {run.failures[0]}"
    )
    return TrialFailure(reason="RequestsFailed", message=message)


def _no_speculation(n_spec: int, run: LevelRun, drafts_every_step: bool | None) -> TrialFailure | None:
    """Whether speculation did not take part as it should.

    What drafts only where it finds something, as n-grams do, may draft seldom, or never, and be wrong most of the time:
    its throughput says what that is worth.
    """
    if drafts_every_step is False:
        counters = _drafting(run)
        return _miscounted(n_spec, run, counters, None) if counters is not None else None
    counters = _drafting(run)
    if counters is None:
        return _weak_by_answers(run, drafts_every_step)
    if counters.drafts == 0:
        began = f"the engine was started with {n_spec} draft tokens per step, but counted no draft"
        return _not_engaged(began, run, drafts_every_step)
    return _weak(counters.first_position_share, run) or _miscounted(n_spec, run, counters, drafts_every_step)


def _not_engaged(seen: str, run: LevelRun, drafts_every_step: bool | None) -> TrialFailure:
    seen = f"{seen} during {run.requests} requests at concurrency {run.concurrency}"
    tokens = run.output_tokens / max(1, len(run.completions))
    if tokens <= SHORTEST_DRAFTED_TOKENS:
        message = (
            f"{seen}: its answers have {tokens:.1f} tokens, too few for any step to draft; ask for longer answers "
            "(outputTokens, other prompts)"
        )
        return TrialFailure(reason="OutputsTooShort", message=message)
    why = "the drafter is not loaded" + ("" if drafts_every_step else ", or n-grams found nothing to draft")
    return TrialFailure(reason="SpeculationNotEngaged", message=f"{seen}: {why}")


def _weak(first_position: float, run: LevelRun) -> TrialFailure | None:
    if first_position >= FIRST_POSITION_FLOOR:
        return None
    message = (
        f"{first_position:.1%} of the drafts had their first token accepted at concurrency {run.concurrency}; under "
        f"{FIRST_POSITION_FLOOR:.0%} the drafter does not fit the model (another model's, badly quantized, or broken)"
    )
    return TrialFailure(reason="AcceptanceTooLow", message=message)


def _weak_by_answers(run: LevelRun, drafts_every_step: bool | None) -> TrialFailure | None:
    """The gate where only answers tell: P_1 is at most the accepted tokens per draft, which is the sum of all P_i."""
    reported = _drafted_by_answers(run)
    if reported is None:
        return None
    drafted, accepted = reported
    if drafted == 0:
        return _not_engaged("the answers report no draft", run, drafts_every_step)
    # Each step gives one token of the target's own beside the accepted ones; the first comes from the prompt.
    drafts = max(1, run.output_tokens - accepted - len(run.completions))
    return _weak(accepted / drafts, run)


def _miscounted(
    n_spec: int, run: LevelRun, counters: DraftCounters, drafts_every_step: bool | None
) -> TrialFailure | None:
    """The identity of engagement: a request gives one token from its prompt, each draft one and what was accepted.

    Engines also count accepted tokens that `max_tokens` then cuts off: at most n for each request. llama.cpp drafts
    nothing for the last token that a request may have.
    """
    tokens = run.output_tokens
    surplus = run.requests + counters.drafts + counters.accepted_tokens - tokens
    if surplus > n_spec * run.requests:
        why = _surplus(n_spec, run)
    elif drafts_every_step and surplus < -UNCOUNTED_LIMIT * tokens - run.requests:
        why = f"only {_drafted_share(run, counters):.0%} of the steps drafted"
    else:
        return None
    message = (
        f"token accounting mismatch at concurrency {run.concurrency}: {run.requests} requests + {counters.drafts} "
        f"drafts + {counters.accepted_tokens} accepted != {tokens} output tokens: {why}"
    )
    return TrialFailure(reason="CountersDisagree", message=message)


def _surplus(n_spec: int, run: LevelRun) -> str:
    """Why an engine may have counted more than its answers have."""
    if _counts_messages(n_spec, run):
        return "usage.completion_tokens is the number of messages in each stream"
    if _others_tokens(run):
        return "other traffic reached the engine"
    return "the engine's counters and its answers contradict each other"


def _drafted_share(run: LevelRun, counters: DraftCounters) -> float:
    """Share of the steps that drafted: one that does not gives a single token."""
    other = max(0, run.output_tokens - run.requests - counters.drafts - counters.accepted_tokens)
    return counters.drafts / max(1, counters.drafts + other)


def _skipped_steps(run: LevelRun) -> Iterator[tuple[str, str]]:
    counters = _drafting(run)
    share = _drafted_share(run, counters) if counters is not None else 1.0
    if share < 1 - UNCOUNTED_LIMIT:
        yield "DraftsInSomeSteps", f"{share:.0%} of the steps drafted; the others produced a single token"


def _drifting(run: LevelRun) -> TrialFailure | None:
    sank = run.sank
    if sank is None:
        return None
    seen = f"throughput sank by {sank.lost_share:.0%} while concurrency {run.concurrency} was measured"
    shift = run.acceptance_shift
    if shift is not None and shift[1] < (1 - LOST_ACCEPTANCE) * shift[0]:
        message = f"{seen}, and acceptance with it: {_fall(*shift)}. Speculation degrades, not the machine"
        return TrialFailure(reason=ACCEPTANCE_FELL, message=message)
    message = (
        f"{seen}, over {run.seconds:.0f} s; {sank.limit:.0%} is allowed: the machine throttles, or another workload "
        "began to use it"
    )
    return TrialFailure(reason=DRIFTING, message=message)


def _fall(first: float, last: float) -> str:
    return f"{first:.0%} of the drafts had their first token accepted at the level's beginning, {last:.0%} at its end"


def _tolerated(n_spec: int, run: LevelRun) -> Iterator[tuple[str, str]]:
    if run.counters and run.counters.simulated_curve is not None:
        yield (
            SIMULATED,
            f"no GPU was measured: the figures are those of the recorded curve {run.counters.simulated_curve}",
        )
    if run.uncounted:
        yield (
            "UsageMissing",
            f"{run.uncounted} of {len(run.completions)} answers do not state how many tokens they have; the engine's "
            "counter is used",
        )
    generated = run.counters.generated_tokens if run.counters else None
    if run.metrics_problem is not None:
        yield (
            "MetricsUnreadable",
            f"the engine's counters could not be read three times in a row: {run.metrics_problem}",
        )
    elif generated is None:
        yield "MetricsMissing", "the engine has no counter of its tokens in /metrics"
    elif _others_tokens(run) and not _counts_messages(n_spec, run):
        yield (
            "OtherRequests",
            f"the engine generated {generated} tokens, the bench received {run.output_tokens}: other traffic reached "
            "it",
        )
    yield from _odd_answers(n_spec, run)
    if n_spec > 0 and _drafting(run) is None and _drafted_by_answers(run) is not None:
        yield "DraftsFromAnswers", "the engine has no draft counters in /metrics; those in its answers are used"
    shift = run.acceptance_shift
    if shift is not None and shift[1] < (1 - FALLEN_ACCEPTANCE) * shift[0]:
        yield ACCEPTANCE_FELL, _fall(*shift)
    hidden = hidden_times(run.warm_answers, run.tokens_per_step)
    if hidden is not None:
        yield "LatenciesUnmeasurable", hidden
    if len(run.windows) > 1 and standard_error(run.windows) > NOISY:
        yield "Noisy", f"the mean throughput has a standard error of {standard_error(run.windows):.1%}"
    if run.sank_before is not None:
        yield (
            "ThroughputSank",
            f"throughput sank by {run.sank_before.lost_share:.0%} at first; the level was measured again in the same "
            "trial",
        )
    yield from _seen_of_the_machine(run)


def _odd_answers(n_spec: int, run: LevelRun) -> Iterator[tuple[str, str]]:
    answers = len(run.completions)
    generated = run.counters.generated_tokens if run.counters else None
    if (
        _counts_messages(n_spec, run)
        and generated is not None
        and generated > (1 + OTHER_TOKENS_LIMIT) * run.output_tokens
    ):
        yield (
            "UsageCountsMessages",
            f"usage.completion_tokens is the number of messages in each stream, {run.output_tokens} together, while "
            f"the engine generated {generated} tokens: the reported throughput is too low",
        )
    elif _counts_messages(n_spec, run) and generated is None:
        yield (
            "UsageCountsMessages",
            "usage.completion_tokens is the number of messages in each stream, although a message may hold "
            f"{n_spec + 1} tokens: if the server counts messages, the reported throughput is too low",
        )
    longer = sum((one.output_tokens or 0) > run.asked_tokens for one in run.completions) if run.asked_tokens else 0
    if longer:
        yield (
            "MaxTokensIgnored",
            f"{longer} of {answers} answers have more than the {run.asked_tokens} tokens asked for",
        )
    empty = sum(one.first_token_seconds is None for one in run.completions)
    if empty > EMPTY_ANSWERS_LIMIT * answers:
        yield (
            "NoText",
            f"{empty} of {answers} answers have tokens but no text: a parser of the engine withholds it",
        )
    cached, prompts = _cached(run), sum(one.prompt_tokens or 0 for one in run.completions)
    if cached > CACHED_LIMIT * prompts:
        yield (
            "CachedPrompts",
            f"{cached} of the {prompts} prompt tokens were found in a cache: clients with new prompts wait longer for "
            "their first token; restart the server, or disable its prefix cache",
        )


def _others_tokens(run: LevelRun) -> bool:
    """Whether the engine generated more tokens than all our answers have."""
    generated = run.counters.generated_tokens if run.counters else None
    return generated is not None and not run.failures and generated > (1 + OTHER_TOKENS_LIMIT) * run.output_tokens


def _counts_messages(n_spec: int, run: LevelRun) -> bool:
    """Whether the tokens of each answer are as many as the messages of its stream, which have several if it drafts."""
    if (run.tokens_per_step or n_spec + 1) < SEVERAL_TOKENS:
        return False
    return bool(run.completions) and all(
        one.messages > 1 and one.output_tokens == one.messages for one in run.completions
    )


def _cached(run: LevelRun) -> int:
    """Tokens of prompts that were found in a cache, by whoever tells more of them."""
    reported = sum(one.cached_tokens or 0 for one in run.completions)
    return max(reported, (run.counters.cached_tokens or 0) if run.counters else 0)


def _seen_of_the_machine(run: LevelRun) -> Iterator[tuple[str, str]]:
    if (run.machine.waiting_seconds or 0) > WAITING_SHARE * run.seconds:
        yield (
            "MachineBusy",
            f"tasks of the node waited for a CPU in {(run.machine.waiting_seconds or 0) / run.seconds:.0%} of the time",
        )
    if (run.machine.throttled_seconds or 0) > THROTTLED_SHARE * run.seconds:
        yield "ClientThrottled", "the bench container reached its own CPU limit"
    if run.client_cpu_seconds > BUSY_CLIENT * run.seconds:
        yield (
            "ClientBusy",
            f"the bench took {run.client_cpu_seconds / run.seconds:.0%} of a core: it may be the bottleneck",
        )


def _drafting(run: LevelRun) -> DraftCounters | None:
    return run.counters.drafting if run.counters else None


def _drafted_by_answers(run: LevelRun) -> tuple[int, int] | None:
    """Draft tokens and accepted ones by the answers' own word; None where none says it."""
    reported = [one.drafts for one in run.completions if one.drafts is not None]
    return (
        (sum(one.draft_tokens for one in reported), sum(one.accepted_tokens for one in reported)) if reported else None
    )
