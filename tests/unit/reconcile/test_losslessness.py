"""What a trial's output says of it, held against that of n=0."""

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.run import TrialOutput, TrialState, TrialStatus
from mtp_operator.api.trial_documents import Divergence, OutputCheck, OutputStatus, StructuredOutput
from mtp_operator.reconcile.losslessness import (
    SIGNIFICANCE,
    detection_limit,
    excess_probability,
    finding,
    verify_outputs,
)

from .givens import SPEEDS, result
from .world import World


def scored(**changes: Any) -> TrialOutput:
    stated = {
        "status": OutputStatus.SCORED,
        "positions": 512,
        "tolerance": "0.25",
        "worst_gap": "0.120",
        "texts": 4,
        "json_schema": StructuredOutput.PASSED,
        "tool_call": StructuredOutput.PASSED,
    }
    return TrialOutput(**{**stated, **changes})


CLEAN = scored()
UNVERIFIED = TrialOutput(status=OutputStatus.UNVERIFIED, message="the engine ended while its output was checked")


@pytest.mark.parametrize(
    ("check", "controls", "reason"),
    [
        (CLEAN, [CLEAN], None),
        (scored(violations=13), [CLEAN], None),
        (scored(violations=14), [CLEAN], "OutputChanged"),
        (scored(violations=14), [scored(violations=5)], None),
        (scored(violations=14), [scored(positions=100_000, violations=300)], "OutputChanged"),
        (scored(violations=14), [scored(violations=5), scored(violations=9)], None),
        (CLEAN, [scored(violations=13)], None),
        (CLEAN, [scored(violations=14)], "OutputChanged"),
        (scored(violations=1, large_gaps=1), [CLEAN], "OutputChanged"),
        (scored(violations=1, large_gaps=1), [CLEAN, scored(violations=1, large_gaps=1)], None),
        (scored(altered_texts=1), [CLEAN], "OutputChanged"),
        (scored(altered_texts=1), [scored(altered_texts=4)], "OutputUnverified"),
        (scored(json_schema=StructuredOutput.FAILED), [CLEAN], "StructuredOutputBroken"),
        (scored(tool_call=StructuredOutput.FAILED), [CLEAN], "StructuredOutputBroken"),
        (scored(tool_call=StructuredOutput.NOT_CHECKED), [CLEAN], None),
        (scored(tool_call=StructuredOutput.FAILED), [scored(tool_call=StructuredOutput.FAILED)], None),
        (scored(tool_call=StructuredOutput.FAILED), [scored(tool_call=StructuredOutput.NOT_CHECKED)], None),
        (UNVERIFIED, [CLEAN], "OutputUnverified"),
        (CLEAN, [UNVERIFIED], "OutputUnverified"),
        (CLEAN, [], "OutputUnverified"),
        (CLEAN, [UNVERIFIED, CLEAN], None),
    ],
)
def test_what_speaks_against_an_output(check: TrialOutput, controls: list[TrialOutput], reason: str | None) -> None:
    found = finding(2, check, controls)

    assert (found.reason if found else None) == reason


def test_the_message_says_what_came_out_and_what_it_is_held_against() -> None:
    divergence = "after 'the cat ' comes 'sat' instead of 'sits' (position 17)"
    found = finding(2, scored(violations=20, worst_gap="9.10", first_divergence=divergence), [CLEAN, CLEAN])

    assert found is not None
    assert found.message == (
        "20 of 512 tokens are not what the model says without speculation (more than 0.25 nats below its own choice, "
        f"at worst 9.10), with n_spec=0 0 of 1024: {divergence}"
    )


def test_an_output_that_lacks_what_n_0_shows_has_changed_too() -> None:
    """Penalties that are ignored while the engine speculates."""
    found = finding(3, scored(positions=1024), [scored(positions=1024, violations=101, large_gaps=20)])

    assert found is not None
    assert found.message == (
        "101 of 1024 tokens are not the model's own choice with n_spec=0, only 0 of 1024 here: speculation ignores "
        "what changes the output without it, such as a penalty"
    )


