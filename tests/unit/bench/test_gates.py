"""What disqualifies an arm that was measured, what leaves it in doubt, and what is only told."""

from collections.abc import Sequence

import pytest

from mtp_operator.bench.draft_counters import Counters, DraftCounters
from mtp_operator.bench.gates import disqualification, doubt, slowed_by_machine, warnings
from mtp_operator.bench.load import LevelRun
from mtp_operator.bench.machine_load import MachineLoad
from mtp_operator.bench.steady import Pass
from mtp_operator.bench.stream import Completion, RequestError
from mtp_operator.engines import RequestDrafts

REQUESTS = 100
TOKENS = 128
N_SPEC = 3

HEALTHY = DraftCounters(drafts=5000, draft_tokens=15000, accepted_tokens=7700, accepted_per_position=(4000, 2500, 1200))
"""100 requests, 5,000 drafts and 7,700 accepted tokens make 12,800 tokens."""


def answer(tokens: int | None = TOKENS, drafts: RequestDrafts | None = None, last_share: float = 0.1) -> Completion:
    return Completion(
        output_tokens=tokens,
        seconds=1.0,
        finish_reason="length",
        first_token_seconds=0.1,
        last_arrival_share=last_share,
        drafts=drafts,
    )


def level(
    failed: int = 0,
    cut: int = 0,
    drafting: DraftCounters | None = None,
    generated: int | None = REQUESTS * TOKENS,
    answers: Sequence[Completion] | None = None,
    speeds: Sequence[float] = (100.0,) * 6,
) -> LevelRun:
    completions = list(answers or [answer()] * (REQUESTS - failed - cut))
    passes = [Pass(1000, 1000 / speed, tuple(completions)) for speed in speeds]
    return LevelRun(
        concurrency=1,
        passes=passes,
        warm=passes,
        windows=tuple(speeds),
        completions=completions,
        failures=[RequestError("HTTP 500: broken")] * failed + [RequestError("its stream ended", is_cut=True)] * cut,
        seconds=60.0,
        counters=Counters(generated, drafting),
    )


def drafting(drafts: int = 5000, accepted: int = 7700, *positions: int) -> DraftCounters:
    return DraftCounters(drafts, N_SPEC * drafts, accepted, positions or (4000, 2500, 1200))


def by_answers(drafted: int, accepted: int) -> LevelRun:
    return level(answers=[answer(drafts=RequestDrafts(drafted, accepted))] * REQUESTS)


