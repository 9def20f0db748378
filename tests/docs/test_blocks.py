"""No block of code is without a check.

A command runs, or its flags, files, values, resources and fields are checked and a list says why it does not run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mtp_operator.bench.prompts import read_mix
from mtp_operator.cli.main import app
from tests.docs import checks, runs
from tests.docs.commands import Command, commands
from tests.docs.pages import Block, blocks

RUN: Mapping[str, Callable[[Command, Path], None]] = {
    "mtp export": runs.mtp,
    "mtp init": runs.mtp,
    "mtp pin": runs.mtp,
    "mtp render": runs.mtp,
    "mtp replay": runs.mtp,
    "mtp report": runs.mtp,
    "mtp validate": runs.mtp,
    "kubectl create": runs.kubectl_create,
    "kubectl label": runs.kubectl_on_a_file,
    "kubectl patch": runs.kubectl_on_a_file,
}
"""Commands that a test runs."""

NOT_RUN: Mapping[str, tuple[Callable[[Command], None], str]] = {
    "mtp bench": (checks.mtp, "needs a server; tests/unit/bench/test_bench_command.py runs it"),
    "mtp tune": (checks.mtp_tune, "needs a GPU; tests/unit/local runs it with engines that only answer"),
    "kubectl apply": (checks.kubectl_apply, "needs a cluster; tests/e2e applies the same files"),
    "kubectl delete": (
        checks.kubectl,
        "needs a cluster; tests/installing/test_upgrades.py runs the lines of upgrade.md",
    ),
    "kubectl describe": (checks.kubectl, "needs a cluster; prints what tests/e2e reads"),
    "kubectl get": (checks.kubectl_get, "needs a cluster; each JSONPath is evaluated on an object in a file"),
    "kubectl logs": (checks.kubectl, "needs a cluster; tests/e2e/harness.py reads the same"),
    "kubectl mtp": (checks.kubectl_mtp, "needs a cluster, but for some verbs, which run; tests/unit/kubectl runs each"),
    "kubectl port-forward": (checks.kubectl, "needs a cluster, and runs until it is stopped"),
    "kubectl scale": (checks.kubectl, "needs a cluster; tests/e2e/test_serving.py scales a model"),
    "kubectl wait": (checks.kubectl, "needs a cluster; tests/installing/test_upgrades.py runs that of upgrade.md"),
    "helm install": (checks.helm_template, "needs a cluster; the chart is rendered with the same flags"),
    "helm push": (checks.helm_push, "needs a registry; the release workflow pushes the same files"),
    "helm test": (checks.helm_test, "needs a cluster; tests/installing/test_ways_of_installing.py does it"),
    "helm uninstall": (checks.helm_uninstall, "needs a cluster; tests/installing/test_upgrades.py runs these lines"),
    "helm upgrade": (checks.helm_template, "needs a cluster; the chart is rendered with the same flags"),
    "docker build": (checks.docker_build, "needs Docker; `make release-dry-run` builds the same with buildah"),
    "docker pull": (checks.docker_image, "needs a registry"),
    "docker push": (checks.docker_image, "needs a registry"),
    "make": (checks.make, "takes minutes; tests/unit/local and tests/e2e run what it starts"),
    "python": (checks.python, "serves until it is stopped; tests/unit/simulated_gpu runs it"),
    "pip": (checks.pip, "needs a package registry; `make setup` does it"),
    "git": (checks.git, "needs the forge"),
    "cd": (checks.cd, "changes nothing"),
    "export": (checks.export, "changes only the shell"),
    "jq": (checks.jq, "reads what needs a cluster"),
    "curl": (checks.curl, "needs a server; tests/e2e/traffic.py sends the same"),
    "checkov": (checks.in_lint_manifests, "`make lint-manifests` runs it"),
    "kube-score": (checks.in_lint_manifests, "`make lint-manifests` runs it"),
}
"""Commands that no test runs, what is checked of them instead, and why."""

LANGUAGES = {"shell", "yaml", "json", "dockerfile", "text"}
"""`text` is for what programs print, and for formulas."""


def of(language: str) -> list[Block]:
    return [block for block in blocks() if block.language == language]


def key(command: Command) -> str:
    return command.verb if command.program in ("mtp", "kubectl", "helm", "docker") else command.program


def test_no_block_is_without_a_check() -> None:
    assert [str(block) for block in blocks() if block.language not in LANGUAGES] == []
    assert [str(one) for one in commands() if key(one) not in {**RUN, **NOT_RUN}] == []


def test_no_check_is_without_a_command() -> None:
    assert sorted(({**RUN, **NOT_RUN}).keys() - {key(one) for one in commands()}) == []


def test_what_is_not_a_command_is_not_called_output() -> None:
    # The reference of our own command has its usage as text.
    programs = {name.split()[0] for name in {**RUN, **NOT_RUN}} - {"mtp"}

    assert [
        str(one) for one in of("text") if programs.intersection(line.split(" ")[0] for line in one.text.splitlines())
    ] == []


@pytest.mark.parametrize("command", [one for one in commands() if key(one) in RUN], ids=str)
def test_a_command_runs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)

    RUN[key(command)](command, tmp_path)


@pytest.mark.parametrize("command", [one for one in commands() if key(one) in NOT_RUN], ids=str)
def test_a_command_could_run(command: Command) -> None:
    check, _ = NOT_RUN[key(command)]

    check(command)


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_a_manifest_is_valid(block: Block) -> None:
    assert [one["kind"] for one in yaml.safe_load_all(block.text)] == ["MTPModel"]

    result = CliRunner().invoke(app, ["validate", "-"], input=block.text)

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_lines_of_json_are_prompts(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(block.text)

    assert {json.loads(line)["category"] for line in block.text.splitlines()} == {
        prompt.category for prompt, _ in zip(read_mix(file, "file").level(0), range(8), strict=False)
    }


@pytest.mark.parametrize("block", of("dockerfile"), ids=str)
def test_an_image_of_weights_has_nothing_but_files(block: Block) -> None:
    assert [line.split()[0] for line in block.text.splitlines()] == ["FROM", "COPY"]
