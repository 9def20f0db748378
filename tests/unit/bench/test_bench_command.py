"""`mtp bench` as a person runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mtp_operator.cli.main import app
from tests.unit.bench.small_server import Server
from tests.unit.bench.stepping_engine import SteppingEngine, bench


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_a_running_server_is_measured_as_in_a_trial() -> None:
    engine = SteppingEngine(n_spec=2, accepted=lambda _: 1)

    done = bench(engine, "--concurrency", "1", "--concurrency", "2", "--output-tokens", "32", "--output", "json")

    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    assert "failure" not in result
    assert [level["concurrency"] for level in result["levels"]] == [1, 2]
    assert result["levels"][0]["acceptedPerPosition"] == [result["levels"][0]["drafts"], 0]


def test_the_table_says_what_speaks_against_the_figures() -> None:
    done = bench(SteppingEngine(), "--output-tokens", "32", "--n-spec", "2")

    assert done.exit_code == 1
    assert "time to first token" in done.stdout
    assert "SpeculationNotEngaged: the engine was started with 2 draft tokens per step" in done.stdout


def test_a_workload_is_that_of_a_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "model.yaml"
    manifest.write_text(
        "kind: MTPModel\nspec: {tuning: {workload: {outputTokens: 32, levels: [{concurrency: 3}], "
        "prompts: {builtIn: [Chat]}}}}\n"
    )

    done = bench(SteppingEngine(), "--workload", str(manifest), "--output", "json")

    assert done.exit_code == 0, done.output
    (level,) = json.loads(done.stdout)["levels"]
    assert level["concurrency"] == 3
    assert list(level["categories"]) == ["Chat"]


def test_a_list_is_sent_once_in_its_order(tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    requests.write_text('{"prompt": "one", "output_tokens": 32}\n\n{"prompt": "two", "output_tokens": 32}\n')
    engine = SteppingEngine()

    done = bench(engine, "--requests", str(requests), "--output", "json")

    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    assert (result["requests"], result["outputTokens"], result["generatedTokens"]) == (2, 64, 64)
    assert [body["messages"][-1]["content"] for body in engine.bodies] == ["one", "two"]
    assert result["outputTokensPerSecond"] == pytest.approx(64 / result["seconds"])


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--url", "localhost:8000"], 2, "--url: localhost:8000 is not a server address: http://HOST:PORT"),
        (["--url", "http://127.0.0.1:8000/v1"], 2, "without a path"),
        (["--url", "http://127.0.0.1:9"], 2, "--url: http://127.0.0.1:9 cannot be reached"),
        (["--model", "large"], 2, "--model: large is not served by http://127.0.0.1:PORT; it serves tiny"),
        (["--workload", "FILE"], 2, "--workload: FILE: outputToken is not a field; allowed are levels, outputTokens"),
        (["--workload", "NONE"], 2, "--workload: NONE cannot be read: No such file or directory"),
        (["--prompts", "FILE"], 2, "--prompts: line 1"),
        (["--concurrency", "1", "--concurrency", "1"], 2, "--concurrency: at most 4 are measured in one go, each once"),
        (["--requests", "NONE"], 2, "--requests: NONE cannot be read: No such file or directory"),
        (["--requests", "FILE"], 2, "--requests: line 1: is not valid JSON"),
        (["--requests", "FILE", "--prompts", "FILE"], 2, "--prompts: cannot be given together with --requests"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(
    server: Server, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    file = tmp_path / "file"
    file.write_text("outputToken: 3\n")
    names = {"FILE": str(file), "NONE": str(tmp_path / "none")}
    address = [] if "--url" in arguments else ["--url", url(server)]

    done = run(*address, *(names.get(one, one) for one in arguments))

    for name, path in names.items():
        words = words.replace(name, path)
    assert done.exit_code == status
    assert words.replace("PORT", str(server.server_port) if "127" in words else "PORT") in done.stderr
    assert done.stderr.count("\n") == 1