@pytest.mark.parametrize(
    ("violations", "limit"),
    [(0, 0.003), (1, 0.025), (51, 0.063), (205, 0.115)],
)
def test_the_detection_limit_grows_with_what_n_0_shows(violations: int, limit: float) -> None:
    control = scored(positions=1024, violations=violations)

    assert detection_limit(scored(positions=1024), [control]) == pytest.approx(limit, rel=0.1)


@pytest.mark.parametrize("violations", [10, 51, 205])
def test_as_many_wrong_tokens_as_the_detection_limit_are_mostly_found(violations: int) -> None:
    control = scored(positions=1024, violations=violations)
    share = violations / 1024
    share += (1 - share) * detection_limit(scored(positions=1024), [control])
    dice = random.Random(1)

    found = sum(
        finding(3, scored(positions=1024, violations=sum(dice.random() < share for _ in range(1024))), [control])
        is not None
        for _ in range(200)
    )

    assert 180 <= found <= 199


def trial(n_spec: int, check: TrialOutput | None, repeat: int = 0, **changes: Any) -> TrialStatus:
    stated = {
        "number": 1,
        "candidate": "any",
        "n_spec": n_spec,
        "repeat": repeat,
        "job_name": f"n{n_spec}-{repeat}",
        "state": TrialState.MEASURED,
    }
    return TrialStatus(**{**stated, "output_check": check, **changes})


def outcome(trials: list[TrialStatus]) -> list[tuple[TrialState, str | None]]:
    return [(one.state, one.reason) for one in verify_outputs(trials)]


def test_trials_are_judged_by_all_boots_of_the_control() -> None:
    changed = scored(violations=14)

    assert outcome([trial(0, CLEAN), trial(2, CLEAN), trial(3, changed)]) == [
        (TrialState.MEASURED, None),
        (TrialState.MEASURED, None),
        (TrialState.FAILED, "OutputChanged"),
    ]
    assert outcome([trial(0, CLEAN), trial(3, changed), trial(0, scored(violations=9), repeat=1)]) == [
        (TrialState.MEASURED, None),
        (TrialState.MEASURED, None),
        (TrialState.MEASURED, None),
    ]


def test_a_control_that_comes_later_takes_a_doubt_away() -> None:
    doubted = verify_outputs([trial(0, UNVERIFIED), trial(2, CLEAN)])
    assert [one.reason for one in doubted] == ["OutputUnverified", "OutputUnverified"]

    assert outcome([*doubted, trial(0, CLEAN, repeat=1)]) == [
        (TrialState.MEASURED, "OutputUnverified"),
        (TrialState.MEASURED, None),
        (TrialState.MEASURED, None),
    ]


def test_other_doubts_stay_and_what_has_failed_has_failed() -> None:
    trials = [
        trial(0, CLEAN),
        trial(1, CLEAN, reason="SpeculationUnverified", message="no counters"),
        trial(2, scored(violations=99), reason="SpeculationUnverified"),
        trial(3, CLEAN, state=TrialState.FAILED, reason="RequestsFailed"),
        trial(4, None),
        trial(5, scored(violations=99), state=TrialState.INVALIDATED),
    ]

    assert outcome(trials) == [
        (TrialState.MEASURED, None),
        (TrialState.MEASURED, "SpeculationUnverified"),
        (TrialState.FAILED, "OutputChanged"),
        (TrialState.FAILED, "RequestsFailed"),
        (TrialState.MEASURED, None),
        (TrialState.INVALIDATED, None),
    ]


def test_the_control_of_another_node_is_none() -> None:
    trials = [trial(0, CLEAN, state=TrialState.INVALIDATED), trial(2, CLEAN)]

    assert outcome(trials)[1] == (TrialState.MEASURED, "OutputUnverified")


