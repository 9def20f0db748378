"""`mtp export` for LLMKube, KAITO and AIConfigurator: their own fields where they have one, else the engine's flags."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from . import runs
from .test_export import export, text

COMMIT = "a" * 40
VIDEO_GPU = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"


def fetched(**spec: Any) -> dict[str, Any]:
    body = runs.selected()
    body["spec"] |= {
        "model": {"uri": "hf://org/repository", "revision": COMMIT, "servedName": "chat"},
        "weightsClaim": "weights",
        **spec,
    }
    body["status"]["observed"]["gpuProduct"] = VIDEO_GPU
    return body


def llama(**speculation: Any) -> dict[str, Any]:
    return fetched(
        model={"uri": "hf://org/repository/q8.gguf", "revision": COMMIT, "servedName": "chat"},
        engine={"type": "LlamaCpp", "image": "llama.cpp:server"},
        speculation=speculation,
    )


def objects(body: dict[str, Any], *options: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(body, *options)))


def chosen(body: dict[str, Any]) -> int:
    return int(body["status"]["verdict"]["nSpec"])


def test_llmkube_speculates_with_vllm_by_an_argument() -> None:
    body = fetched()

    model, service = objects(body, "--to=llmkube")

    assert model["spec"]["source"] == "org/repository"
    assert service["spec"]["modelRef"] == model["metadata"]["name"]
    assert service["spec"]["skipModelInit"] is True
    arguments = service["spec"]["extraArgs"]
    assert f"--revision={COMMIT}" in arguments
    assert any(f'"num_speculative_tokens": {chosen(body)}' in word for word in arguments)
    assert not [word for word in arguments if word.startswith(("--host", "--port", "--tensor-parallel-size", "org/"))]


def test_llmkube_has_fields_for_what_llama_server_drafts() -> None:
    body = llama(
        method="DraftModel",
        drafter={"uri": "pvc://drafters/small.gguf"},
        llamaCpp={"pMinMilli": 750, "nMin": 1},
    )

    model, drafter, service = objects(body, "--to=llmkube")

    assert (model["spec"]["source"], model["spec"]["files"]) == (f"hf://org/repository@{COMMIT}", ["q8.gguf"])
    assert drafter["spec"]["source"] == "pvc://drafters/small.gguf"
    assert service["spec"]["speculativeDecoding"] == {
        "type": "draft-simple",
        "nDraftMax": chosen(body),
        "pMin": 0.75,
        "draftModelRef": drafter["metadata"]["name"],
    }
    arguments = service["spec"]["extraArgs"]
    assert arguments[arguments.index("--spec-draft-n-min") + 1] == "1"
    assert not {"--model", "--hf-repo", "--spec-type", "--spec-draft-model", "--spec-draft-p-min"} & set(arguments)
    assert "--metrics" in arguments


def test_llmkube_gets_n_grams_with_their_own_arguments() -> None:
    body = llama(method="NGram")

    _, service = objects(body, "--to=llmkube")

    assert service["spec"]["speculativeDecoding"] == {"type": "ngram-map-k"}
    arguments = service["spec"]["extraArgs"]
    assert arguments[arguments.index("--spec-ngram-map-k-size-m") + 1] == str(chosen(body))


@pytest.mark.parametrize("body", [fetched, llama])
def test_no_form_speculates_at_n_0(body: Any) -> None:
    for document in objects(body(), "--to=llmkube", "--n-spec=0"):
        assert "spec-" not in yaml.safe_dump(document)
        assert "speculative" not in yaml.safe_dump(document)


def test_kaito_reads_settings_as_text_from_a_config_map() -> None:
    body = fetched()

    settings, inference_set = objects(body, "--to=kaito")

    template = inference_set["spec"]["template"]["inference"]
    assert template == {"preset": {"name": "org/repository"}, "config": settings["metadata"]["name"]}
    vllm = yaml.safe_load(settings["data"]["inference_config.yaml"])["vllm"]
    assert set(map(type, vllm.values())) == {str}
    assert yaml.safe_load(vllm["speculative-config"])["num_speculative_tokens"] == chosen(body)
    assert not {"host", "port", "revision", "served-model-name", "model"} & set(vllm)


def test_aiconfigurator_gets_the_acceptance_that_was_measured() -> None:
    body = fetched()

    output = text(body, "--to=aiconfigurator")

    length = next(float(line.split()[-1]) for line in output.splitlines() if line.startswith("# acceptance length"))
    experiment = yaml.safe_load(output)["measured"]
    assert experiment["system_name"] == "rtx_pro_6000_server"
    assert experiment["nextn"] == chosen(body)
    assert experiment["nextn_accepted"] == pytest.approx(length - 1)
    assert 0 <= experiment["nextn_accepted"] <= experiment["nextn"]
    assert "nextn" not in yaml.safe_load(text(body, "--to=aiconfigurator", "--n-spec=0"))["measured"]


def sglang() -> dict[str, Any]:
    settings = {"tensorParallelSize": 2}
    body = fetched(engine={"type": "SGLang", "image": "sglang:1", "sglang": settings}, speculation={})
    body["spec"]["accelerator"]["count"] = 2
    return body


def test_aiconfigurator_models_sglang_too() -> None:
    experiment = yaml.safe_load(text(sglang(), "--to=aiconfigurator"))["measured"]

    assert experiment["backend_name"] == "sglang"
    assert (experiment["total_gpus"], experiment["agg_tp_candidates"]) == (2, [2])


def with_gpu(product: str) -> dict[str, Any]:
    body = fetched()
    body["status"]["observed"]["gpuProduct"] = product
    return body


@pytest.mark.parametrize(
    ("body", "form", "said"),
    [
        (fetched(accelerator={"count": 16}), "llmkube", "llmkube: a pod of LLMKube has at most 8 GPUs, not 16"),
        (runs.selected(), "llmkube", "llmkube: it takes weights from the hub, not pvc://"),
        (
            sglang(),
            "llmkube",
            "llmkube: the operator writes vLLM and llama.cpp for LLMKube, and the run measured SGLang",
        ),
        (sglang(), "kaito", "kaito: KAITO serves with vLLM"),
        (sglang(), "vllm-recipe", "vllm-recipe is a configuration file of vLLM"),
        (llama(), "kaito", "kaito: KAITO serves with vLLM"),
        (runs.selected(), "kaito", "kaito: it takes weights from the hub, not pvc://"),
        (
            fetched(engine={"type": "VLLM", "image": "v:1", "extraArgs": ["--enable-expert-parallel"]}),
            "kaito",
            "kaito: its inference_config.yaml has no place for a flag without a value (--enable-expert-parallel)",
        ),
        (
            fetched(engine={"type": "VLLM", "image": "v:1", "env": [{"name": "A", "value": "1"}]}),
            "kaito",
            "kaito: an InferenceSet has no place for environment variables (A)",
        ),
        (llama(), "aiconfigurator", "aiconfigurator: it models vLLM, SGLang and TensorRT-LLM"),
        (
            fetched(speculation={"method": "NGram"}),
            "aiconfigurator",
            "aiconfigurator: it models no drafter but MTP heads inside the model",
        ),
        (with_gpu("NVIDIA-Tesla"), "aiconfigurator", "aiconfigurator: it has no figures of the GPU NVIDIA-Tesla"),
    ],
)
def test_what_another_system_has_no_place_for_is_said(body: dict[str, Any], form: str, said: str) -> None:
    code, output, errors = export(body, f"--to={form}")

    assert (code, output) == (1, "")
    assert errors.startswith(said)
