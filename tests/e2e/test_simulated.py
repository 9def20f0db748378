"""A model is tuned on a GPU that is not there: the truth is known, and everybody is told that nothing was measured."""

from __future__ import annotations

from . import harness

NAME = "demo-simulated"

SPEEDS = {0: 39.685, 4: 129.816, 5: 132.524}
"""Tokens per second of the recorded curve: docs/data/three-systems.csv."""

TIMES_AS_FAST = 4


def test_the_recorded_best_is_chosen_and_called_simulated(namespace: str) -> None:
    harness.ensure_simulated_claim(namespace)
    harness.apply(harness.simulated(TIMES_AS_FAST, spec__serving={"replicas": 0}), namespace)

    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")

    run = harness.run_of(model)
    harness.assert_unsuspected(run)
    verdict = run["status"]["verdict"]
    assert verdict["type"] == "Selected", verdict
    assert verdict["nSpec"] in (4, 5)
    truth = SPEEDS[verdict["nSpec"]] / SPEEDS[0]
    assert float(verdict["speedupLow"]) <= truth <= float(verdict["speedupHigh"])
    assert verdict["message"].startswith("Simulated, no GPU was measured: ")
    assert harness.condition(model, "Tuned")["message"].startswith("Simulated, no GPU was measured: ")
    assert all(any(told.startswith("Simulated: ") for told in trial["warnings"]) for trial in run["status"]["trials"])
