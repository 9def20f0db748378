"""The arguments of `sglang serve`, judged by what SGLang's own parser takes."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import HOME, engine_for
from tests.unit.engines.settings import run_settings
from tests.unit.engines.sglang_parser import problem

ENGINE = engine_for(EngineType.SGLANG)
ALL: dict[str, Any] = {
    "contextLength": 8192,
    "maxRunningRequests": 16,
    "memFractionStaticPercent": 85,
    "tensorParallelSize": 4,
    "dataParallelSize": 2,
    "prefixCaching": "Disabled",
    "trustRemoteCode": "Enabled",
}


def arguments(
    n_spec: int, drafter: str | None = None, speculation: Any = None, extra: Any = (), **sglang: Any
) -> tuple[str, ...]:
    engine = {"type": "SGLang", "image": "engine:1", "sglang": sglang, "extraArgs": list(extra)}
    settings = run_settings(engine=engine, speculation=speculation or {})
    stated = ENGINE.arguments(settings, n_spec, "qwen", "/models/weights/qwen", drafter)
    assert problem(stated) == ""
    return stated


def speculative(*stated: Any) -> dict[str, str]:
    """The flags of speculation."""
    flags = (one.removeprefix("--speculative-").split("=") for one in arguments(*stated) if "--speculative" in one)
    return dict(flags)


def test_what_the_spec_does_not_state_is_left_to_sglang_and_extra_arguments_come_last() -> None:
    assert arguments(0, extra=["--attention-backend=fa3"]) == (
        "--model-path=/models/weights/qwen",
        "--served-model-name=qwen",
        "--host=0.0.0.0",
        "--port=30000",
        "--max-running-requests=48",
        "--tp-size=1",
        "--enable-metrics",
        "--attention-backend=fa3",
    )


def test_settings_become_flags() -> None:
    assert {
        "--context-length=8192",
        "--max-running-requests=16",
        "--mem-fraction-static=0.85",
        "--tp-size=4",
        "--dp-size=2",
        "--disable-radix-cache",
        "--trust-remote-code",
    } <= set(arguments(0, **ALL))


@pytest.mark.parametrize(
    ("speculation", "drafter", "flags"),
    [
        ({}, None, {"algorithm": "NEXTN"}),
        (
            {"drafter": {"uri": "pvc://weights/assistant"}},
            "/models/assistant",
            {"algorithm": "NEXTN", "draft-model-path": "/models/assistant"},
        ),
        (
            {"method": "DraftModel", "drafter": {"uri": "pvc://weights/small"}},
            "/models/small",
            {"algorithm": "STANDALONE", "draft-model-path": "/models/small"},
        ),
        (
            {"method": "Eagle", "drafter": {"uri": "pvc://weights/head"}},
            "/models/head",
            {"algorithm": "EAGLE", "draft-model-path": "/models/head"},
        ),
        (
            {
                "method": "Eagle3",
                "drafter": {"uri": "pvc://weights/head"},
                "sglang": {
                    "attentionMode": "Decode",
                    "attentionBackend": "fa3",
                    "moeBackend": "triton",
                    "quantization": "unquant",
                    "kvCacheDtype": "fp8_e4m3",
                },
            },
            "/models/head",
            {
                "algorithm": "EAGLE3",
                "draft-model-path": "/models/head",
                "attention-mode": "decode",
                "draft-attention-backend": "fa3",
                "moe-runner-backend": "triton",
                "draft-model-quantization": "unquant",
                "draft-kv-cache-dtype": "fp8_e4m3",
            },
        ),
    ],
)
def test_n_draft_tokens_are_one_chain(speculation: Any, drafter: str | None, flags: dict[str, str]) -> None:
    chain = {"num-steps": "3", "eagle-topk": "1", "num-draft-tokens": "4"}

    assert speculative(3, drafter, speculation) == flags | chain


def test_no_speculation_flag_is_set_at_n_0() -> None:
    stated = arguments(0, "/models/small", {"sglang": {"attentionMode": "Decode"}})

    assert not [one for one in stated if "spec" in one or "small" in one]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model-path=m", "--no-such-flag=1"], "unrecognized arguments"),
        (["--model-path=m", "--tp-size=two"], "invalid int value"),
        (["--model-path=m", "--kv-cache-dtype=fp9"], "invalid choice"),
        (["--model-path=m", "--enable-metrics=1"], "ignored explicit argument"),
        (["--tp-size=2"], "required"),
    ],
)
def test_the_judge_sees_what_sglang_would_refuse(argv: list[str], words: str) -> None:
    assert words in problem(argv)


def test_environment() -> None:
    environment = ENGINE.environment()

    assert environment["HOME"] == HOME
    assert environment["HF_HUB_OFFLINE"] == "1"
    # Else every probe would be a request of its own.
    assert environment["SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"] == "0"
    assert ENGINE.cache_environment("/cache") == {"SGLANG_CACHE_DIR": "/cache"}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            {"speculation": {"method": "NGram"}},
            "spec.speculation.method: must be one of MTP, DraftModel, Eagle, Eagle3",
        ),
        ({"model": {"uri": "pvc://weights/qwen", "aliases": ["other"]}}, "spec.model.aliases: must be left out where"),
        ({"engine": {"type": "SGLang"}}, "spec.engine.image: must be set: the operator has no default image"),
        (
            {"engine": {"type": "SGLang", "image": "lmsysorg/sglang:v0.5.17.post1-cu130"}},
            "spec.engine.image: lmsysorg/sglang:v0.5.17.post1-cu130 must be SGLang 0.5.18 or later",
        ),
        (
            {"engine": {"type": "SGLang", "image": "engine:1", "extraArgs": ["--speculative-num-steps=3"]}},
            "spec.engine.extraArgs[0]: must not be --speculative-num-steps, which is what the operator tunes",
        ),
        (
            {"engine": {"type": "SGLang", "image": "engine:1", "extraArgs": ["--tp=2"]}},
            "spec.engine.extraArgs[0]: must not be --tp-size, which is spec.engine.vllm.tensorParallelSize or "
            "spec.engine.sglang.tensorParallelSize",
        ),
    ],
)
def test_what_cannot_work_is_refused(changes: Any, refusal: str) -> None:
    stated = {"engine": {"type": "SGLang", "image": "engine:1"}, **changes}

    (said,) = ENGINE.refusals(run_settings(**stated))
    assert said.startswith(refusal)


@pytest.mark.parametrize("tag", ["v0.5.18", "v0.5.23-cu130", "v0.5.30", "v0.6.0", "v1.0", "latest"])
def test_newer_images_are_taken(tag: str) -> None:
    image = f"docker.io/lmsysorg/sglang:{tag}"

    assert ENGINE.refusals(run_settings(engine={"type": "SGLang", "image": image})) == ()
