"""What becomes of trials that fail, drift, are too slow or are lost."""

from __future__ import annotations

import json
from typing import Any

from mtp_operator.api.run import MAX_LOSSES, TrialState

from .givens import disqualified
from .world import World, trials


def test_a_crashing_engine_ends_its_trial_at_once_and_harms_no_other() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    crashing = world.open_job()
    pod = world.start_pod(crashing)
    engine = pod["status"]["initContainerStatuses"][0]
    engine["restartCount"] = 1
    engine["lastState"] = {"terminated": {"exitCode": 1, "message": "ValueError: no such kernel"}}
    world.settle()
    assert crashing["spec"]["activeDeadlineSeconds"] == 1
    assert trials(world)[-1][1] == TrialState.ENDING
    pod["status"]["phase"] = "Failed"
    world.end_job(crashing["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.settle()
    failed = next(trial for trial in world.run()["status"]["trials"] if trial["state"] == TrialState.FAILED)
    assert failed["reason"] == "EngineCrashed"
    assert "code 1" in failed["message"]
    assert "no such kernel" in failed["message"]
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] != failed["nSpec"]
    assert world.run()["status"]["verdict"]["type"] == "Selected"


def test_a_pod_that_vanishes_after_its_trial_was_ended_changes_nothing() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    job = world.open_job()
    pod = world.start_pod(job)
    pod["status"]["initContainerStatuses"][0] |= {
        "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": ""}},
    }
    world.settle()
    world.pods.clear()
    world.end_job(job["metadata"]["name"], "Failed", "DeadlineExceeded")
    world.settle()
    failed = next(trial for trial in world.run()["status"]["trials"] if trial["state"] == TrialState.FAILED)
    assert failed["reason"] == "OOMKilled"


def test_a_lost_pod_is_repeated_and_not_counted() -> None:
    world = World()
    world.settle()
    job = world.open_job()
    world.start_pod(job)
    world.settle()
    world.pods.clear()
    world.lose_trial()
    (trial,) = world.run()["status"]["trials"]
    assert (trial["attempt"], trial["jobName"][-2:]) == (1, "a1")
    assert world.run()["status"]["counters"]["lost"] == 1
    assert len(world.jobs) == 2
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def drifting(world: World) -> dict[str, Any]:
    """The open trial ends with sinking throughput; answers its trial, after everything has settled."""
    return failing(world, "Drifting", "throughput sank by 20%")


def too_slow(world: World) -> dict[str, Any]:
    """The open trial ends without enough passes."""
    return failing(world, "TooSlow", "only 1 of the 4 passes needed")


def planned_level_seconds(world: World) -> float:
    """Time of a level of the open trial."""
    (bench,) = world.open_job()["spec"]["template"]["spec"]["containers"]
    seconds: float = json.loads(bench["args"][-1].replace("$$", "$"))["levelSeconds"]
    return seconds


def failing(world: World, reason: str, message: str) -> dict[str, Any]:
    """The open trial ends with this against it; answers its trial, after everything has settled."""
    job = world.open_job()
    n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
    pod = world.start_pod(job)
    world.settle()
    world.tick(60)
    world.end_bench(pod, 0, disqualified(n_spec, reason, message).encode())
    world.settle()
    trial: dict[str, Any] = next(one for one in world.run()["status"]["trials"] if one["nSpec"] == n_spec)
    return trial


def test_a_drifting_trial_is_repeated_once_and_counts_neither_as_lost_nor_as_failed() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()

    trial = drifting(world)

    assert (trial["state"], trial["attempt"], trial["drifted"]) == ("Running", 1, 1)
    assert (trial["reason"], trial["message"]) == ("Drifting", "throughput sank by 20%")
    assert world.events[-1] == ("TrialDrifted", "trial 2 (mtp-6): throughput sank by 20%; retrying")
    assert world.run()["status"]["counters"] == {"measured": 1, "failed": 0, "lost": 0, "gpuSeconds": 90}
    world.finish()
    assert world.model is not None
    assert world.model["status"]["nSpec"] == 3


def test_a_trial_that_drifts_twice_is_unstable() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    drifting(world)

    trial = drifting(world)

    assert (trial["state"], trial["reason"]) == ("Failed", "Unstable")
    assert trial["message"] == "throughput sank by 20%, in both attempts"
    assert world.run()["status"]["counters"]["failed"] == 1


def test_a_lost_attempt_in_between_does_not_make_up_for_drifting() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    drifting(world)
    world.jobs.pop(world.open_job()["metadata"]["name"])
    world.settle()
    world.tick(10)
    world.settle()

    assert drifting(world)["reason"] == "Unstable"


