"""What the engine is started with on this machine."""

from __future__ import annotations

import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.engines import NO_LOG_FILE, Place, engine_for
from mtp_operator.local.launch import Launch, launch
from mtp_operator.local.local_errors import RefusedError
from mtp_operator.local.local_node import this_machine
from mtp_operator.local.tuning import new_run
from mtp_operator.reconcile.trial_conversion import DRIVER_LABEL
from mtp_operator.resources.fetch_job import fetched_sources
from mtp_operator.resources.placement import PRODUCT_LABEL
from mtp_operator.resources.tuning_run import run_settings
from tests.unit.reconcile.givens import model_body
from tests.unit.reconcile.world import World

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISED = {"uri": "hf://google/gemma", "revision": COMMIT}


def started(command: str | None = sys.executable, **spec: Any) -> tuple[Launch, MTPTuningRun]:
    paths = {name: spec.pop(name, None) for name in ("model_path", "drafter_path")}
    model = MTPModel.from_wire(model_body(**spec))
    fetched = [FetchedSource(uri=one.uri, revision=one.revision or COMMIT) for one in fetched_sources(model)]
    run = new_run(model, run_settings(model, "engine", "bench", fetched), World().now)
    return launch(model.spec, command=command, **paths), run


def arguments(started: tuple[Launch, MTPTuningRun], n_spec: int) -> tuple[str, ...]:
    this, run = started
    return this.arguments(run, n_spec, engine_for(run.spec.engine.type, NO_LOG_FILE, Place("127.0.0.1", 4711)))


def test_vllm_is_told_the_repository_of_a_model_on_the_hub() -> None:
    line = arguments(started(model=REVISED), 3)

    assert line[:2] == (sys.executable, "google/gemma")
    assert {"--host=127.0.0.1", "--port=4711", f"--revision={COMMIT}"} <= set(line)
    assert '--speculative-config={"method": "mtp", "num_speculative_tokens": 3}' in line


def test_sglang_is_named_in_its_image_and_not_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    docker.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = MTPModel.from_wire(model_body(engine={"type": "SGLang", "image": "sglang:1"}, model=REVISED)).spec

    inside = launch(spec, command=None, model_path=None, drafter_path=None, image="sglang:1")

    assert inside.command == ("sglang", "serve")
    line = arguments(started(engine={"type": "SGLang", "image": "sglang:1"}, model=REVISED), 2)
    assert line[:2] == (sys.executable, "--model-path=google/gemma")
    assert {"--host=127.0.0.1", "--port=4711", "--speculative-num-steps=2", f"--revision={COMMIT}"} <= set(line)
    with pytest.raises(RefusedError, match="'sglang' is not on PATH"):
        launch(spec, command=None, model_path=None, drafter_path=None)


def test_local_paths_take_the_place_of_those_in_a_pod(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    drafter = {"drafter": {"uri": "pvc://weights/drafter.gguf"}}

    line = arguments(started(engine={"type": "LlamaCpp"}, speculation=drafter, model_path=file, drafter_path=file), 2)

    values = dict(pairwise(line))
    assert values["--model"] == values["--spec-draft-model"] == str(file)
    assert (values["--host"], values["--port"]) == ("127.0.0.1", "4711")
    assert values["--spec-draft-n-max"] == "2"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "spec.model.uri: pvc://weights/gemma is not on this machine; name the folder or file with --model-path"),
        ({"model": {"uri": "oci://registry/gemma:1"}}, "spec.model.uri: oci://registry/gemma:1 is not on this machine"),
        ({"model": REVISED, "engine": {"type": "LlamaCpp"}}, "spec.model.uri: hf://google/gemma is not on this"),
        (
            {"model": REVISED, "speculation": {"drafter": REVISED}},
            "spec.speculation.drafter.uri: hf://google/gemma is not on this machine",
        ),
    ],
)
def test_weights_that_are_somewhere_else(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        started(**spec)


def test_the_environment_is_the_users_with_what_the_engine_needs(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    engine = {"type": "VLLM", "env": [{"name": "VLLM_USE_V2", "value": "two words"}]}
    user = {"HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "1", "VLLM_USE_V2": "0"}

    this, run = started(engine=engine, model_path=tmp_path)
    environment = this.environment(run, engine_for(run.spec.engine.type), user)

    assert environment["HOME"] == "/home/me"
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["VLLM_USE_V2"] == "two words"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert "USER" not in environment


def test_an_engine_that_has_to_download_may() -> None:
    this, run = started(model=REVISED)

    assert "HF_HUB_OFFLINE" not in this.environment(run, engine_for(run.spec.engine.type), {})


def test_the_line_to_serve_with_is_one_for_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").touch()
    engine = {"type": "VLLM", "env": [{"name": "A", "value": "two words"}]}

    this, run = started(engine=engine, model_path=folder)
    words = shlex.split(this.serve_line(run, 3))

    assert words[:3] == ["A=two words", sys.executable, str(folder)]
    assert "--port=8000" in words


def test_the_gpu_is_the_one_that_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$*" in *--id=1*) echo "NVIDIA H200, 580.95.05";; *) exit 1;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert this_machine({"CUDA_VISIBLE_DEVICES": "1,2"}).labels == {
        PRODUCT_LABEL: "NVIDIA-H200",
        DRIVER_LABEL: "580.95.05",
    }
    assert this_machine({}).labels == {}
