"""Whether the table of refusals has holes, by what the pinned engines' own parsers and environment lists name.

engine_parsers.json is recorded by record_parsers.py; of a newer engine, what these tests name is refused, or reviewed.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mtp_operator.api.engines import FLAGS, VARIABLES, llamacpp_settings, sglang_settings, vllm_settings
from mtp_operator.api.engines.environment import REFUSED as REFUSED_VARIABLES
from mtp_operator.api.engines.vllm_settings import VLLMSpeculation
from mtp_operator.api.spec import EngineType
from mtp_operator.cli.render import Installation
from mtp_operator.engines import engine_for
from tests.e2e.engine_cases import cases, settings_of

from .record_parsers import RECORD

RECORDED: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())
"""By engine, and by version where several are recorded."""
ROWS = [row for engine in RECORDED.values() for row in engine["flags"]]
OWN = {**llamacpp_settings.REFUSED, **vllm_settings.REFUSED, **sglang_settings.REFUSED}

SENSITIVE = re.compile(
    r"^--(.*-)?(host|port|addr|address|url|uds|grpc|api-key|token|ssl|root-path|repo|hf-file|trust|agent|logprobs"
    r"|embeds|mcp|tools?|draft|spec|speculative|slots?|profiler)(-.*)?$"
)
"""Names of flags that open the server, tell secrets, or decide what is drafted."""

REVIEWED_FLAGS = {
    "another node or port, which no engine of one pod uses": (
        "--data-parallel-address", "--data-parallel-multi-port-external-lb", "--data-parallel-rpc-port",
        "--data-parallel-supervisor-port", "--dist-init-addr", "--gated-launch-port", "--master-addr", "--master-port",
        "--nccl-init-addr", "--nccl-port", "--reuse-port",
        "--remote-instance-weight-loader-seed-instance-service-port",
    ),
    "settings of halves of an engine, which --disaggregation-mode and the like, which are refused, would start": (
        "--decoupled-spec-bind-endpoint", "--decoupled-spec-connect-endpoints", "--decoupled-spec-rank",
        "--disaggregation-bootstrap-port", "--disaggregation-decode-extra-slots",
        "--disaggregation-decode-host-receive-threshold", "--encoder-bootstrap-port", "--engine-info-bootstrap-port",
        "--grpc-response-timeout-secs",
    ),
    "details of TLS, which needs a certificate, and that is refused": (
        "--enable-ssl-refresh", "--ssl-cert-reqs", "--ssl-ciphers", "--ssl-keyfile-password",
    ),
    "how tokens that clients ask for look, or are parsed": (
        "--dbo-decode-token-threshold", "--dbo-prefill-token-threshold", "--enable-auto-tool-choice",
        "--exclude-tools-when-tool-choice-none", "--long-prefill-token-threshold",
        "--long-prefill-token-threshold-adaptive", "--tool-call-parser", "--tool-parser-plugin", "--tool-strict-level",
    ),
    "how SGLang counts, schedules and caches, with or without speculation": (
        "--bucket-inter-token-latency", "--bucket-time-to-first-token", "--hicache-host-memory-fraction",
        "--hicache-host-memory-mode", "--kt-max-deferred-experts-per-token", "--media-url-max-file-size-mb",
        "--min-free-slots-delay", "--prefill-delayer-token-usage-low-watermark", "--tbo-token-distribution-threshold",
        "--trust-mm-content-hashes",
    ),
    "what slots keep, and tell of themselves": (
        "--cache-idle-slots", "--kv-unified-per-slot", "--slot-prompt-similarity", "--slots",
    ),
    "how a drafter runs, equally for every n": (
        "--decrypted-draft-config-file", "--enable-draft-weights-cpu-backup", "--enable-linear-replayssm-spec",
        "--spec-trace-dir", "--speculative-draft-load-format", "--speculative-draft-sink-size",
        "--speculative-draft-window-size", "--speculative-dsa-topk-backend",
        "--speculative-enable-w4a4-mxfp4-megamoe", "--speculative-moe-a2a-backend", "--speculative-token-map",
        "--speculative-use-block-verification", "--speculative-use-rejection-sampling",
        "--cache-type-k-draft", "--cache-type-v-draft", "--cpu-mask-batch-draft", "--cpu-mask-draft",
        "--cpu-moe-draft", "--cpu-range-draft", "--cpu-strict-batch-draft", "--cpu-strict-draft", "--device-draft",
        "--draft-p-split", "--gpu-layers-draft", "--n-cpu-moe-draft", "--n-gpu-layers-draft", "--override-tensor-draft",
        "--poll-batch-draft", "--poll-draft", "--prio-batch-draft", "--prio-draft", "--spec-draft-backend-sampling",
        "--spec-draft-cpu-mask", "--spec-draft-cpu-mask-batch", "--spec-draft-cpu-moe", "--spec-draft-cpu-range",
        "--spec-draft-cpu-strict", "--spec-draft-cpu-strict-batch", "--spec-draft-device", "--spec-draft-n-cpu-moe",
        "--spec-draft-n-ubatch", "--spec-draft-ncmoe", "--spec-draft-ngl", "--spec-draft-override-tensor",
        "--spec-draft-p-split", "--spec-draft-poll", "--spec-draft-poll-batch", "--spec-draft-prio",
        "--spec-draft-prio-batch", "--spec-draft-sampling", "--spec-draft-threads", "--spec-draft-threads-batch",
        "--spec-draft-type-k", "--spec-draft-type-v", "--threads-batch-draft", "--threads-draft",
    ),
    "settings of kinds of drafting that --spec-type or --speculative-algorithm, which are refused, would turn on": (
        "--spec-ngram-map-k-min-hits", "--spec-ngram-map-k4v-min-hits", "--spec-ngram-map-k4v-size-m",
        "--spec-ngram-map-k4v-size-n", "--spec-ngram-min-hits", "--spec-ngram-mod-n-match", "--spec-ngram-mod-n-max",
        "--spec-ngram-mod-n-min", "--spec-ngram-simple-min-hits", "--spec-ngram-simple-size-m",
        "--spec-ngram-simple-size-n", "--spec-ngram-size-m", "--spec-ngram-size-n",
        "--speculative-dflash-block-size", "--speculative-domino-candidate-pool-size",
        "--speculative-dspark-align-verify-tokens-to-graph-tier", "--speculative-dspark-block-size",
        "--speculative-dspark-confidence-sts-path", "--speculative-dspark-sps-table-path",
        "--speculative-ngram-capacity", "--speculative-ngram-external-corpus-max-tokens",
        "--speculative-ngram-external-corpus-path", "--speculative-ngram-external-sam-budget",
        "--speculative-ngram-match-type", "--speculative-ngram-max-bfs-breadth", "--speculative-ngram-max-trie-depth",
        "--speculative-ngram-min-bfs-breadth",
    ),
}  # fmt: skip

SENSITIVE_VARIABLE = re.compile(
    r"(_HOST|_HOSTNAME|_PORT|_IPS?|_ADDR|_CACHE|_CACHE_DIR|_CACHE_PATH|_ROOT|_SO_PATH|_PLUGINS?|API_KEY|_TOKEN"
    r"|SIMULATION_STRATEGY|KEEP_ALIVE_ON_ENGINE_DEATH)$"
)

REVIEWED_VARIABLES = {
    "MOONCAKE_REQUESTER_LOCAL_HOSTNAME": "says a name of this pod",
    "SGLANG_DISABLE_OUTLINES_DISK_CACHE": "turns a cache off",
    "SGLANG_FLASHINFER_AUTOTUNE_CACHE": "enables a cache in its present folder",
    "SGLANG_HICACHE_FILE_BACKEND_ENABLE_METADATA_CACHE": "enables a cache in its present folder",
    "SGLANG_NATIVE_MOVE_KV_CACHE": "names a kernel",
    "SGLANG_NPU_USE_SCATTER_PA_KV_CACHE": "names a kernel",
    "SGLANG_OPT_MINIMAX_M3_FP8_INDEX_CACHE": "lays the KV cache out, for every n",
    "SGLANG_TCP_STORE_PORT": "is between the processes of one pod",
    "SGLANG_TEST_SCRIPTED_RUNTIME_IPC_ADDR": "is read by SGLang's own tests",
    "SGLANG_USE_AITER_FP8_PER_TOKEN": "names a kernel",
    "SGLANG_USE_CUSTOM_TRITON_KERNEL_CACHE": "enables a cache in its present folder",
    "SGLANG_USE_IPC_POOL_HANDLE_CACHE": "is between the processes of one pod",
    "SGLANG_ZMQ_SOURCE_IP": "is between the processes of one pod",
    "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": "lays the KV cache out, for every n",
    "VLLM_DISABLE_COMPILE_CACHE": "each boot compiles, for every n",
    "VLLM_LOOPBACK_IP": "is between the processes of one pod",
    "VLLM_LORA_RESOLVER_CACHE_DIR": "serves adapters only with --enable-lora, which is refused",
    "VLLM_RAY_DP_PLACEMENT_NODE_IPS": "places what --distributed-executor-backend, which is refused, would start",
    "VLLM_V1_USE_OUTLINES_CACHE": "enables a cache in its present folder",
}


SPECULATION: dict[str, Any] = {
    "draftTensorParallelSize": 1,
    "moeBackend": "triton",
    "attentionBackend": "FLASH_ATTN",
    "quantization": "fp8",
    "kvCacheDtype": "fp8",
    "maxModelLen": 4096,
    "rejectionSampleMethod": "Block",
    "draftSampleMethod": "Probabilistic",
    "paddedDrafterBatch": "Disabled",
    "enforceEager": "Enabled",
    "promptLookupMin": 2,
    "promptLookupMax": 4,
    "suffixCachedRequests": 10,
}
"""Every setting of vLLM's speculation."""


