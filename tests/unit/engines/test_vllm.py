"""The arguments of `vllm serve`."""

import json
from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import HOME, engine_for
from tests.unit.engines.settings import run_settings

ENGINE = engine_for(EngineType.VLLM)


def arguments(n_spec: int, drafter: str | None = None, speculation: Any = None, **vllm: Any) -> tuple[str, ...]:
    settings = run_settings(
        engine={"type": "VLLM", "image": "engine:1", "vllm": vllm, "extraArgs": ['--limit-mm-per-prompt={"image":0}']},
        speculation=speculation or {},
    )
    return ENGINE.arguments(settings, n_spec, "qwen", "/models/weights/qwen", drafter)


def test_what_the_spec_does_not_state_is_left_to_vllm_and_extra_arguments_come_last() -> None:
    assert arguments(0) == (
        "/models/weights/qwen",
        "--served-model-name=qwen",
        "--host=0.0.0.0",
        "--port=8000",
        "--tensor-parallel-size=1",
        '--limit-mm-per-prompt={"image":0}',
    )


def test_settings_become_flags() -> None:
    stated = arguments(
        0, maxModelLen=3000, maxNumSeqs=4, gpuMemoryUtilizationPercent=9, tensorParallelSize=2, prefixCaching="Enabled"
    )

    assert {
        "--max-model-len=3000",
        "--max-num-seqs=4",
        "--gpu-memory-utilization=0.09",
        "--tensor-parallel-size=2",
        "--enable-prefix-caching",
    } <= set(stated)


@pytest.mark.parametrize(
    ("speculation", "drafter", "configuration"),
    [
        ({}, None, {"method": "mtp", "num_speculative_tokens": 3}),
        (
            {"drafter": {"uri": "pvc://weights/assistant"}},
            "/models/weights/assistant",
            {"method": "mtp", "model": "/models/weights/assistant", "num_speculative_tokens": 3},
        ),
        (
            {"method": "DraftModel", "drafter": {"uri": "pvc://weights/small"}},
            "/models/weights/small",
            {"method": "draft_model", "model": "/models/weights/small", "num_speculative_tokens": 3},
        ),
        (
            {"method": "Eagle3", "drafter": {"uri": "pvc://weights/head"}},
            "/models/weights/head",
            {"method": "eagle3", "model": "/models/weights/head", "num_speculative_tokens": 3},
        ),
        ({"method": "NGram"}, None, {"method": "ngram", "prompt_lookup_max": 4, "num_speculative_tokens": 3}),
        (
            {"method": "NGram", "vllm": {"promptLookupMin": 2, "promptLookupMax": 6}},
            None,
            {"method": "ngram", "prompt_lookup_max": 6, "prompt_lookup_min": 2, "num_speculative_tokens": 3},
        ),
        (
            {"method": "Suffix"},
            None,
            {"method": "suffix", "suffix_decoding_max_cached_requests": 0, "num_speculative_tokens": 3},
        ),
        ({"method": "DSpark"}, None, {"method": "dspark", "num_speculative_tokens": 3}),
        (
            {
                "method": "DFlash",
                "drafter": {"uri": "pvc://weights/head"},
                "vllm": {
                    "draftTensorParallelSize": 1,
                    "moeBackend": "triton",
                    "attentionBackend": "FLASH_ATTN",
                    "quantization": "fp8",
                    "kvCacheDtype": "fp8",
                    "maxModelLen": 65536,
                    "rejectionSampleMethod": "Block",
                    "draftSampleMethod": "Probabilistic",
                    "paddedDrafterBatch": "Disabled",
                    "enforceEager": "Enabled",
                },
            },
            "/models/weights/head",
            {
                "method": "dflash",
                "model": "/models/weights/head",
                "draft_tensor_parallel_size": 1,
                "moe_backend": "triton",
                "attention_backend": "FLASH_ATTN",
                "quantization": "fp8",
                "kv_cache_dtype": "fp8",
                "max_model_len": 65536,
                "rejection_sample_method": "block",
                "draft_sample_method": "probabilistic",
                "enforce_eager": True,
                "disable_padded_drafter_batch": True,
                "num_speculative_tokens": 3,
            },
        ),
    ],
)
def test_speculation(speculation: Any, drafter: str | None, configuration: dict[str, Any]) -> None:
    flag, value = next(one for one in arguments(3, drafter, speculation) if "speculative" in one).split("=", 1)

    assert flag == "--speculative-config"
    assert json.loads(value) == configuration


