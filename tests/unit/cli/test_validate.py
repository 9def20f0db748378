"""`mtp validate`: one line for each mistake, with the line where it stands, and an exit status for pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtp_operator.cli.main import app

MODEL = """\
apiVersion: mtp-operator.dev/v1alpha1
kind: MTPModel
metadata:
  name: qwen
spec:
  model:
    uri: pvc://weights/qwen
  engine:
    type: VLLM
    extraArgs:
      - --dtype=bfloat16
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: MTPModel}\n"


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *arguments], input=text)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    "text",
    [
        MODEL,
        f"---\n---\n{SERVICE}---\n{MODEL}",
        "apiVersion: v1\nkind: List\nitems:\n- " + MODEL.replace("\n", "\n  ").rstrip() + "\n",
        MODEL.replace("name: qwen", "name: qwen\n  annotations: {built: 2026-11-29}"),
    ],
    ids=["one", "among others", "in a list", "with a date"],
)
def test_what_is_in_order_is_counted(text: str) -> None:
    assert run("-", text=text) == (0, "1 MTPModel in order\n", "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "VLLM",
            "TGI",
            '-:9: spec.engine.type: Unsupported value: "TGI": supported values: "VLLM", "LlamaCpp", "SGLang"',
        ),
        ("  name: qwen", "  labels: {}", "-:3: metadata.name: Required value: name or generateName is required"),
        ("    uri: pvc://weights/qwen", "    url: x", "-:7: spec.model.url: unknown field; did you mean uri?"),
        (
            "--dtype=bfloat16",
            "--max-num-seqs=4",
            "-:11: spec.engine.extraArgs[0]: Invalid value: must not be --max-num-seqs, which is "
            "spec.engine.vllm.maxNumSeqs",
        ),
        ("pvc://weights/qwen", "hf://Qwen/Qwen3", "-:5: spec.storage: Invalid value: must be set where model.uri"),
        ("  name: qwen", "  name: [", "-:6: cannot be read as YAML"),
        ("  engine:", "  model: {}\n  engine:", "-:8: the key model stands twice in one object"),
        ("v1alpha1", "v1", "-:1: apiVersion: must be mtp-operator.dev/v1alpha1, not mtp-operator.dev/v1"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(old: str, new: str, said: str) -> None:
    code, output, errors = run("-", text=MODEL.replace(old, new))

    assert (code, output) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(said)


def test_every_mistake_of_every_file_below_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "a.yaml").write_text(MODEL.replace("VLLM", "X").replace("pvc://weights/qwen", "x" * 1000))
    (tmp_path / "apps" / "b.yml").write_text(f"{MODEL}---\n{MODEL.replace('name: qwen', 'name: Qwen')}")
    (tmp_path / "chart.yaml").write_text("a: {{ .Values.a }}\n")
    (tmp_path / "notes.md").write_text("kind: MTPModel")

    code, output, errors = run(str(tmp_path))

    assert (code, output) == (1, "")
    assert [line.split(": ")[:2] for line in errors.splitlines()] == [
        [f"{tmp_path}/apps/a.yaml:9", "spec.engine.type"],
        [f"{tmp_path}/apps/a.yaml:7", "spec.model.uri"],
        [f"{tmp_path}/apps/b.yml:16", "metadata.name"],
    ]


@pytest.mark.parametrize("text", ["", SERVICE, "kind: MTPModel\napiVersion: example.com/v1\n"])
def test_nothing_to_check_is_a_mistake(text: str) -> None:
    code, output, errors = run("-", text=text)

    assert (code, output) == (1, "")
    assert errors == "no MTPModel found in -\n"


def test_a_file_that_is_not_there_is_named() -> None:
    code, _, errors = run("/nowhere/model.yaml")

    assert code == 1
    assert errors.startswith("/nowhere/model.yaml: ")