def is_refused(flag: str) -> bool:
    return next(FLAGS.complaints([f"{flag}=1"]), None) is not None


def long(row: list[str]) -> list[str]:
    """The long spellings of one flag; its negation turns off what is refused."""
    return [one for one in row if one.startswith("--") and not one.startswith("--no-")]


@pytest.mark.parametrize("row", [row for row in ROWS if len(long(row)) > 1], ids=lambda row: row[-1])
def test_all_spellings_of_a_flag_have_one_verdict(row: list[str]) -> None:
    assert len({is_refused(one) for one in long(row)}) == 1


def test_every_sensitive_flag_is_refused_or_reviewed() -> None:
    reviewed = {flag for flags in REVIEWED_FLAGS.values() for flag in flags}
    open_ones = {one for row in ROWS for one in long(row) if SENSITIVE.match(one) and not is_refused(one)}

    assert open_ones - reviewed == set()
    assert reviewed - open_ones == set()


def test_every_sensitive_variable_is_refused_or_reviewed() -> None:
    named = {name for engine in RECORDED.values() for name in engine["variables"] if SENSITIVE_VARIABLE.search(name)}
    open_ones = {name for name in named if next(VARIABLES.complaints({name: "x"}), None) is None}

    assert open_ones == REVIEWED_VARIABLES.keys()


