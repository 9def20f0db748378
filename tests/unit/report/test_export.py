"""`mtp export`: what a run found, in the words of other ways of serving."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mtp_operator.api.run import MTPTuningRun
from mtp_operator.cli.main import app
from mtp_operator.convert.document import converted
from mtp_operator.convert.sources import deployed_in

from . import runs


def export(body: dict[str, Any], *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", "-", *options], input=json.dumps(body))
    return result.exit_code, result.stdout, result.stderr


def text(body: dict[str, Any], *options: str) -> str:
    code, output, errors = export(body, *options)
    assert (code, errors) == (0, "")
    return output


def test_figures_stand_before_the_command_line() -> None:
    body = runs.selected()

    *comments, line = text(body, "--to=args").splitlines()

    n_spec = body["status"]["verdict"]["nSpec"]
    assert comments[0] == (
        f"# n_spec {n_spec}, measured by mtp-operator: MTPTuningRun {body['metadata']['name']}, Selected"
    )
    assert comments[1].startswith("# speed over n_spec 0: ")
    assert comments[-1].startswith("# holds for this GPU, image and concurrency (")
    assert f'"num_speculative_tokens": {n_spec}' in line


@pytest.mark.parametrize("form", ["args", "compose", "kserve"])
def test_what_is_exported_comes_back_by_init(form: str) -> None:
    body = runs.selected()

    document, draft = converted(deployed_in(text(body, f"--to={form}")))

    n_spec = body["status"]["verdict"]["nSpec"]
    assert any(f"n_spec was {n_spec}" in note for note in draft.notes)
    assert document["spec"]["engine"]["type"] == MTPTuningRun.from_wire(body).spec.engine.type
    assert document["spec"]["model"].get("servedName") == body["spec"]["model"]["servedName"]


@pytest.mark.parametrize("form", ["args", "compose", "kserve"])
def test_sglang_is_started_by_its_command_whatever_the_image_starts(form: str) -> None:
    body = runs.selected()
    body["spec"] |= {
        "model": {"uri": "hf://org/repository", "revision": "a" * 40, "servedName": "chat"},
        "engine": {"type": "SGLang", "image": "sglang:1", "sglang": {"tensorParallelSize": 2}},
        "weightsClaim": "weights",
    }

    output = text(body, f"--to={form}")

    document, draft = converted(deployed_in(output))
    assert document["spec"]["engine"]["type"] == "SGLang"
    assert document["spec"]["engine"]["sglang"]["tensorParallelSize"] == 2
    assert document["spec"]["model"] == {"uri": "hf://org/repository", "servedName": "chat", "revision": "a" * 40}
    assert any(f"n_spec was {body['status']['verdict']['nSpec']}" in note for note in draft.notes)
    if form == "args":
        assert output.splitlines()[-1].startswith("sglang serve --model-path=org/repository ")
    else:
        assert "- sglang\n" in output


def test_a_configuration_file_has_the_same_settings() -> None:
    recipe = yaml.safe_load(text(runs.selected(), "--to=vllm-recipe"))

    assert recipe["speculative-config"]["method"] == "mtp"
    assert recipe["model"]
    assert "--" not in "".join(recipe)


def test_llama_server_fetches_by_itself_what_the_operator_had_fetched() -> None:
    body = runs.selected()
    body["spec"] |= {
        "model": {"uri": "hf://org/repository/q8.gguf", "revision": "a" * 40, "servedName": "chat"},
        "engine": {"type": "LlamaCpp", "image": "llama.cpp:server", "env": [{"name": "A", "value": "b c"}]},
        "weightsClaim": "weights",
        "speculation": {"llamaCpp": {"pMinMilli": 750}},
    }

    line = text(body, "--to=args").splitlines()[-1]

    assert line.startswith(
        "A='b c' llama-server --hf-repo org/repository --hf-file q8.gguf --alias chat --host 0.0.0.0"
    )
    assert "--spec-draft-p-min 0.75" in line
    assert not [word for word in ("--offline", "--model", "--log-file") if word in line]


def test_another_measured_n_may_be_exported() -> None:
    output = text(runs.selected(), "--to=args", "--n-spec=0")

    assert output.startswith("# n_spec 0, measured by mtp-operator")
    assert "speculative" not in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        (runs.selected, ("--to=args", "--n-spec=15"), "n_spec 15 was not measured; measured are 0, "),
        (
            runs.selected,
            ("--to=docker",),
            "--to: must be one of args, compose, kserve, llmkube, kaito, aiconfigurator, vllm-recipe, not docker",
        ),
        (runs.failed, ("--to=args",), "the run has chosen nothing (Failed)"),
    ],
)
def test_nothing_to_export_has_one_reason(body: Any, options: tuple[str, ...], said: str) -> None:
    code, output, errors = export(body(), *options)

    assert (code, output) == (1, "")
    assert errors.startswith(said)
