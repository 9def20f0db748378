"""What cannot work says so: one clear reason, soon, in a condition of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import harness, rules

NAME = "demo-llamacpp"


def assert_reason(namespace: str, reason: str, words: list[str]) -> None:
    """Ready is False for this reason within this time, and its message has these words."""
    model = harness.wait_for_condition(namespace, NAME, "Ready", "False", reason)
    message = harness.condition(model, "Ready")["message"]
    for word in words:
        assert word in message


def assert_reason_of_pod(namespace: str, reason: str, words: list[str]) -> None:
    """The same within a minute of the moment at which the trial's pod has a node."""
    harness.wait_until_placed(namespace)
    assert_reason(namespace, reason, words)


def begin(namespace: str, **changes: Any) -> None:
    """Applies the sample with changes."""
    harness.apply(harness.sample(NAME, **changes), namespace)


def test_quota_refuses_the_trial(namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-gpus"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "0"}},
    }
    harness.apply(quota, namespace)
    begin(namespace)
    assert_reason(namespace, "TrialRefused", ["exceeded quota: no-gpus", "requests.nvidia.com/gpu"])
    harness.kubectl("delete", "resourcequota", "no-gpus", "-n", namespace)
    harness.wait_for_condition(namespace, NAME, "Ready", "False", "Tuning")


def test_admission_refuses_the_trial(namespace: str) -> None:
    policy = rules.pod_policy(namespace, namespace, "false", "no pods in this namespace")
    harness.kubectl("apply", "-f", "-", document={"apiVersion": "v1", "kind": "List", "items": policy})
    try:
        harness.wait_until(lambda: rules.refusal_of_a_pod(namespace), "the policy in force")
        begin(namespace)
        assert_reason(namespace, "TrialRefused", ["no pods in this namespace"])
        model = harness.get("mtpmodels", namespace, NAME)
        assert harness.condition(model, "Stalled")["status"] == "True"
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            harness.kubectl("delete", kind, namespace)


def test_gpu_that_no_node_has(namespace: str) -> None:
    begin(namespace, spec__accelerator={"products": ["NVIDIA-B200"], "count": 2})
    assert_reason(namespace, "NoNodeFits", ["2 x nvidia.com/gpu", "NVIDIA-B200", "0/1 nodes are available"])


def test_image_that_does_not_exist(namespace: str) -> None:
    begin(namespace, spec__engine__image="localhost/no/such-engine:1")
    assert_reason_of_pod(namespace, "ImageUnavailable", ["spec.engine.image", "localhost/no/such-engine:1"])


def test_claim_that_does_not_exist(namespace: str) -> None:
    begin(namespace, spec__model__uri="pvc://nowhere/model.gguf")
    assert_reason(namespace, "ClaimUnusable", ["spec.model.uri", "nowhere"])


def test_model_folder_that_is_empty(namespace: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    harness.ensure_model_claim(namespace, "empty", tmp_path)
    begin(namespace, spec__model__uri="pvc://empty/model.gguf")
    assert_reason_of_pod(namespace, "ModelMissing", ["spec.model.uri", "model.gguf"])


def test_engine_that_crashes_at_start(namespace: str) -> None:
    begin(namespace, spec__engine__extraArgs=["--no-such-flag"])
    assert_reason_of_pod(namespace, "EngineCrashed", ["n_spec=0", "exited with code 1", "--no-such-flag"])


def test_engine_that_is_healthy_and_dies_at_its_first_request(namespace: str) -> None:
    """vLLM's build for CPUs, with a model that has recurrent layers and with its prefix cache, once it speculates."""
    vllm = {"maxModelLen": 2048, "maxNumSeqs": 4, "prefixCaching": "Enabled"}
    harness.apply(harness.sample("demo-vllm", spec__engine__vllm=vllm), namespace)

    def failed_trial() -> dict[str, Any] | None:
        runs = harness.items("mtptuningruns", namespace)
        trials = [trial for run in runs for trial in run["status"].get("trials", ())]
        return next((trial for trial in trials if trial["state"] == "Failed"), None)

    trial = harness.wait_until(failed_trial, "a failed trial", lambda: harness.story(namespace, "demo-vllm"))
    assert trial is not None
    assert trial["reason"] in ("EngineFailed", "EngineCrashed")
    for words in ("was healthy and ended at its first completion", "'function' object is not subscriptable"):
        assert words in trial["message"]


def test_tuning_disabled_measures_nothing(namespace: str) -> None:
    begin(namespace, spec__tuning={"mode": "Disabled"})
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "Disabled")
    assert model["status"]["nSpec"] == model["status"]["servedNSpec"] == 0
    assert harness.items("mtptuningruns", namespace) == []


def test_prompts_with_a_wrong_line(namespace: str) -> None:
    prompts = harness.own_prompts(namespace, '{"prompt": "Where is my parcel?"}\n{"prompt": "a", "categroy": "Law"}\n')
    begin(namespace, spec__tuning={"workload": {"prompts": prompts}})
    words = ["spec.tuning.workload.prompts.configMap: own/prompts.jsonl: line 2: categroy"]
    assert_reason_of_pod(namespace, "PromptsUnusable", words)
    model = harness.get("mtpmodels", namespace, NAME)
    assert harness.condition(model, "Stalled")["status"] == "True"


def test_config_map_of_prompts_that_does_not_exist(namespace: str) -> None:
    prompts = {"configMap": {"name": "nowhere", "key": "prompts.jsonl"}}
    begin(namespace, spec__tuning={"workload": {"prompts": prompts}})
    assert_reason_of_pod(namespace, "PodNotStarted", ["FailedMount", "prompts", 'configmap "nowhere" not found'])


def test_claim_of_prompts_that_does_not_exist(namespace: str) -> None:
    prompts = {"pvc": {"claim": "no-prompts", "path": "prompts.jsonl"}}
    begin(namespace, spec__tuning={"workload": {"prompts": prompts}})
    assert_reason(namespace, "ClaimUnusable", ["spec.tuning.workload.prompts.pvc", "no-prompts"])