def test_no_speculation_flag_is_set_at_n_0() -> None:
    assert not [one for one in arguments(0, "/models/weights/small") if "spec" in one or "small" in one]


@pytest.mark.parametrize(
    ("seqs", "n_spec", "flags"),
    [(128, 3, []), (128, 4, ["--max-cudagraph-capture-size=640"]), (1024, 0, ["--max-cudagraph-capture-size=1024"])],
)
def test_decode_batches_never_outgrow_the_captured_graphs(seqs: int, n_spec: int, flags: list[str]) -> None:
    assert [one for one in arguments(n_spec, maxNumSeqs=seqs) if "cudagraph" in one] == flags


@pytest.mark.parametrize("n_spec", [0, 3, 8])
@pytest.mark.parametrize(
    ("seqs", "flags"),
    [
        (120, []),
        (121, ["--max-num-batched-tokens=8192"]),
        (1024, ["--max-num-batched-tokens=17408"]),
    ],
)
def test_a_step_holds_all_drafts_and_is_as_wide_at_every_n(n_spec: int, seqs: int, flags: list[str]) -> None:
    assert [one for one in arguments(n_spec, maxNumSeqs=seqs) if "batched" in one] == flags


def test_code_of_the_model_runs_only_where_the_spec_says_so() -> None:
    assert "--trust-remote-code" in arguments(0, trustRemoteCode="Enabled")
    assert "--trust-remote-code" not in arguments(0, trustRemoteCode="Disabled")


def test_environment() -> None:
    environment = ENGINE.environment()

    assert environment["HOME"] == HOME
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.parametrize("argument", ["--disable-log-stats", "--max-num-seqs=4", "--pipeline-parallel-size=2"])
def test_arguments_that_spoil_the_measurement_are_refused(argument: str) -> None:
    settings = run_settings(engine={"type": "VLLM", "image": "engine:1", "extraArgs": [argument, "--enforce-eager"]})

    (refusal,) = ENGINE.refusals(settings)
    assert refusal.startswith(f"spec.engine.extraArgs[0]: must not be {argument.split('=')[0]}, which ")


def test_the_beginning_of_a_flag_is_the_flag() -> None:
    settings = run_settings(engine={"type": "VLLM", "image": "engine:1", "extraArgs": ["--pipeline-parallel=2"]})

    assert ENGINE.refusals(settings) == (
        "spec.engine.extraArgs[0]: must not be --pipeline-parallel-size, which does not work together with MTP: draft "
        "heads live on the last stage only; only 1 may be stated",
    )


def test_an_old_default_image_is_refused() -> None:
    (refusal,) = ENGINE.refusals(run_settings(engine={"type": "VLLM", "image": "vllm/vllm-openai:v0.30.1"}))

    assert refusal.startswith("spec.engine.image: vllm/vllm-openai:v0.30.1 must be vLLM 0.31 or later: ")


def test_each_request_has_a_cache_of_its_own() -> None:
    assert ENGINE.cache_breaking_fields("a") != ENGINE.cache_breaking_fields("b")


@pytest.mark.parametrize(
    ("caching", "flag"), [("Enabled", "--enable-prefix-caching"), ("Disabled", "--no-enable-prefix-caching")]
)
def test_prefix_caching_is_as_it_is_stated(caching: str, flag: str) -> None:
    assert flag in arguments(0, prefixCaching=caching)
