"""What tells trials apart: their number, and the candidate that each of them measured."""

from __future__ import annotations

import json
from typing import Any

from mtp_operator.api.trial_documents import TrialPlan
from mtp_operator.resources.labels import CANDIDATE_LABEL

from .givens import model_body
from .world import World

EAGLE3: dict[str, Any] = {
    "model": {"uri": "pvc://weights/qwen"},
    "speculation": {"method": "Eagle3", "drafter": {"uri": "pvc://weights/eagle"}},
}


def test_a_candidate_is_a_method_and_its_n_wherever_a_trial_is_told_of() -> None:
    world = World(model_body(**EAGLE3))
    world.settle()

    job = world.open_job()
    (bench,) = job["spec"]["template"]["spec"]["containers"]
    plan = TrialPlan.model_validate(json.loads(bench["args"][-1].replace("$$", "$")))

    (trial,) = world.run()["status"]["trials"]
    assert (trial["number"], trial["candidate"], trial["nSpec"]) == (1, "off", 0)
    assert job["metadata"]["labels"][CANDIDATE_LABEL] == plan.candidate == "off"

    world.run_trial()
    world.settle()

    second = world.run()["status"]["trials"][1]
    assert (second["number"], second["candidate"], second["nSpec"]) == (2, "eagle3-6", 6)
    assert second["jobName"] == f"{world.run()['metadata']['name']}-t2-a0"
    assert world.open_job()["metadata"]["labels"][CANDIDATE_LABEL] == "eagle3-6"


def test_trials_are_counted_on_whatever_became_of_those_before() -> None:
    world = World()
    world.finish()

    trials = world.run()["status"]["trials"]
    assert [trial["number"] for trial in trials] == list(range(1, len(trials) + 1))
    for candidate in {trial["candidate"] for trial in trials}:
        boots = [trial["repeat"] for trial in trials if trial["candidate"] == candidate]
        assert boots == list(range(len(boots)))


def test_a_choice_whose_candidate_was_not_measured_is_not_the_operators() -> None:
    world = World()
    world.finish()
    world.run()["status"]["verdict"]["candidate"] = "eagle3-3"
    world.settle()

    (stalled,) = (one for one in world.run()["status"]["conditions"] if one["type"] == "Stalled")
    assert stalled["reason"] == "UnmanagedRun"
