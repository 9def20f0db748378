"""`mtp tune -- vllm serve …`: the command line that a person has becomes the model, and is what is measured."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import pytest

from mtp_operator.api.spec import EngineType
from tests.unit.local.test_command import Shell

SPECULATION = '{"method": "mtp", "num_speculative_tokens": 2}'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    (tmp_path / "bin").mkdir()
    gpu = f"exec {shlex.quote(sys.executable)} -m simulated_gpu"
    # It cannot be a llama-server: that one is only looked at.
    for name, script in (("vllm", f'{gpu} "$@"'), ("llama-server", "exit 1")):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return shell


def test_a_command_line_is_measured_as_it_stands_and_continued(shell: Shell) -> None:
    line = (
        *("bin/vllm", "serve", "weights", "--max-model-len=4k", "--max-num-seqs", "1", "--host=::"),
        *("--chat-template", "weights/config.json", "--speculative-config", SPECULATION),
    )
    trial = shell.out / "trials" / "t1-a0"

    for options in ((), ("--resume",)):
        process = shell.start_with("--to", "out", *options, "--", *line)
        shell.wait_for_trial(process, trial.name)
        process.send_signal(signal.SIGINT)
        status, output, errors = shell.finish(process)

        assert (status, errors.count("\n")) == (130, 1)
        assert output.startswith("Left out:\n- --host: the operator sets it")
        assert "\nTo look at:\n- n_spec was 2: it is compared with n_spec 0 first" in output
        assert "accelerator" not in output
        assert "PersistentVolumeClaim" not in output
        words = shlex.split((trial / "command").read_text())
        assert words[:3] == [str(shell.folder / "bin" / "vllm"), "serve", str(shell.folder / "weights")]
        assert {"--max-model-len=4000", "--max-num-seqs=1", "--chat-template=weights/config.json"} <= set(words)
        assert shell.run().spec.model.uri == "pvc://this-machine/weights"
        (trial / "engine.log").unlink()
        shell.wait_for_nothing()


def test_llama_server_finds_its_file_where_the_command_line_says(shell: Shell) -> None:
    (shell.folder / "my models").mkdir()
    file = shell.folder / "my models" / "Some Model Q8.gguf"
    file.touch()

    status, output, errors = shell.tune_line("bin/llama-server", "-m", str(file.relative_to(shell.folder)), "-np", "2")

    assert (status, errors) == (1, "")
    assert "Failed: " in output
    words = shlex.split((shell.out / "trials" / "t1-a0" / "command").read_text())
    assert {"--model", str(file), "--parallel"} <= set(words)
    assert shell.run().spec.engine.type is EngineType.LLAMA_CPP
    assert shell.run().spec.model_name == "some-model-q8"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bin/vllm serve weights --gpu-memory-utilization much", "the command line: --gpu-memory-utilization=much: is"),
        (
            "bin/vllm serve weights --gpu-memory-utilization inf",
            "the command line: --gpu-memory-utilization=inf: is not",
        ),
        ("bin/vllm serve weights --max-model-len long", "the command line: --max-model-len=long: is not a number"),
        ("bin/vllm serve weights --speculative-config {n", "the command line: --speculative-config={n: cannot be read"),
        ("bin/vllm serve weights --max-num-seqs 0", "the command line: spec.engine.vllm.maxNumSeqs: "),
        ("bin/vllm serve --max-num-seqs 4", "the command line: names no model"),
        ("bin/vllm serve ./nowhere", "the command line: nowhere does not exist"),
        (
            "no/vllm serve weights",
            "engine not found: there is no program 'no/vllm' on PATH; check the engine's command",
        ),
        ("bin/llama-server -m nowhere.gguf", "the command line: nowhere.gguf does not exist"),
        (
            "bin/llama-server -hf someone/model",
            "hf://someone/model/*Q4_K_M*.gguf: which file this names is not known on this machine; state the file",
        ),
        ("python -m vllm.entrypoints.openai.api_server --model x/y", "the command line: state it as `vllm serve MODEL"),
        ("docker run --gpus all vllm/vllm-openai:v0.33.0 x/y", "the command line: a container or a shell starts the"),
        ("bash -c 'vllm serve weights'", "the command line: a container or a shell starts the engine"),
        (
            "text-generation-launcher weights",
            "the command line: starts none of `vllm serve`, `llama-server` and `sglang",
        ),
        ("CUDA_VISIBLE_DEVICES=1 bin/vllm serve weights", "CUDA_VISIBLE_DEVICES: cannot be a part of an MTPModel"),
    ],
)
def test_a_wrong_command_line_is_said_in_one_sentence(shell: Shell, line: str, words: str) -> None:
    status, output, errors = shell.tune_line(*shlex.split(line))

    assert (status, output) == (2, "")
    assert errors.startswith(f"mtp tune: {words}")
    assert errors.count("\n") == 1
    assert not shell.out.exists()


def test_the_engine_is_named_once(shell: Shell) -> None:
    status, _, errors = shell.tune_line("bin/vllm", "serve", "weights", options=("--engine-command", "vllm serve"))

    assert status == 2
    assert errors == "mtp tune: --engine-command: the command line after -- names the engine already\n"


def test_a_wrong_flag_is_said_in_the_words_of_the_engine(shell: Shell) -> None:
    status, output, errors = shell.tune_line("bin/vllm", "serve", "weights", "--speed=fast")

    assert (status, errors) == (1, "")
    assert "could not convert string to float: 'fast'" in output
    assert "Traceback" not in output
    assert shell.processes() == []
