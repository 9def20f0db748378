"""The arguments of llama-server."""

from itertools import pairwise
from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for
from tests.unit.engines.settings import run_settings

ENGINE = engine_for(EngineType.LLAMA_CPP)
MODEL = "/models/weights/model.gguf"


def arguments(
    n_spec: int, drafter: str | None = None, speculation: Any = None, extra: Any = (), **llama: Any
) -> tuple[str, ...]:
    settings = run_settings(
        engine={"type": "LlamaCpp", "image": "engine:1", "llamaCpp": llama, "extraArgs": list(extra)},
        speculation=speculation or {},
    )
    return ENGINE.arguments(settings, n_spec, "qwen", MODEL, drafter)


def test_defaults_are_stated() -> None:
    assert arguments(0) == (
        *("--model", MODEL, "--alias", "qwen", "--host", "0.0.0.0", "--port", "8080"),  # noqa: S104
        *("--ctx-size", "4096", "--parallel", "1", "--gpu-layers", "all", "--flash-attn", "on"),
        *("--fit", "off", "--log-file", ENGINE.log_path),
        *("--metrics", "--offline", "--no-ui"),
    )


def test_the_context_is_each_slots_own() -> None:
    stated = arguments(0, contextSize=3000, parallel=4, gpuLayers=12, flashAttention="Disabled")

    assert {("--ctx-size", "12000"), ("--parallel", "4"), ("--gpu-layers", "12"), ("--flash-attn", "off")} <= set(
        pairwise(stated)
    )


@pytest.mark.parametrize(
    ("speculation", "drafter", "flags"),
    [
        ({}, None, {("--spec-type", "draft-mtp"), ("--spec-draft-n-max", "3")}),
        (
            {"method": "DraftModel", "drafter": {"uri": "pvc://weights/small.gguf"}},
            "/models/weights/small.gguf",
            {
                ("--spec-type", "draft-simple"),
                ("--spec-draft-n-max", "3"),
                ("--spec-draft-model", "/models/weights/small.gguf"),
                ("--spec-draft-ngl", "all"),
            },
        ),
        (
            {"method": "Eagle3", "drafter": {"uri": "pvc://weights/head.gguf"}},
            "/models/weights/head.gguf",
            {
                ("--spec-type", "draft-eagle3"),
                ("--spec-draft-n-max", "3"),
                ("--spec-draft-model", "/models/weights/head.gguf"),
                ("--spec-draft-ngl", "all"),
            },
        ),
        (
            {"method": "NGram"},
            None,
            {("--spec-type", "ngram-map-k"), ("--spec-ngram-map-k-size-n", "4"), ("--spec-ngram-map-k-size-m", "3")},
        ),
        (
            {
                "method": "DFlash",
                "drafter": {"uri": "pvc://weights/head.gguf"},
                "llamaCpp": {
                    "pMinMilli": 750,
                    "pSplitMilli": 100,
                    "nMin": 0,
                    "gpuLayers": 0,
                    "cacheTypeK": "q8_0",
                    "cacheTypeV": "q8_0",
                },
            },
            "/models/weights/head.gguf",
            {
                ("--spec-type", "draft-dflash"),
                ("--spec-draft-n-max", "3"),
                ("--spec-draft-n-min", "0"),
                ("--spec-draft-p-min", "0.75"),
                ("--spec-draft-p-split", "0.1"),
                ("--spec-draft-type-k", "q8_0"),
                ("--spec-draft-type-v", "q8_0"),
                ("--spec-draft-model", "/models/weights/head.gguf"),
                ("--spec-draft-ngl", "0"),
            },
        ),
    ],
)
def test_speculation(speculation: Any, drafter: str | None, flags: set[tuple[str, str]]) -> None:
    stated = arguments(3, drafter, speculation)

    assert {pair for pair in pairwise(stated) if pair[0].startswith("--spec")} == flags


def test_a_method_that_llama_cpp_does_not_have_is_refused() -> None:
    engine = {"type": "LlamaCpp", "image": "engine:1"}

    assert ENGINE.refusals(run_settings(engine=engine, speculation={"method": "Suffix"})) == (
        "spec.speculation.method: must be one of MTP, DraftModel, Eagle3, DFlash, DSpark, NGram where engine.type is "
        "LlamaCpp",
    )


def test_no_speculation_flag_is_set_at_n_0() -> None:
    assert not [one for one in arguments(0, "/models/weights/small.gguf") if "spec" in one or "small" in one]


@pytest.mark.parametrize("n_spec", [0, 3, 8])
@pytest.mark.parametrize(
    ("parallel", "flags"),
    [(30, {}), (31, {"--ubatch-size": "527"}), (256, {"--batch-size": "4352", "--ubatch-size": "4352"})],
)
def test_a_step_holds_all_drafts_and_is_as_wide_at_every_n(n_spec: int, parallel: int, flags: dict[str, str]) -> None:
    stated = arguments(n_spec, parallel=parallel)

    assert {flag: value for flag, value in pairwise(stated) if "batch" in flag} == flags


def test_values_become_arguments_of_their_own() -> None:
    stated = arguments(0, extra=["--threads=2", "--no-repack", "--override-kv=a=int:1"])

    assert stated[-5:] == ("--threads", "2", "--no-repack", "--override-kv", "a=int:1")


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--draft-max=4", "removed"),
        ("--ctx-size=100", "contextSize"),
        ("--spec-default", "every n"),
        ("--gpt-oss-20b-default", "downloads"),
        ("--spec-ngram-map-k-size-m=4", "what the operator tunes"),
    ],
)
def test_arguments_that_spoil_the_measurement_are_refused(argument: str, reason: str) -> None:
    settings = run_settings(engine={"type": "LlamaCpp", "image": "engine:1", "extraArgs": [argument, "--threads=2"]})

    (refusal,) = ENGINE.refusals(settings)
    assert argument.split("=")[0] in refusal
    assert reason in refusal


def test_tokens_are_in_usage_or_in_the_servers_own_timings() -> None:
    assert ENGINE.completion_tokens({"usage": {"completion_tokens": 7}, "timings": {"predicted_n": 8}}) == 7
    assert ENGINE.completion_tokens({"timings": {"predicted_n": 8}}) == 8
    assert ENGINE.completion_tokens({"choices": []}) is None


@pytest.mark.parametrize(
    ("speculation", "every"),
    [
        ({}, True),
        ({"method": "NGram"}, False),
        ({"llamaCpp": {"pMinMilli": 750}}, False),
        ({"llamaCpp": {"nMin": 2}}, False),
        ({"method": "DraftModel", "drafter": {"uri": "pvc://weights/small.gguf"}}, None),
        ({"method": "Eagle3", "drafter": {"uri": "pvc://weights/head.gguf"}}, True),
        ({"llamaCpp": {"pMinMilli": 0, "gpuLayers": 4}}, True),
    ],
)
def test_whether_every_step_drafts(speculation: Any, *, every: bool | None) -> None:
    engine = {"type": "LlamaCpp", "image": "engine:1"}

    assert ENGINE.drafts_every_step(run_settings(engine=engine, speculation=speculation)) is every
