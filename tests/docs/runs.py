"""Running the commands of the pages that need nothing but files."""

from __future__ import annotations

import subprocess
from pathlib import Path

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
