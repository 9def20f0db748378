"""Running the commands of the pages that need nothing but files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from mtp_operator.cli.main import app
from tests.cluster import tools
from tests.docs.commands import Command
from tests.docs.pages import DOCS
from tests.unit.report.runs import selected

COMPOSE = {
    "services": {
        "qwen": {
            "image": "vllm/vllm-openai:v0.33.0",
            "command": "Qwen/Qwen3.6-27B-FP8 --max-model-len 32768 --speculative-config "
            """'{"method": "mtp", "num_speculative_tokens": 3}'""",
        }
    }
}


def prepare(folder: Path) -> None:
    """The files that commands name: the docs, a model, a run, a compose file."""
    (folder / "docs").symlink_to(DOCS)
    run = selected()
    model = yaml.safe_load((DOCS / "samples" / "minimal.yaml").read_text(encoding="utf-8"))
    model["metadata"]["name"] = run["spec"]["modelName"]
    (folder / "models").mkdir()
    for name in ("model.yaml", "models/qwen.yaml"):
        (folder / name).write_text(yaml.safe_dump(model), encoding="utf-8")
    (folder / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    (folder / "compose.yaml").write_text(yaml.safe_dump(COMPOSE), encoding="utf-8")
    (folder / "prompts.jsonl").write_text('{"prompt": "Where is my parcel?"}\n', encoding="utf-8")


def mtp(command: Command, folder: Path) -> None:
    """Runs a command of ours; what it prints goes where the page says."""
    words = [*command.words[1:]]
    if "--repeats" in words:
        # More repeats take longer and run the same code.
        words[words.index("--repeats") + 1] = "1"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    if command.output:
        (folder / command.output).write_text(result.stdout, encoding="utf-8")
    for file in command.option("--to"):
        assert command.words[1] == "export" or (folder / file).stat().st_size


def kubectl_create(command: Command, folder: Path) -> None:
    """Lets kubectl make the object without sending it."""
    kubectl = tools.find("kubectl")
    done = subprocess.run(
        [kubectl, *command.words[1:], "--dry-run=client", "--output=yaml"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["metadata"]["name"] in command.words


def kubectl_on_a_file(command: Command, _folder: Path) -> None:
    """Lets kubectl change the object as it would be in a file, without a cluster; a model is valid afterwards."""
    verb, resource, *words = command.words[1:]
    kind, _, name = resource.partition("/")
    document = _object(kind, name or words.pop(0))
    if "--namespace" in words:
        # Of an object in a file it is what the file says.
        at = words.index("--namespace")
        document["metadata"]["namespace"] = words[at + 1]
        del words[at : at + 2]
    changed = yaml.safe_load(_kubectl_local(document, verb, *words, "--output=yaml"))
    assert changed != document
    if kind == "mtpmodel":
        result = CliRunner().invoke(app, ["validate", "-"], input=yaml.safe_dump(changed))
        assert result.exit_code == 0, result.output


def printed(document: dict[str, Any], output: str) -> str:
    """What kubectl prints of an object in a file."""
    return _kubectl_local(document, "patch", "--type=merge", "--patch={}", f"--output={output}")


def model() -> dict[str, Any]:
    """A model that is tuned, and cannot proceed with what was asked since."""
    document = _object("mtpmodel", "qwen")
    conditions = [
        {"type": "Tuned", "status": "True", "reason": "Selected", "message": "n_spec=3 is 1.48x as fast as n_spec=0"},
        {"type": "Stalled", "status": "True", "reason": "NoNodeFits", "message": "no node has an NVIDIA H200"},
    ]
    return {**document, "status": {"url": "http://qwen.llm.svc:8000/v1", "conditions": conditions}}


def _kubectl_local(document: dict[str, Any], verb: str, *words: str) -> str:
    done = subprocess.run(
        [tools.find("kubectl"), verb, "--local", "--filename=-", *words],
        input=yaml.safe_dump(document), cwd=DOCS.parent, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _object(kind: str, name: str) -> dict[str, Any]:
    if kind == "mtpmodel":
        found: dict[str, Any] = yaml.safe_load((DOCS / "samples" / "minimal.yaml").read_text(encoding="utf-8"))
        return found
    kinds = {"configmap": "ConfigMap", "namespace": "Namespace", "serviceaccount": "ServiceAccount"}
    return {"apiVersion": "v1", "kind": kinds[kind], "metadata": {"name": name}}
