"""Deployments that people run in 2026, from recipes of vLLM, vendors' playbooks and home clusters, as MTPModels.

That the API server takes them is tested with one, in tests/cluster/test_api.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.cli.render import Installation, models_in, rendered_objects
from mtp_operator.resources.labels import CANDIDATE_LABEL

DEPLOYMENTS = sorted((Path(__file__).parent / "real_deployments").glob("*.yaml"))


def deployed(path: Path) -> MTPModel:
    (model,) = models_in(path.read_text(encoding="utf-8"), path.name, "llm")
    return model


def engine_of_the_last_trial(model: MTPModel) -> dict[str, Any]:
    trials = [
        one
        for one in rendered_objects(model, Installation())
        if one["kind"] == "Job" and CANDIDATE_LABEL in one["metadata"]["labels"]
    ]
    containers = trials[-1]["spec"]["template"]["spec"]["initContainers"]
    (engine,) = (one for one in containers if one["name"] == "engine")
    found: dict[str, Any] = engine
    return found


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: path.stem)
def test_nothing_that_was_stated_is_lost(path: Path) -> None:
    model = deployed(path)

    engine = engine_of_the_last_trial(model)

    argv = " ".join(engine["args"]).replace("=", " ")
    assert [one for one in model.spec.engine.extra_args if one.replace("=", " ") not in argv] == []
    variables = {variable["name"]: variable["value"] for variable in engine["env"]}
    assert [one.name for one in model.spec.engine.env if variables.get(one.name) != one.value] == []
    assert ("speculative-config" if model.spec.engine.type == "VLLM" else "--spec-type") in argv


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("05", '"moe_backend": "triton"'),
        ("06", '--hf-overrides={"num_nextn_predict_layers": 1}'),
        ("12", "--kernel-config."),
        ("14", "--data-parallel-size=8"),
        ("16", '"draft_sample_method": "probabilistic"'),
        ("20", "--max-model-len=-1"),
        ("24", '"attention_backend": "FLASH_ATTN"'),
        ("25", '"method": "eagle"'),
        ("30", '"draft_tensor_parallel_size": 1'),
        ("32", '"rejection_sample_method": "block"'),
        ("33", "--served-model-name qwen3.6-27b qwen3.6-27b-nvfp4 default"),
        ("37", '"method": "dflash"'),
        ("41", "--spec-type draft-dspark"),
        ("42", "--spec-draft-p-min 0.75"),
        ("43", "--spec-draft-p-min 0.75"),
    ],
)
def test_what_could_not_be_said_before(name: str, part: str) -> None:
    (path,) = (one for one in DEPLOYMENTS if one.name.startswith(f"{name}-"))

    assert part in " ".join(engine_of_the_last_trial(deployed(path))["args"])
