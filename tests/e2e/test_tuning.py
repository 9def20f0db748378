"""The whole path with nothing left out: apply an MTPModel, real engines are measured, and the winner is served."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for
from tests.hub import Hub

from . import harness, traffic
from .construction import assert_counters_agree


def test_own_prompts_and_limits_are_obeyed(namespace: str) -> None:
    lines = '{"prompt": "Where is my parcel?"}\n{"prompt": "May I return the chair?"}\n'
    limit = {"metric": "P50RequestLatency", "concurrency": 1, "maxMilliseconds": 1}
    document = harness.sample(
        "demo-llamacpp",
        spec__serving={"replicas": 0},
        spec__tuning={
            "maxNSpec": 1,
            "budget": {"maxTrials": 2},
            "workload": {
                "prompts": harness.own_prompts(namespace, lines),
                "sampling": {"mode": "Custom", "temperatureMilli": 700, "topPMilli": 950, "topK": 20},
                "outputTokens": 16,
            },
            "objective": {"constraints": [limit]},
        },
    )
    harness.apply(document, namespace)
    name = document["metadata"]["name"]
    model = harness.wait_for_condition(namespace, name, "Ready", "True", "")

    run = harness.run_of(model)
    assert model["status"]["nSpec"] == 0
    assert run["status"]["observed"]["promptsSha256"] == hashlib.sha256(lines.encode()).hexdigest()
    trials = harness.measured_trials(run)
    assert trials
    for trial in trials:
        (level,) = trial["levels"]
        (count,) = level["limits"]
        assert count["exceeding"] == count["requests"] > 0


@pytest.mark.alone
def test_vllm_is_tuned_from_fetched_weights(namespace: str, hub: Hub, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    claim.mkdir()
    claim.chmod(0o777)
    harness.ensure_model_claim(namespace, "shared", claim)
    document = harness.sample(
        "demo-vllm",
        spec__model__uri=f"hf://{harness.HUB_REPOSITORY}",
        spec__storage={"existingClaim": "shared"},
        # The largest is measured right after n=0.
        spec__tuning__maxNSpec=harness.BEST_N_SPEC,
        spec__tuning__budget__maxTrials=3,
    )
    harness.apply(document, namespace)
    model = harness.wait_for_condition(namespace, "demo-vllm", "Ready", "True")
    run = harness.run_of(model)
    harness.assert_verdict_is_supported(model, run)
    assert_counters_agree(run, drafts_past_end=True)
    served = model["status"]["servedNSpec"]
    assert served == model["status"]["nSpec"]
    header, row = harness.kubectl("get", "mtpm", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "STATUS", "N_SPEC", "SPEEDUP", "ACC_LEN", "TOK/S", "READY", "AGE"]
    assert row.split()[1:3] == ["Serving", str(served)]
    assert row.split()[6] == "True"
    whole = claim / "models" / harness.HUB_REPOSITORY / hub.repositories[harness.HUB_REPOSITORY].commit
    assert (whole / "model.safetensors").is_file()
    assert not (whole / "model.gguf").exists()
    (compiled,) = (claim / "cache").iterdir()
    assert list(compiled.rglob("*.json"))

    client = traffic.start(namespace, model["status"]["url"], "demo-vllm")
    client.goes_on_for(20)
    assert client.failures() == []
    assert traffic.drafted_per_step(namespace, engine_for(EngineType.VLLM)) == served
    client.stop()
