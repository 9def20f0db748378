"""What a user reads in the status of a model."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

from .givens import SPEEDS, disqualified, model_body, result
from .world import World


@functools.cache
def _served() -> World:
    world = World(model_body(serving={"replicas": 1}))
    world.finish()
    world.replace_servers()
    world.settle()
    return world


def served() -> World:
    """A model whose choice is served."""
    return copy.deepcopy(_served())


def told(world: World, type_: str) -> tuple[str, str]:
    condition = world.model_condition(type_)
    return condition["status"], condition["reason"]


def status(world: World) -> dict[str, Any]:
    assert world.model is not None
    found: dict[str, Any] = world.model["status"]
    return found


def test_after_an_upgrade_measuring_again_leaves_the_model_ready() -> None:
    world = World()
    world.finish()
    world.settings = replace(world.settings, bench_image="operator:2")
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()
    assert len(world.jobs) == 1
    assert (world.model_condition("Ready")["status"], world.model_condition("Tuned")["status"]) == ("True", "True")


def test_what_was_chosen_is_told_with_its_interval_and_no_more_digits_than_that_carries() -> None:
    world = World()
    world.finish()
    assert world.model is not None
    status = world.model["status"]
    low, speedup, high = (float(status[name]) for name in ("speedupLow", "speedup", "speedupHigh"))
    assert low < speedup < high
    assert high - low >= 0.02
    assert {len(status[name].partition(".")[2]) for name in ("speedupLow", "speedup", "speedupHigh")} == {2}
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    assert not {"speedup", "speedupLow", "speedupHigh"} & world.model["status"].keys()


def test_the_sentence_of_a_verdict_stands_once_among_the_conditions() -> None:
    world = World()
    world.finish()
    sentence = world.run()["status"]["verdict"]["message"]
    assert world.model is not None
    said = [one["message"] for one in world.model["status"]["conditions"]]
    assert [sentence in message for message in said].count(True) == 1


def test_what_is_not_the_case_is_no_condition() -> None:
    world = World()
    world.settle()
    assert world.model is not None
    assert {"Ready", "Reconciling"} <= {one["type"] for one in world.model["status"]["conditions"]}
    world.finish()
    types = {one["type"] for one in world.model["status"]["conditions"]}
    assert types == {"Ready", "Serving", "Tuned", "WeightsReady"}


def test_after_an_upgrade_measuring_again_restarts_no_server_that_serves_the_same() -> None:
    world = served()
    before = world.deployment()["spec"]["template"]
    world.settings = replace(world.settings, bench_image="operator:2", ready_seconds=77)
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.finish()
    assert len(world.runs) == 2
    assert world.deployment()["spec"]["template"] == before


def test_a_model_is_never_not_ready_because_all_is_available() -> None:
    world = served()
    world.change_spec(engine={"type": "VLLM", "image": "vllm:2", "vllm": {"maxNumSeqs": 1}})
    world.change_spec(tuning={"maxNSpec": 6, "suspend": True})
    world.settle()
    assert told(world, "Serving") == ("True", "Available")
    assert told(world, "Ready") == ("False", "OldSettingsServed")
    assert "settings of an earlier spec" in world.model_condition("Ready")["message"]


def test_the_run_with_the_evidence_stays_named_while_another_one_is_under_way() -> None:
    world = served()
    first = status(world)["tuningRunRef"]["name"]
    world.change_spec(tuning={"maxNSpec": 6, "retuneRequest": 1})
    world.settle()
    second = next(name for name in world.runs if name != first)
    assert status(world)["tuningRunRef"] == {"name": first}
    assert status(world)["activeTuningRunRef"] == {"name": second}
    world.finish()
    assert status(world)["tuningRunRef"] == {"name": second}
    assert "activeTuningRunRef" not in status(world)


def test_a_search_that_its_budget_cut_short_is_not_called_tuned() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "budget": {"maxTrials": 2}}))
    world.finish()
    assert told(world, "Tuned") == ("False", "Inconclusive")
    assert "Stopped by the budget; next would be" in world.model_condition("Tuned")["message"]
    assert world.run()["status"]["verdict"]["reason"] == "BudgetExhausted"


def test_a_first_measurement_that_fails_leaves_the_baseline_serving_and_the_model_ready() -> None:
    world = World(model_body(serving={"replicas": 1, "whileTuning": "Baseline"}))
    world.settle()
    world.start_server(ready=True)
    world.settle()
    for _ in range(3):
        pod = world.start_pod(world.open_job())
        world.settle()
        world.end_bench(pod, 0, disqualified(0, "RequestsFailed", "3 of 80 requests failed").encode())
        world.settle()
    assert told(world, "Tuned") == ("False", "RequestsFailed")
    assert told(world, "Serving") == ("True", "Available")
    assert told(world, "Ready") == ("True", "RequestsFailed")


def test_a_verdict_tells_its_noise_the_best_of_each_level_and_what_is_traded_for_what() -> None:
    verdict = served().run()["status"]["verdict"]
    assert verdict["noise"]["source"] == "Assumed"
    share = float(verdict["noise"]["share"])
    assert 0.002 < share < 0.1
    assert f"run-to-run noise {share:.1%}" in verdict["message"]
    assert "assumed: no n_spec has two trials" in verdict["message"]
    assert verdict["bestPerLevel"] == [
        {"concurrency": 1, "candidate": "mtp-3", "nSpec": 3, "speedup": verdict["speedup"]}
    ]
    (point,) = verdict["pareto"]
    assert (point["candidate"], point["nSpec"], point["concurrency"]) == ("mtp-3", 3, 1)
    assert (verdict["candidate"], verdict["nSpec"]) == ("mtp-3", 3)
    assert point["outputTokensPerSecond"] == point["requestOutputTokensPerSecond"]


def test_a_trial_tells_when_it_began_and_when_it_ended() -> None:
    for trial in served().run()["status"]["trials"]:
        assert trial["startedAt"] < trial["endedAt"]


def test_a_trial_tells_how_long_its_engine_took_until_it_was_ready() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.settle()
    world.end_bench(pod, 0, result(0, 57.0).replace(ready_seconds=83.4).encode())
    world.settle()

    first, second = world.run()["status"]["trials"]
    assert first["readySeconds"] == 83
    assert "readySeconds" not in second


def test_a_trial_that_failed_a_gate_tells_how_long_its_engine_took() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.settle()
    world.end_bench(
        pod, 0, disqualified(0, "RequestsFailed", "3 of 80 requests failed").replace(ready_seconds=20).encode()
    )
    world.settle()

    first = world.run()["status"]["trials"][0]
    assert (first["state"], first["readySeconds"]) == ("Failed", 20)


def test_two_trials_of_a_candidate_measure_the_noise() -> None:
    world = World()
    world.finish({**SPEEDS, 3: 60.5})

    verdict, trials = world.run()["status"]["verdict"], world.run()["status"]["trials"]
    again = len({trial["candidate"] for trial in trials}) < len(trials)
    assert again
    assert verdict["noise"]["source"] == "Measured"


def summaries(world: World, *steps: Any) -> list[str]:
    """What the table says after each step, once all is settled."""
    said = []
    for step in steps:
        step()
        world.settle()
        said.append(status(world)["summary"])
    return said


def test_the_table_says_how_far_a_tuning_is_and_what_is_served_after_it() -> None:
    world = World(model_body(serving={"replicas": 1}))

    said = summaries(world, lambda: None, world.run_trial, world.run_trial, world.finish, world.replace_servers)

    assert said == ["Tuning 0/24", "Tuning 1/24, 30s each", "Tuning 2/24, 30s each", "Starting", "Serving"]
    assert summaries(world, lambda: world.change_spec(serving={"replicas": 0})) == ["Tuned"]


def test_the_table_names_what_is_in_the_way() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job(), phase="Pending", startTime=None, initContainerStatuses=[])
    waiting = {"name": "engine", "state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}}
    pod["status"] |= {"containerStatuses": [], "initContainerStatuses": [waiting]}

    assert summaries(world, lambda: None) == ["Blocked: ImageUnavailable"]


def test_the_table_says_why_nothing_is_drafted() -> None:
    off, doubtful, pinned = World(), World(model_body(tuning={"maxNSpec": 4, "budget": {"maxTrials": 3}})), World()
    off.finish({n_spec: 57.0 - 3 * n_spec for n_spec in range(9)})
    doubtful.finish({n_spec: 57.0 + 0.9 * n_spec for n_spec in range(9)})
    pinned.change_spec(speculation={"method": "MTP", "nSpec": 5})
    pinned.settle()

    assert [status(one)["summary"] for one in (off, doubtful, pinned)] == ["Off", "Not proven", "Pinned"]


def test_events_come_in_their_order_and_none_twice() -> None:
    world = World(model_body(serving={"replicas": 1}))
    world.finish()
    world.replace_servers()
    world.settle()

    reasons = [reason for reason, _ in world.events]
    assert reasons[:2] == ["TuningStarted", "TrialMeasured"]
    assert world.events[0][1].endswith(". Measuring n_spec=0, the baseline")
    assert reasons[-2:] == ["NSpecChosen", "NSpecServed"]
    trials = reasons[2:-2]
    assert trials == ["TrialPlanned", "TrialMeasured"] * (len(trials) // 2)
    assert len(world.events) == len(set(world.events))


def test_one_loss_is_one_event() -> None:
    world = World()
    world.settle()

    world.lose_trial()

    assert [reason for reason, _ in world.events].count("TrialLost") == 1
