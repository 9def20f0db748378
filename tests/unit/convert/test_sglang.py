"""`mtp init` of what people start SGLang with: nothing is lost, and SGLang's own parser takes what comes of it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.convert.test_init import engine, lost, made, run, settings_of
from tests.unit.engines.sglang_parser import problem

IMAGE = "docker.io/lmsysorg/sglang:v0.5.23"

SPELLINGS = {
    "--tp": "--tp-size",
    "--tensor-parallel-size": "--tp-size",
    "--dp": "--dp-size",
    "--ep": "--ep-size",
    "--model": "--model-path",
    "--speculative-algo": "--speculative-algorithm",
    "--speculative-draft-model": "--speculative-draft-model-path",
}
DECIDED = ("--model-path", "--speculative-algorithm", "--speculative-draft-model-path")
"""What the operator writes in its own words: paths on its volumes, NEXTN for EAGLE without a drafter."""


def rendered(line: str) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """The document, what was left out of it, and the flags of the line that its engine is started without."""
    document, left_out = made(line)
    argv = engine(document)
    assert problem(argv) == ""
    words = shlex.split(line)
    before = {SPELLINGS.get(name, name): value for name, value in settings_of(words).items()}
    gone = lost(before, settings_of(argv))
    return document, left_out, {name: value for name, value in gone.items() if name not in DECIDED}


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        (
            "python3 -m sglang.launch_server --model-path org/large --tp 8 --trust-remote-code "
            "--speculative-algorithm EAGLE --speculative-num-steps 3 --mem-fraction-static 0.85",
            {
                "model": {"uri": "hf://org/large"},
                "engine": {
                    "type": "SGLang",
                    "image": IMAGE,
                    "sglang": {
                        "tensorParallelSize": 8,
                        "trustRemoteCode": "Enabled",
                        "memFractionStaticPercent": 85,
                    },
                },
                "accelerator": {"count": 8, "architecture": "Any"},
                "tuning": {"firstNSpec": 3},
            },
        ),
        (
            "sglang serve org/small --speculative-algo NEXTN --speculative-num-steps 2 --tool-call-parser qwen3_coder",
            {
                "model": {"uri": "hf://org/small"},
                "engine": {"type": "SGLang", "image": IMAGE, "extraArgs": ["--tool-call-parser=qwen3_coder"]},
                "tuning": {"firstNSpec": 2},
            },
        ),
        (
            "sglang serve --model-path org/chat --speculative-algorithm EAGLE3 "
            "--speculative-draft-model-path org/head --speculative-num-steps 4 --context-length 8192 "
            "--speculative-draft-attention-backend fa3 --served-model-name chat",
            {
                "model": {"uri": "hf://org/chat", "servedName": "chat"},
                "speculation": {
                    "sglang": {"attentionBackend": "fa3"},
                    "method": "Eagle3",
                    "drafter": {"uri": "hf://org/head"},
                },
                "engine": {"type": "SGLang", "image": IMAGE, "sglang": {"contextLength": 8192}},
                "tuning": {"firstNSpec": 4},
            },
        ),
        (
            "sglang serve --model-path org/chat --speculative-algorithm STANDALONE "
            "--speculative-draft-model-path org/tiny --max-running-requests 16 --disable-radix-cache --port 9000",
            {
                "speculation": {"method": "DraftModel", "drafter": {"uri": "hf://org/tiny"}},
                "engine": {
                    "type": "SGLang",
                    "image": IMAGE,
                    "sglang": {"maxRunningRequests": 16, "prefixCaching": "Disabled"},
                },
                "serving": {"port": 9000},
            },
        ),
        (
            "docker run --gpus 2 -v /srv/models:/models -e NCCL_DEBUG=INFO lmsysorg/sglang:v0.5.24-cu130 "
            "python3 -m sglang.launch_server --model-path /models/chat --dp 2 --attention-backend fa3",
            {
                "model": {"uri": "pvc://models/chat"},
                "engine": {
                    "type": "SGLang",
                    "image": "lmsysorg/sglang:v0.5.24-cu130",
                    "sglang": {"dataParallelSize": 2},
                    "extraArgs": ["--attention-backend=fa3"],
                    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
                },
                "accelerator": {"count": 2, "architecture": "Any"},
            },
        ),
    ],
)
def test_command_lines(line: str, spec: dict[str, Any]) -> None:
    document, left_out = made(line)

    assert {part: document["spec"].get(part) for part in spec} == spec
    assert left_out == []
    assert problem(engine(document)) == ""


def test_copies_of_the_attention_have_their_own_flag() -> None:
    document, _ = made("sglang serve --model-path org/moe --tp-size 8 --dp-size 8 --enable-dp-attention")

    assert document["spec"]["engine"]["sglang"] == {"tensorParallelSize": 8}
    assert document["spec"]["engine"]["extraArgs"] == ["--attn-dp-size=8"]
    assert document["spec"]["accelerator"]["count"] == 8


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--speculative-algorithm NGRAM", "the operator tunes NEXTN, STANDALONE, EAGLE, EAGLE3 of SGLang"),
        ("--speculative-eagle-topk 4", "n_spec is the length of one chain of tokens"),
        (
            "--speculative-ngram-capacity 1000",
            "belongs to a way of drafting that the operator does not tune with SGLang",
        ),
        ("--api-key secret", "locks the bench out"),
        ("--enable-mixed-chunk", "is turned off by SGLang while it speculates"),
        ("--lora-paths a=b c=d", "extraArgs take one value a flag"),
        ("--tp-size many", "is not a number"),
    ],
)
def test_what_is_left_out_has_its_reason(flags: str, reason: str) -> None:
    _, left_out = made(f"sglang serve --model-path org/chat {flags}")

    (one,) = left_out
    assert one.startswith(flags.split()[0])
    assert reason in one


def test_several_nodes_cannot_be_expressed() -> None:
    code, _, errors = run("-f", "-", text="sglang serve --model-path org/chat --nnodes 2 --node-rank 0")

    assert (code, errors) == (
        1,
        "--nnodes=2: an engine on several nodes cannot be expressed; see docs/limits.md\n",
    )


FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "--context-length": st.sampled_from([8192, 131_072]),
        "--max-running-requests": st.integers(8, 512),
        "--mem-fraction-static": st.integers(10, 99).map(lambda percent: percent / 100),
        "--tp": st.sampled_from([1, 2, 4]),
        "--dp-size": st.sampled_from([2, 4]),
        "--disable-radix-cache": st.just(None),
        "--trust-remote-code": st.just(None),
        "--attention-backend": st.sampled_from(["fa3", "flashinfer", "triton"]),
        "--kv-cache-dtype": st.sampled_from(["auto", "fp8_e4m3"]),
        "--quantization": st.sampled_from(["fp8", "modelopt_fp4"]),
        "--enable-torch-compile": st.just(None),
        "--chunked-prefill-size": st.sampled_from([2048, 8192]),
        "--ep": st.sampled_from([1, 2]),
        "--reasoning-parser": st.sampled_from(["qwen3", "deepseek-r1"]),
        "--json-model-override-args": st.just('{"a": 1}'),
        "--speculative-moe-runner-backend": st.sampled_from(["triton", "auto"]),
        "--speculative-draft-kv-cache-dtype": st.just("fp8_e4m3"),
        "--speculative-attention-mode": st.sampled_from(["prefill", "decode"]),
    },
)
DRAFTERS = st.sampled_from([("NEXTN", None), ("EAGLE", None), ("EAGLE3", "org/head"), ("STANDALONE", "org/tiny")])


@settings(max_examples=100, deadline=None)
@given(flags=FLAGS, drafter=DRAFTERS, steps=st.integers(1, 16), equals=st.booleans(), data=st.data())
def test_no_flag_is_lost(
    flags: dict[str, Any], drafter: tuple[str, str | None], steps: int, *, equals: bool, data: st.DataObject
) -> None:
    algorithm, head = drafter
    stated = {**flags, "--speculative-algorithm": algorithm, "--speculative-num-steps": steps}
    if head:
        stated["--speculative-draft-model-path"] = head
    words = []
    for name in data.draw(st.permutations(sorted(stated))):
        value = stated[name]
        words += [name] if value is None else [f"{name}={value}"] if equals else [name, str(value)]

    _, left_out, gone = rendered(shlex.join(["sglang", "serve", "--model-path", "org/model", *words]))

    assert left_out == []
    # The last trial has the largest n.
    assert {*gone} <= {"--speculative-num-steps"}