@pytest.mark.parametrize(
    ("n_spec", "levels", "reason", "words"),
    [
        (0, [level()], None, ""),
        (0, [level(failed=1)], None, ""),
        (
            0,
            [level(failed=2)],
            "RequestsFailed",
            "2 of 100 requests failed at concurrency 1; the first: HTTP 500: broken",
        ),
        (0, [level(cut=1)], None, ""),
        (0, [level(cut=2)], "StreamsCut", "2 of 100 answers broke off at concurrency 1; the first: its stream ended"),
        (0, [level(failed=1, cut=1)], "RequestsFailed", "2 of 100 requests failed"),
        (0, [level(failed=1, cut=2)], "StreamsCut", "2 of 100 answers broke off"),
        (N_SPEC, [level(drafting=HEALTHY)], None, ""),
        (
            N_SPEC,
            [level(drafting=drafting(0, 0))],
            "SpeculationNotEngaged",
            "started with 3 draft tokens per step, but counted no draft during 100 requests",
        ),
        (N_SPEC, [level(drafting=HEALTHY), level(drafting=drafting(0, 0))], "SpeculationNotEngaged", "no draft"),
        # The engine counts tokens that max_tokens cut off: up to n for each request.
        (N_SPEC, [level(drafting=drafting(accepted=7700 + N_SPEC * REQUESTS))], None, ""),
        (
            N_SPEC,
            [level(drafting=drafting(accepted=7700 + N_SPEC * REQUESTS + 1))],
            "CountersDisagree",
            "contradict each other",
        ),
        (
            N_SPEC,
            [level(drafting=drafting(accepted=7700 + N_SPEC * REQUESTS + 1), generated=2 * REQUESTS * TOKENS)],
            "CountersDisagree",
            "other traffic reached the engine",
        ),
        # 2 % of the tokens, and one a request for which llama.cpp drafts nothing.
        (N_SPEC, [level(drafting=drafting(accepted=7700 - 356))], None, ""),
        (
            N_SPEC,
            [level(drafting=drafting(accepted=7700 - 357))],
            "CountersDisagree",
            "!= 12800 output tokens: only 93% of the steps drafted",
        ),
        (
            N_SPEC,
            [level(answers=[answer(1)] * REQUESTS, generated=REQUESTS, drafting=drafting(0, 0))],
            "OutputsTooShort",
            "its answers have 1.0 tokens, too few for any step to draft",
        ),
        (N_SPEC, [level(drafting=drafting(12700, 0, 0, 0, 0))], "AcceptanceTooLow", "0.0% of the drafts"),
        (N_SPEC, [level(drafting=drafting(11600, 1100, 1000, 100, 0))], "AcceptanceTooLow", "8.6% of the drafts"),
        (N_SPEC, [level(drafting=drafting(11450, 1250, 1150, 100, 0))], None, ""),
        (N_SPEC, [by_answers(150, 77)], None, ""),
        (N_SPEC, [by_answers(375, 2)], "AcceptanceTooLow", "1.6% of the drafts"),
        (N_SPEC, [by_answers(0, 0)], "SpeculationNotEngaged", "the answers report no draft"),
        (N_SPEC, [level()], None, ""),
        (0, [level(speeds=(100, 96, 92, 88, 84, 80))], "Drifting", "sank by 20% while concurrency 1 was measured"),
        (0, [level(speeds=(80, 84, 88, 92, 96, 100))], None, ""),
    ],
)
def test_disqualification(n_spec: int, levels: list[LevelRun], reason: str | None, words: str) -> None:
    failure = disqualification(n_spec, levels)

    assert (failure.reason if failure else None) == reason
    assert words in (failure.message if failure else "")


@pytest.mark.parametrize(
    ("n_spec", "run", "reason"),
    [
        (0, level(), None),
        (N_SPEC, level(drafting=HEALTHY), None),
        (N_SPEC, by_answers(150, 77), None),
        (N_SPEC, level(), "SpeculationUnverified"),
        (N_SPEC, level(generated=None), "SpeculationUnverified"),
    ],
)
def test_an_arm_is_in_doubt_only_where_nothing_speaks_of_drafts(n_spec: int, run: LevelRun, reason: str | None) -> None:
    found = doubt(n_spec, [run])

    assert (found.reason if found else None) == reason


@pytest.mark.parametrize(
    ("run", "failure", "warning"),
    [
        (level(drafting=HEALTHY), None, None),
        (level(drafting=drafting(600, 1700, 600, 560, 540)), None, "5% of the steps drafted"),
        (level(drafting=drafting(12000, 700, 700, 0, 0)), None, None),
        (level(drafting=drafting(0, 0)), None, "0% of the steps drafted"),
        (level(drafting=drafting(accepted=7700 + N_SPEC * REQUESTS + 1)), "CountersDisagree", None),
    ],
    ids=["always", "sometimes", "seldom-accepted", "never", "miscounted"],
)
def test_what_drafts_only_where_it_finds_something(run: LevelRun, failure: str | None, warning: str | None) -> None:
    found = disqualification(N_SPEC, [run], drafts_every_step=False)
    told = [one.message for one in warnings(N_SPEC, [run], drafts_every_step=False)]

    assert (found.reason if found else None) == failure
    assert (warning or "") in "".join(told)
    assert bool(told) == bool(warning)


