"""The whole path with nothing left out: apply an MTPModel, real engines are measured, n_spec is in its status."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.mtp_model import read_truth

from . import harness


def tune(namespace: str, sample: str, timeout_seconds: float, **changes: Any) -> dict[str, Any]:
    """Applies a sample and waits until it is tuned."""
    document = harness.sample(sample, **changes)
    harness.apply(document, namespace)
    return harness.wait_for_condition(
        "mtpmodel", namespace, document["metadata"]["name"], "Tuned", "True", "Selected", timeout_seconds
    )


def assert_counters_agree(run: dict[str, Any]) -> None:
    """Acceptance per position is what was built into the model, within five standard errors of sampling."""
    truth = read_truth(harness.model_folder() / "truth.json")
    measured = [arm for arm in run["status"]["arms"] if arm["state"] == "Measured"]
    assert {arm["nSpec"] for arm in measured} >= {0, 1}
    for arm in measured:
        (level,) = arm["levels"]
        if arm["nSpec"] == 0:
            assert "drafts" not in level
            continue
        assert level["draftTokens"] >= level["acceptedTokens"] > 0
        for position, accepted in enumerate(level["acceptedPerPosition"]):
            expected = truth.acceptance(position + 1)
            error = math.sqrt(expected * (1 - expected) / level["drafts"])
            assert accepted / level["drafts"] == pytest.approx(expected, abs=max(5 * error, 0.02))


def test_llamacpp_is_tuned(namespace: str) -> None:
    model = tune(namespace, "demo-llamacpp", 300)
    status = model["status"]
    assert status["nSpec"] == harness.BEST_N_SPEC
    assert float(status["speedup"]) > 1.2
    assert status["gpuProduct"] == "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
    assert_counters_agree(harness.run_of(model))
    header, row = harness.kubectl("get", "mtpm", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "N_SPEC", "SPEEDUP", "TOK/S", "ACCEPT", "TUNED", "READY", "AGE"]
    assert row.split()[1] == str(harness.BEST_N_SPEC)
    assert row.split()[5:7] == ["True", "True"]
    assert "NSpecChosen" in harness.kubectl("describe", "mtpm", "-n", namespace)
    assert harness.items("jobs", namespace) == []
    assert "ownerReferences" not in harness.run_of(model)["metadata"]


def test_vllm_is_tuned(namespace: str) -> None:
    model = tune(namespace, "demo-vllm", 1200)
    assert model["status"]["nSpec"] > 0
    assert float(model["status"]["speedup"]) > 1.0
    assert_counters_agree(harness.run_of(model))
