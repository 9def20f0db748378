"""Flags and variables with which whoever may write an MTPModel would run code, open the network or swap the model."""

from fnmatch import fnmatchcase

import pytest

from mtp_operator.api.spec import REFUSED_ARGUMENTS, REFUSED_VARIABLES


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
    assert any(fnmatchcase(name, pattern) for pattern in REFUSED_VARIABLES)


@pytest.mark.parametrize(
    "name",
    ["NCCL_P2P_DISABLE", "OMP_NUM_THREADS", "VLLM_LOGGING_LEVEL", "VLLM_USE_V2_MODEL_RUNNER"],
)
def test_a_variable_that_tunes_an_engine_is_not(name: str) -> None:
    assert not any(fnmatchcase(name, pattern) for pattern in REFUSED_VARIABLES)


@pytest.mark.parametrize("flag", ["--ec-manager-config", "--worker-cls", "--host", "--trust-remote-code"])
def test_a_flag_that_runs_code_or_opens_the_network_is_refused(flag: str) -> None:
    assert any(refused.startswith(flag) for refused in REFUSED_ARGUMENTS)
