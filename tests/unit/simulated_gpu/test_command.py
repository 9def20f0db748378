"""What is read of the arguments of `vllm serve`."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import stdev

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for
from simulated_gpu.command import Command, parse
from simulated_gpu.faults import Faults
from tests.unit.engines.settings import run_settings

CURVES = {"SIMULATED_GPU_CURVES": "/curves"}


def command(*arguments: str, **environment: str) -> Command:
    return parse(arguments, {**CURVES, **environment})


@pytest.mark.parametrize("n_spec", [0, 3])
def test_what_the_operator_renders(n_spec: int) -> None:
    arguments = engine_for(EngineType.VLLM).arguments(run_settings(), n_spec, "qwen", "/models/model", None)

    read = command(*arguments)

    assert (read.model, read.served_names, read.port) == ("/models/model", ("qwen",), 8000)
    assert read.n_spec == n_spec


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "m", "--port", "9", "--max-model-len", "300", "--enforce-eager", "--max-num-seqs", "2"],
        ["m", "--port=9", "--unknown", "--max_model_len=300", '--limit-mm-per-prompt={"image":0}', "--max-num-seqs=2"],
        ["--model", "m", "--port=9", "--max-model-len=300", "--max-num-seqs=2"],
    ],
)
def test_flags_in_any_form(arguments: list[str]) -> None:
    read = command(*arguments)

    assert (read.model, read.served_names) == ("m", ("m",))
    assert (read.port, read.max_model_len, read.max_num_seqs, read.n_spec) == (9, 300, 2, 0)


@pytest.mark.parametrize(
    "configuration",
    ['{"method": "mtp"}', '{"num_speculative_tokens": 0}', '{"num_speculative_tokens": "2"}', "[]", "{"],
)
def test_speculation_that_vllm_would_refuse(configuration: str) -> None:
    with pytest.raises(ValueError, match=r"num_speculative_tokens|Expecting"):
        command("m", f"--speculative-config={configuration}")


def test_a_flag_wins_over_the_environment() -> None:
    read = command("m", "--curve=a", SIMULATED_GPU_CURVE="b", SIMULATED_GPU_START_SECONDS="3")

    assert (read.curves, read.curve, read.start_seconds, read.speed) == (Path("/curves"), "a", 3, 1)


@pytest.mark.parametrize("arguments", [[], ["--port=1"]])
def test_a_model_is_needed(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="a model is needed"):
        command(*arguments)


def test_curves_are_needed() -> None:
    with pytest.raises(ValueError, match="--curves=FILE or SIMULATED_GPU_CURVES"):
        parse(["m"], {})


def test_each_boot_has_noise_of_its_own_unless_it_has_a_seed() -> None:
    def factor(*arguments: str) -> float:
        return command("m", "--speed=2", *arguments).speed_factor

    seeded = {factor("--seed=1") for _ in range(3)}
    other = factor("--seed=1", '--speculative-config={"num_speculative_tokens": 1}')
    free = [factor("--boot-noise=0.01") for _ in range(200)]

    assert len(seeded) == 1
    assert other not in seeded
    assert 0.015 < stdev(free) < 0.025
    assert factor("--boot-noise=0") == 2
    assert all(one != two for one, two in itertools.pairwise(free))


def test_faults_of_some_boots() -> None:
    faults = '--faults={"replaced_share": 0.02, "n_specs": [2, 3]}'
    speculation = '--speculative-config={"num_speculative_tokens": 2}'

    assert command("m", faults, speculation).faults == Faults(n_specs=(2, 3), replaced_share=0.02)
    assert command("m", faults).faults == Faults()
    with pytest.raises(ValueError, match=r"acceptance_factor, dies_at_request.* not"):
        command("m", '--faults={"explodes": true}')