def test_a_trial_that_is_too_slow_is_tried_again_with_twice_the_time_before_it_counts() -> None:
    world = World()
    world.settle()
    usual = planned_level_seconds(world)

    trial = too_slow(world)

    assert (trial["state"], trial["attempt"], trial["reason"]) == ("Running", 1, "TooSlow")
    assert world.events[-1] == (
        "TrialTooSlow",
        "trial 1 (off): only 1 of the 4 passes needed; retrying with twice the time",
    )
    assert planned_level_seconds(world) == 2 * usual
    assert world.run()["status"]["counters"]["failed"] == 0
    world.finish()
    assert world.run()["status"]["verdict"]["nSpec"] == 3


def test_a_trial_that_is_too_slow_twice_has_failed() -> None:
    world = World()
    world.settle()
    world.run_trial()
    world.settle()
    too_slow(world)

    trial = too_slow(world)

    assert (trial["state"], trial["reason"]) == ("Failed", "TooSlow")
    assert world.run()["status"]["counters"]["failed"] == 1


def test_a_lost_attempt_in_between_does_not_take_the_time_from_a_slow_trial() -> None:
    world = World()
    world.settle()
    usual = planned_level_seconds(world)
    too_slow(world)

    world.jobs.pop(world.open_job()["metadata"]["name"])
    world.settle()
    world.tick(10)
    world.settle()

    assert planned_level_seconds(world) == 2 * usual
    assert world.events[-1][0] == "TrialLost"
    assert drifting(world)["state"] == "Running"
    assert planned_level_seconds(world) == 2 * usual
    assert too_slow(world)["state"] == "Failed"


def test_losses_in_a_row_are_waited_out_and_told_and_end_no_run() -> None:
    """A device plugin that restarts refuses three pods in six seconds."""
    world = World()
    world.settle()
    for pause, type_ in ((10, "Reconciling"), (60, "Reconciling"), (300, "Stalled")):
        world.lose_trial(pause - 1)
        assert all(job["status"].get("conditions") for job in world.jobs.values())
        assert world.plan().wake_after_seconds == 1
        assert world.model_condition(type_)["status"] == "True"
        assert world.model_condition("Ready")["reason"] == "TrialLost"
        world.tick(1)
        world.settle()
        world.open_job()
        assert world.model_condition("Stalled")["status"] == "False"
    world.finish()

    assert world.run()["status"]["verdict"]["nSpec"] == 3
    assert world.run()["status"]["counters"]["lost"] == 3
    assert "retryAfter" not in world.run()["status"]["trials"][0]


def test_a_clock_that_is_set_back_does_not_keep_a_lost_trial_waiting() -> None:
    world = World()
    world.settle()
    world.lose_trial(1)
    assert all(job["status"].get("conditions") for job in world.jobs.values())

    world.tick(-31 * 24 * 3600)
    world.settle()

    world.open_job()


def test_a_trial_that_is_lost_eight_times_fails() -> None:
    world = World()
    world.settle()
    for _ in range(MAX_LOSSES):
        world.lose_trial(3600)
    trial = world.run()["status"]["trials"][0]
    assert (trial["state"], trial["reason"]) == (TrialState.FAILED, "RetryLimitReached")


def test_a_deleted_job_is_repeated() -> None:
    world = World()
    world.settle()
    world.jobs.clear()
    world.settle()
    world.tick(10)
    world.settle()
    assert next(iter(world.jobs)).endswith("-t1-a1")


def test_a_baseline_that_failed_once_is_tried_again_and_then_compared_with() -> None:
    world = World()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.end_bench(pod, 0, disqualified(0, "EngineFailed", "CUDA error: an illegal memory access").encode())
    world.finish()
    assert trials(world)[:3] == [(0, TrialState.FAILED), (6, TrialState.MEASURED), (0, TrialState.MEASURED)]
    verdict = world.run()["status"]["verdict"]
    assert (verdict["type"], verdict["nSpec"]) == ("Selected", 3)
    assert "n_spec=0, failed 1 of 2 times" in verdict["message"]


def test_a_baseline_that_failed_twice_ends_the_run_with_the_engines_words() -> None:
    world = World()
    for _ in range(3):
        world.settle()
        job = world.open_job()
        n_spec = int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])
        missing = disqualified(n_spec, "ModelMissing", "spec.model.uri: nothing at gemma in claim weights")
        world.end_bench(world.start_pod(job), 0, missing.encode())
    world.settle()
    assert [n_spec for n_spec, _ in trials(world)] == [0, 6, 0]
    assert world.run()["status"]["verdict"]["type"] == "Failed"
    stalled = world.model_condition("Stalled")
    assert stalled["status"] == "True"
    assert stalled["reason"] == "ModelMissing"
    assert "spec.model.uri" in stalled["message"]
    assert world.jobs == {}