@given(st.integers(0, 6), st.integers(0, 6), st.data())
def test_the_probability_is_that_of_drawing_without_looking(positions: int, control: int, data: st.DataObject) -> None:
    """Counted over all ways to deal the violations out; up to the mean it is not asked how likely that is."""
    mine = data.draw(st.integers(0, positions))
    theirs = data.draw(st.integers(0, control))
    draws = list(itertools.combinations(range(positions + control), mine + theirs))
    as_bad = sum(sum(place < positions for place in draw) >= mine for draw in draws)

    exact = as_bad / len(draws)
    is_excess = mine * (positions + control) > positions * (mine + theirs)

    assert is_excess or exact > SIGNIFICANCE
    assert math.isclose(excess_probability(mine, positions, theirs, control), exact if is_excess else 1.0)


@given(st.integers(1, 4096), st.integers(1, 4096), st.data())
def test_more_violations_are_never_less_suspicious(positions: int, control: int, data: st.DataObject) -> None:
    mine = data.draw(st.integers(0, min(positions - 1, 200)))
    theirs = data.draw(st.integers(0, min(control, 200)))

    fewer = excess_probability(mine, positions, theirs, control)
    more = excess_probability(mine + 1, positions, theirs, control)
    assert 0 <= more <= fewer * (1 + 1e-9) <= 1 + 1e-9


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_as_few_as_the_control_is_no_excess(violations: int, positions: int) -> None:
    violations = min(violations, positions)

    assert excess_probability(violations, positions, violations, positions) > SIGNIFICANCE


def finish(world: World, checks: dict[int, OutputCheck]) -> dict[str, Any]:
    """All trials measure what they should, and see this of their output; answers the run's status."""
    world.settle()
    while any(not job["status"].get("conditions") for job in world.jobs.values()):
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        pod = world.start_pod(job)
        world.settle()
        world.tick(30)
        check = checks.get(n_spec, OutputCheck(status=OutputStatus.SCORED, positions=512, tolerance_nats=0.25))
        seen = result(n_spec, SPEEDS[n_spec]).model_copy(update={"output_check": check})
        world.end_bench(pod, 0, seen.encode())
        world.settle()
    status: dict[str, Any] = world.run()["status"]
    return status


BEST = max(SPEEDS, key=lambda n_spec: SPEEDS[n_spec])


def test_the_fastest_n_is_not_chosen_when_its_output_is_another() -> None:
    changed = OutputCheck(
        status=OutputStatus.SCORED,
        positions=512,
        tolerance_nats=0.25,
        violations=20,
        large_gaps=18,
        worst_gap_nats=9.1,
        first_divergence=Divergence(position=17, context="the cat ", expected="sits", actual="sat"),
    )

    status = finish(World(), {BEST: changed})

    trial = next(trial for trial in status["trials"] if trial["nSpec"] == BEST)
    assert (trial["state"], trial["reason"]) == ("Failed", "OutputChanged")
    assert "after 'the cat ' comes 'sat' instead of 'sits' (position 17)" in trial["message"]
    assert trial["levels"]
    assert trial["outputCheck"]["detectionLimit"] == "0.0059"
    assert status["verdict"]["type"] == "Selected"
    assert status["verdict"]["nSpec"] not in (0, BEST)
    assert f"n_spec={BEST} (OutputChanged)" in status["verdict"]["message"]


def test_what_could_not_be_checked_is_reported_and_not_chosen() -> None:
    unverified = OutputCheck(status=OutputStatus.UNVERIFIED, message="the engine ended while its output was checked")

    status = finish(World(), {n_spec: unverified for n_spec in SPEEDS if n_spec})

    trials = [trial for trial in status["trials"] if trial["nSpec"]]
    assert trials
    assert all((trial["state"], trial["reason"]) == ("Measured", "OutputUnverified") for trial in trials)
    assert status["verdict"]["nSpec"] == 0
    assert "Excluded from automatic selection: mtp-" in status["verdict"]["message"]
    assert "(OutputUnverified)" in status["verdict"]["message"]


def test_without_a_control_nothing_is_chosen() -> None:
    unverified = OutputCheck(status=OutputStatus.UNVERIFIED, message="/tokenize answered HTTP 404")

    status = finish(World(), {0: unverified})

    assert status["verdict"]["nSpec"] == 0
    assert all(trial["reason"] == "OutputUnverified" for trial in status["trials"])
