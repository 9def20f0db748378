"""`mtp report`: what it takes, where it writes, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mtp_operator.cli.main import app
from tests.unit.report.runs import Body, off, selected


@pytest.fixture(scope="module")
def body() -> Body:
    return selected()


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *arguments], input=text)
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: str, text: str = "") -> str:
    code, output, errors = run(*arguments, text=text)
    assert (code, output) == (1, "")
    return errors


def listed(*bodies: Body) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})


def test_forms_of_one_run_say_the_same(body: Body) -> None:
    stream = f"kind: Secret\n---\n{yaml.safe_dump(body)}---\n"
    unquoted = yaml.safe_dump(body).replace("'2026-11-01T09:00:00Z'", "2026-11-01T09:00:00Z")
    answers = {run("-", "--output=json", text=text) for text in (json.dumps(body), stream, listed(body), unquoted)}

    assert len(answers) == 1
    code, output, errors = answers.pop()
    assert (code, errors) == (0, "")
    assert json.loads(output)["verdict"]["nSpec"] == 3


def test_a_page_is_the_default_and_goes_to_a_file(body: Body, tmp_path: Path) -> None:
    source, target = tmp_path / "run.yaml", tmp_path / "report.html"
    source.write_text(yaml.safe_dump(body))

    assert run(str(source), "--to", str(target)) == (0, "", "")
    assert target.read_text().startswith("<!doctype html>")


def test_a_run_of_several_is_selected_by_name(body: Body) -> None:
    other: dict[str, Any] = off()
    other["metadata"]["name"] = "other"

    code, output, _ = run("-", "--name=other", "--output=md", text=listed(body, other))

    assert code == 0
    assert "Speculation is off" in output
    assert "contains 2 of MTPTuningRun; select one with --name: " in refused("-", text=listed(body, other))
    assert "contains no MTPTuningRun named 'third'" in refused("-", "--name=third", text=listed(body))


def test_what_is_no_run_is_refused(body: Body, tmp_path: Path) -> None:
    assert refused("-", text="a: [") == "".join(refused("-", text="a: [").splitlines(keepends=True)[:1])
    assert "invalid YAML or JSON" in refused("-", text="{")
    assert "contains no MTPTuningRun (apiVersion mtp-operator.dev/v1alpha1)" in refused("-", text="- 1\n--- text")
    assert "No such file" in refused(str(tmp_path / "none.yaml"))
    assert "Is a directory" in refused("-", "--to", str(tmp_path), text=json.dumps(body))
    assert "-: spec.modelName: Field required" in refused(
        "-",
        text=json.dumps({**body, "spec": {name: part for name, part in body["spec"].items() if name != "modelName"}}),
    )


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
@pytest.mark.parametrize("output", ["html", "md"])
def test_only_a_page_needs_the_extra(body: Body, module: str, output: str) -> None:
    without = f"import sys; sys.modules[{module!r}] = None; from mtp_operator.cli.main import app; app()"
    command = [sys.executable, "-c", without, "report", "-", f"--output={output}"]

    ended = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)

    if output == "md":
        assert (ended.returncode, ended.stderr) == (0, "")
    else:
        assert (ended.returncode, ended.stderr) == (
            1,
            f"--output html needs {module}: pip install 'mtp-operator[report]', or use --output md or json\n",
        )
