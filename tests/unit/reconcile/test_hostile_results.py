"""What a pod says of itself is bounded before anything is computed from it: no result freezes or poisons its model."""

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_POSITIONS
from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.run import TrialOutput, TrialState, TrialStatus
from mtp_operator.api.spec import SpeculationMethod
from mtp_operator.api.trial_documents import OutputStatus
from mtp_operator.measures.quantities import MAX_COUNT
from mtp_operator.reconcile.losslessness import verify_outputs
from mtp_operator.tuner.constraints import quantile_within

from .world import World

LEVEL: dict[str, Any] = {"concurrency": 1, "windows": [50.0] * 6, "requests": 24, "outputTokens": 3000}
SCORED = {"status": "Scored", "positions": 512}
LIMIT = {"metric": "P95RequestLatency", "maxMilliseconds": 5, "requests": 1, "exceeding": 0}


def message(document: str) -> str:
    return f"{len(document.encode())} {document}"


def left_by_the_first_trial(left: str) -> World:
    """The world after the bench of n=0 has ended well and left this message."""
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.settle()
    world.tick(30)
    world.end_bench(pod, 0, left)
    world.settle()
    return world


def level(**changes: Any) -> dict[str, Any]:
    return {"levels": [{**LEVEL, **changes}]}


@pytest.mark.parametrize(
    "stated",
    [
        level(windows=[1e30] * 6),
        level(windows=[math.nan] * 6),
        level(windows=[math.inf] * 6),
        level(windows=[-1.0] * 6),
        level(concurrency=7),
        {"levels": [LEVEL, LEVEL]},
        {"levels": [LEVEL, {**LEVEL, "concurrency": 7}]},
        level(latencies={"requestLatency": [1e30, 1, 1, 1]}),
        {"nSpec": 5, **level()},
        level(drafts=10**400, draftTokens=1, acceptedTokens=10**800),
        level(requests=10**30),
        level(outputTokens=2 * MAX_COUNT),
        level(drafts=1, acceptedPerPosition=[10**400]),
        level(limits=[{**LIMIT, "exceeding": 9}]),
        level(limits=[LIMIT, LIMIT]),
        level(limits=[{**LIMIT, "requests": 10**12, "exceeding": 9 * 10**11}]),
        {**level(), "outputCheck": {"status": "Scored", "positions": 1, "violations": 50}},
        {**level(), "outputCheck": {**SCORED, "positions": 2 * MAX_POSITIONS}},
        {**level(), "outputCheck": {**SCORED, "toleranceNats": 1e30}},
        {**level(), "outputCheck": {**SCORED, "texts": 1, "alteredTexts": 2}},
        level(categories={"A": 1e30}),
        level(clientCPUShare=1e30),
        {**level(), "candidate": "mtp-3"},
        {**level(), "candidate": None},
    ],
)
def test_figures_that_cannot_be_fail_their_trial_in_words(stated: dict[str, Any]) -> None:
    world = left_by_the_first_trial(message(json.dumps({"version": 1, "candidate": "off", "nSpec": 0, **stated})))

    trial = world.run()["status"]["trials"][0]
    assert (trial["state"], trial["reason"]) == ("Failed", "ResultImplausible")
    assert len(trial["message"]) > 10
    assert world.model_condition("Stalled")["reason"] != "Unreadable"


@pytest.mark.parametrize("windows", [[], [0.0] * 6, [1e-320] * 6])
def test_a_speed_of_nothing_is_nothing_measured(windows: list[float]) -> None:
    world = left_by_the_first_trial(
        message(json.dumps({"version": 1, "candidate": "off", "nSpec": 0, **level(windows=windows)}))
    )

    assert world.run()["status"]["trials"][0]["reason"] == "NothingMeasured"


@pytest.mark.parametrize(
    "left",
    [
        "",
        "7 {}",
        "not a result",
        "9" * 5000 + " {}",
        "² {}",
        message('{"version":2,"nSpec":0}'),
        message("[" * 1500 + "]" * 1500),
        message('{"version":1,"nSpec":0,"failure":{"reason":"X","message":"\\ud800"}}'),
    ],
    ids=range(8),
)
def test_what_is_no_result_is_a_lost_trial_and_is_repeated(left: str) -> None:
    world = left_by_the_first_trial(left)

    (trial,) = world.run()["status"]["trials"]
    assert (trial["state"], trial["attempt"], trial["reason"]) == ("Planned", 1, "Lost")


def trial(n_spec: int, repeat: int, positions: int, violations: int) -> TrialStatus:
    check = TrialOutput(status=OutputStatus.SCORED, positions=positions, violations=violations)
    candidate = candidate_id(SpeculationMethod.MTP, n_spec)
    return TrialStatus(
        number=1,
        candidate=candidate,
        n_spec=n_spec,
        repeat=repeat,
        job_name="j",
        state=TrialState.MEASURED,
        output_check=check,
    )


@pytest.mark.parametrize("share", [0.05, 0.5, 0.999])
def test_the_fattest_outputs_that_are_believed_are_judged_at_once(share: float) -> None:
    """With exact sums over big integers two noisy trials of 80,000 positions took hours, and the operator its Lease."""
    violations = int(MAX_POSITIONS * share)
    trials = [trial(0, boot, MAX_POSITIONS, violations) for boot in range(8)]
    trials += [trial(n_spec, 0, MAX_POSITIONS, violations + n_spec) for n_spec in range(1, 17)]
    began = time.process_time()

    verify_outputs(trials)

    assert time.process_time() - began < 1


@given(st.integers(0, MAX_COUNT), st.integers(0, MAX_COUNT), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_limit_is_judged_at_once_whatever_was_counted(one: int, other: int, quantile: float) -> None:
    began = time.process_time()

    quantile_within(max(one, other), min(one, other), quantile)

    assert time.process_time() - began < 0.5