def with_acceptance(*shares: float, speeds: Sequence[float] = (100.0,) * 6) -> LevelRun:
    """Of 1,000 drafts in each pass, this share had their first token accepted."""
    run = level(drafting=HEALTHY, speeds=speeds)
    counted = DraftCounters(0, 0, 0, (0,))
    for passes, share in enumerate((0.0, *shares)):
        drafts, accepted = 1000 * bool(passes), round(1000 * share)
        counted = DraftCounters(
            counted.drafts + drafts,
            (counted.draft_tokens or 0) + drafts,
            counted.accepted_tokens + accepted,
            (counted.accepted_per_position[0] + accepted,),
        )
        run.drafting_after[passes] = counted
    return run


def test_throughput_that_sinks_with_acceptance_is_no_fault_of_the_machine() -> None:
    sinking = (100.0, 100.0, 100.0, 60.0, 60.0, 60.0, 60.0)
    worn = disqualification(N_SPEC, [with_acceptance(0.8, 0.8, 0.8, 0, 0, 0, 0, speeds=sinking)])
    slowed = disqualification(N_SPEC, [with_acceptance(*[0.8] * 7, speeds=sinking)])

    assert worn is not None
    assert worn.reason == "AcceptanceFell"
    assert "80% of the drafts had their first token accepted at the level's beginning, 0% at its end" in worn.message
    assert slowed is not None
    assert slowed.reason == "Drifting"
    assert not slowed_by_machine(with_acceptance(0.8, 0.8, 0.8, 0, 0, 0, 0, speeds=sinking))
    assert slowed_by_machine(with_acceptance(*[0.8] * 7, speeds=sinking))
    assert not slowed_by_machine(with_acceptance(*[0.8] * 7))


def test_acceptance_that_falls_is_told_although_throughput_does_not() -> None:
    assert [one.reason for one in warnings(N_SPEC, [with_acceptance(0.8, 0.8, 0.8, 0.4, 0.3, 0.3)])] == [
        "AcceptanceFell"
    ]
    assert warnings(N_SPEC, [with_acceptance(0.8, 0.7, 0.8, 0.6, 0.7, 0.6)]) == ()


def noticed(run: LevelRun, n_spec: int = 0) -> list[str]:
    return [warning.reason for warning in warnings(n_spec, [run])]


def test_what_is_in_order_is_not_mentioned() -> None:
    assert noticed(level(drafting=HEALTHY), N_SPEC) == []
    assert noticed(level()) == []


def test_tolerated_faults_are_told_once() -> None:
    assert noticed(level(answers=[answer(None)] * REQUESTS)) == ["UsageMissing"]
    assert noticed(level(generated=None)) == ["MetricsMissing"]
    assert noticed(level(generated=2 * REQUESTS * TOKENS)) == ["OtherRequests"]
    assert noticed(by_answers(150, 77), N_SPEC) == ["DraftsFromAnswers"]
    assert noticed(level(answers=[answer(last_share=0.95)] * REQUESTS)) == ["LatenciesUnmeasurable"]
    assert noticed(level(speeds=(100.0, 50.0, 100.0, 50.0))) == ["Noisy"]
    twice = warnings(0, [level(generated=None), level(generated=None)])
    assert [one.message for one in twice] == ["concurrency 1: the engine has no counter of its tokens in /metrics"]


def test_what_is_simulated_is_told_before_anything_else() -> None:
    run = level(answers=[answer(None)] * REQUESTS)
    run.counters = Counters(REQUESTS * TOKENS, None, simulated_curve="gemma")

    first, _ = warnings(0, [run])

    assert first.reason == "Simulated"
    assert "no GPU was measured: the figures are those of the recorded curve gemma" in first.message


def test_the_state_of_the_machine_is_told() -> None:
    run = level()
    run.machine = MachineLoad(waiting_seconds=45.0, throttled_seconds=3.0)
    run.client_cpu_seconds = 50.0

    assert [one.message for one in warnings(0, [run])] == [
        "concurrency 1: tasks of the node waited for a CPU in 75% of the time",
        "concurrency 1: the bench container reached its own CPU limit",
        "concurrency 1: the bench took 83% of a core: it may be the bottleneck",
    ]
