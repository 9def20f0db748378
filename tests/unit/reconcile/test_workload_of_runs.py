"""A user's own prompts, limits on latencies and what is maximized, followed to the verdict."""

from __future__ import annotations

from mtp_operator.api.run import TrialState
from mtp_operator.api.spec import LatencyMetric
from mtp_operator.measures.quantities import LatencyCount

from .givens import SPEEDS, disqualified, model_body, result
from .world import World


def end_with_prompts(world: World, prompts_sha256: str) -> int:
    """The open trial ends well; it has read these prompts."""
    job = world.open_job()
    n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
    found = result(n_spec, SPEEDS[n_spec]).model_copy(update={"prompts_sha256": prompts_sha256})
    world.end_bench(world.start_pod(job), 0, found.encode())
    world.settle()
    return n_spec


def test_prompts_that_change_under_a_run_set_aside_what_had_the_old_ones() -> None:
    world = World()
    world.settle()
    old = [end_with_prompts(world, "0" * 64) for _ in range(2)]
    fingerprint = world.run()["status"]["fingerprint"]
    new = end_with_prompts(world, "1" * 64)
    status = world.run()["status"]
    assert [(trial["nSpec"], trial.get("reason")) for trial in status["trials"][:3]] == [
        (old[0], "PromptsChanged"),
        (old[1], "PromptsChanged"),
        (new, None),
    ]
    assert "spec.tuning.workload.prompts" in status["trials"][0]["message"]
    assert status["observed"]["promptsSha256"] == "1" * 64
    assert status["observed"]["node"] == "node-a"
    assert status["fingerprint"] != fingerprint
    assert [one for one, _ in world.events].count("TrialInvalidated") == 2
    while "verdict" not in world.run()["status"]:
        end_with_prompts(world, "1" * 64)
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def test_prompts_that_are_wrong_stall_the_model_whatever_the_trial() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    message = "spec.tuning.workload.prompts.configMap: own/prompts.jsonl: line 3: prompt: must not be empty"
    pod = world.start_pod(world.open_job())
    world.end_bench(pod, 1, disqualified(8, "PromptsUnusable", message).encode())
    world.settle()
    assert world.run()["status"]["verdict"]["type"] == "Failed"
    stalled = world.model_condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "PromptsUnusable")
    assert message in stalled["message"]
    assert "increase spec.tuning.retuneRequest" in stalled["message"]


def test_a_claim_with_prompts_that_does_not_exist_is_named_by_its_field() -> None:
    prompts = {"pvc": {"claim": "nowhere", "path": "a.jsonl"}}
    world = World(model_body(tuning={"maxNSpec": 6, "workload": {"prompts": prompts}}))
    world.settle()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": '0/1 nodes are available: persistentvolumeclaim "nowhere" not found.',
    }
    pod = world.start_pod(world.open_job())
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending", "conditions": [condition]}
    world.settle()
    assert world.model_condition("Ready")["reason"] == "ClaimUnusable"
    assert world.model_condition("Ready")["message"].startswith("spec.tuning.workload.prompts.pvc: ")


LIMIT = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": 800}


def tune_within_limit(world: World, exceeding: dict[int, int], requests: int = 120) -> None:
    """All trials end well; so many requests of an n take longer than the limit."""
    world.settle()
    while "verdict" not in world.run()["status"]:
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        found = result(n_spec, SPEEDS[n_spec])
        count = LatencyCount(
            metric=LatencyMetric.P95_TTFT, max_milliseconds=800, requests=requests, exceeding=exceeding.get(n_spec, 0)
        )
        levels = (found.levels[0].model_copy(update={"limits": (count,)}),)
        world.end_bench(world.start_pod(job), 0, found.model_copy(update={"levels": levels}).encode())
        world.settle()


def test_an_n_that_breaks_a_limit_is_not_chosen() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    tune_within_limit(world, {3: 30})
    assert world.run()["status"]["verdict"]["nSpec"] == 4


def test_an_n_that_cannot_be_shown_to_keep_a_limit_is_not_chosen() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    tune_within_limit(world, {}, requests=20)
    assert world.run()["status"]["verdict"]["type"] != "Selected"


def test_a_limit_whose_latency_was_not_measured_fails_the_trial() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"constraints": [LIMIT]}}))
    world.finish()
    for trial in world.run()["status"]["trials"]:
        assert (trial["state"], trial["reason"]) == (TrialState.FAILED, "Unmeasurable")
    assert "spec.tuning.objective.constraints[P95TimeToFirstToken]" in world.model_condition("Stalled")["message"]


def test_interactivity_is_maximized_where_it_is_asked_for() -> None:
    world = World(model_body(tuning={"maxNSpec": 6, "objective": {"maximize": "Interactivity"}}))
    world.settle()
    while "verdict" not in world.run()["status"]:
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        found = result(n_spec, SPEEDS[n_spec])
        seen = result(n_spec, 60.0 + 10 * (n_spec == 1)).levels[0].windows
        levels = (found.levels[0].model_copy(update={"interactivity": seen}),)
        world.end_bench(world.start_pod(job), 0, found.model_copy(update={"levels": levels}).encode())
        world.settle()
    assert world.run()["status"]["verdict"]["nSpec"] == 1
