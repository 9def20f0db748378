"""Which flags and variables of engines are refused, and what is said of them.

That the API server says the same is tested with one, in tests/cluster/test_api.py.
"""

from __future__ import annotations

import pytest

from mtp_operator.api.engines import FLAGS, VARIABLES, llamacpp_settings, vllm_settings


@pytest.mark.parametrize(
    "argument",
    [
        "--enforce-eager",
        "--load-format=fastsafetensors",
        "--quantization=modelopt",
        '--hf-overrides={"num_nextn_predict_layers": 3}',
        "--generation-config=vllm",
        '--override-generation-config={"top_k": 20}',
        "--chat-template=examples/tool_chat_template_gemma4.jinja",
        "--data-parallel-size=1",
        "--data_parallel_size=1",
        "--pipeline-parallel-size=1",
        "--distributed-executor-backend=mp",
        "--n-predict=-1",
        "--kernel-config.moe_backend=marlin",
        "--compilation-config.custom_ops+=+quant_fp8",
        "--mmproj=/models/weights/mmproj.gguf",
        "--temp=-1",
        "--rope-freq-base=-.5",
    ],
)
def test_what_spoils_nothing_passes(argument: str) -> None:
    assert list(FLAGS.complaints([argument])) == []


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--max-model-len=1", "must not be --max-model-len, which is spec.engine.vllm.maxModelLen"),
        ("--max_model_len=1", "must not be --max-model-len, which is spec.engine.vllm.maxModelLen"),
        ("--speculative-config.method=mtp", "must not be --speculative-config, which is what the operator tunes"),
        ("--pipeline-parallel=2", "must not be --pipeline-parallel-size, which "),
        ("--data-parallel-size=8", "dataParallelSize or spec.engine.sglang.dataParallelSize; only 1 may be stated"),
        ("--disable-prefix-caching", "which is spec.engine.vllm.prefixCaching"),
        ("--spec-ngram-map-k-size-m=4", "which is what the operator tunes"),
        ("--verbose=--agent", "must not have a value that begins with '-' and a letter"),
        ("--verbose=-fa", "must not have a value that begins with '-' and a letter"),
        ("serve", "must be one long flag in lower case"),
        ("--seed=1\n", "must be one long flag in lower case"),
    ],
)
def test_a_complaint_names_the_place_the_flag_and_the_way_out(argument: str, complaint: str) -> None:
    (said,) = FLAGS.complaints(["--enforce-eager", argument])

    assert said.startswith("spec.engine.extraArgs[1]: must ")
    assert complaint in said


def test_variables() -> None:
    stated = {"HF_HUB_OFFLINE": "1", "NVIDIA_DRIVER_CAPABILITIES": "all", "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}
    assert list(VARIABLES.complaints(stated)) == []

    said = list(VARIABLES.complaints({"A": "1", "HF_HUB_OFFLINE": "0", "LLAMA_ARG_MODEL": "x"}))
    assert [one.partition(", which ")[0] for one in said] == [
        "spec.engine.env[1].name: must not be HF_HUB_OFFLINE",
        "spec.engine.env[2].name: must not be LLAMA_ARG_MODEL",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "OPENSSL_CONF", "CUDA_HOME", "NVCC_PREPEND_FLAGS", "TRITON_PTXAS_PATH",
        "TRITON_CACHE_DIR", "VLLM_USE_RUST_FRONTEND", "VLLM_RUST_FRONTEND_PATH", "VLLM_ENABLE_CUDA_COMPATIBILITY",
        "VLLM_CUDA_COMPATIBILITY_PATH", "VLLM_MODEL_REDIRECT_PATH", "ALL_PROXY", "all_proxy", "VLLM_DP_MASTER_IP",
        "VLLM_NIXL_SIDE_CHANNEL_HOST",
    ],
)  # fmt: skip
def test_a_variable_that_runs_code_or_opens_the_network_is_refused(name: str) -> None:
    (said,) = VARIABLES.complaints({name: "x"})

    assert said.startswith(f"spec.engine.env[0].name: must not be {name}")


def test_engines_that_share_a_flag_say_the_same_of_it() -> None:
    """They are one table for the API server, which does not know the engine where it looks at one argument."""
    shared = llamacpp_settings.REFUSED.keys() & vllm_settings.REFUSED.keys()

    assert "--host" in shared
    assert [flag for flag in shared if llamacpp_settings.REFUSED[flag] != vllm_settings.REFUSED[flag]] == []