def test_no_variable_stands_for_a_flag_that_is_refused() -> None:
    """llama-server reads most of its flags from variables too."""
    stated = [name for name in RECORDED["LlamaCpp"]["variables"] if name.startswith(("LLAMA_", "HF_"))]

    assert len(stated) > 100
    assert [name for name in stated if next(VARIABLES.complaints({name: "x"}), None) is None] == []


def test_no_refusal_is_of_a_flag_that_no_engine_has() -> None:
    taken = {one for row in ROWS for one in row}

    # Flags that were removed lately are told what has taken their place.
    unknown = {flag for flag in OWN if flag not in taken and f"--{flag.removeprefix('--no-')}" not in taken}
    assert unknown <= {flag for flag in OWN if "has been removed" in OWN[flag].why} | {"--disable-prefix-caching"}


@pytest.mark.parametrize("prefix", ["VLLM_", "SGLANG_"])
def test_no_refusal_is_of_a_variable_that_the_engine_has_not(prefix: str) -> None:
    known = {name for engine in RECORDED.values() for name in engine["variables"]}
    refused = [name for name in REFUSED_VARIABLES if name.startswith(prefix)]

    assert [one for one in refused if not any(name.startswith(one.rstrip("*")) for name in known)] == []


def test_the_default_version_of_vllm_is_recorded() -> None:
    _, _, version = Installation().vllm_image.rpartition(":v")

    assert f"VLLM {version}" in RECORDED


@pytest.mark.parametrize("version", [name for name in RECORDED if name.startswith("VLLM")])
def test_each_version_of_vllm_has_all_flags_of_every_argv(version: str) -> None:
    """In test_engines.py vLLM's own parser judges them, in the version that has a build for CPUs."""
    known = {one for row in RECORDED[version]["flags"] for one in row}
    judged = cases(EngineType.VLLM, "model", "drafter")

    named = {re.split("[=.]", word)[0] for case in judged for word in case.argv if word.startswith("--")}
    flags = {name.replace("_", "-") for name in named}
    assert {flag for flag in flags if flag not in known and flag.replace("--no-", "--") not in known} == set()
    assert len(judged) > 100


@pytest.mark.parametrize("version", [name for name in RECORDED if name.startswith("VLLM")])
def test_each_version_of_vllm_knows_every_key_and_word_of_speculation(version: str) -> None:
    known = RECORDED[version]["speculation"]
    assert SPECULATION.keys() == {field.alias for field in VLLMSpeculation.model_fields.values()}

    for method, name in vllm_settings.METHODS.items():
        settings = settings_of(engine={"type": "VLLM"}, speculation={"method": method, "vllm": SPECULATION})
        argument = engine_for(EngineType.VLLM).arguments(settings, 3, "model", "/model", "/drafter")[-1]
        configuration = json.loads(argument.removeprefix("--speculative-config="))
        assert configuration["method"] == name
        for key, value in configuration.items():
            assert key in known
            assert not known[key] or value in known[key], (key, value)
