"""What `kubectl mtp` prints, and how it asks for it: over a real socket, with a kubeconfig of the user's."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from mtp_operator.api.reasons import REASONS
from mtp_operator.cli.kubectl.explain_document import reason_document
from mtp_operator.cli.kubectl.kubectl_command import app
from mtp_operator.cli.kubectl.session import as_json
from mtp_operator.cli.kubectl.status_document import status_document
from mtp_operator.cli.kubectl.status_view import status_view
from tests.unit.reconcile.world import World

from .golden import GOLDEN, WIDTHS, documents, files, printed, world_of
from .served import OURS, ApiServer
from .states import STATES, model_of, runs_of

SCHEMA = json.loads(Path("docs/kubectl-mtp.schema.json").read_text())
VERBS = ("status", "explain", "watch", "report", "compare", "logs", "retune", "doctor", "plan")


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_what_is_printed_is_what_the_files_hold() -> None:
    kept = {path.name: path.read_text() for path in GOLDEN.iterdir()}
    assert files() == kept, "run `make generate` and read the difference"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    for path in GOLDEN.glob(f"*-{width}.txt"):
        # Lines for pipes are as long as they are.
        sections = ("\n" + path.read_text()).split("\n$ ")
        shown = [line for one in sections if "| cat" not in one.partition("\n")[0] for line in one.splitlines()]
        assert max(map(len, shown)) <= width, path.name


def test_a_model_that_nobody_has_looked_at_yet_is_shown_as_that() -> None:
    document = status_document(model_of(World()), [])
    assert document.headline == "gemma serves nothing: Not seen by the operator yet"
    assert "Conditions" in printed(status_view(document, 80), 80)


def test_every_reason_that_is_shown_is_explained() -> None:
    shown = {
        reason
        for state in STATES
        for one in [status_document(model_of(world_of(state)), runs_of(world_of(state)))]
        for reason in (*(each.reason for each in one.conditions), *(each.reason for each in one.trials if each.reason))
    }
    assert len(shown) > len(STATES)
    assert all(reason_document(one) for one in shown)


def test_json_is_what_the_schema_says() -> None:
    found = dict(documents())
    assert len(found) > len(VERBS)
    for document in found.values():
        jsonschema.validate(json.loads(as_json(document)), SCHEMA)


# -- how it is asked for -----------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.usefixtures("server")
def test_status_needs_no_more_than_our_two_kinds() -> None:
    text, document = run("status", "gemma"), run("status", "gemma", "-o", "json")

    assert text.exit_code == 0
    assert text.stdout.startswith("gemma serves n_spec=3")
    assert json.loads(document.stdout)["kind"] == "Status"


@pytest.mark.usefixtures("server")
def test_the_namespace_is_that_of_the_context_or_the_one_that_is_named() -> None:
    assert run("status", "gemma", "-n", "team", "--context", "elsewhere").exit_code == 0
    other = run("status", "gemma", "--context", "elsewhere")
    assert (other.exit_code, other.stderr) == (1, "error: MTPModel gemma not found in namespace empty\n")


def test_no_server_and_no_kubeconfig_are_said_in_one_line(server: ApiServer, tmp_path: Path) -> None:
    nothing = run("status", "gemma", "--kubeconfig", str(tmp_path / "none"))
    assert nothing.exit_code == 1
    assert nothing.stderr.startswith("error: kubeconfig: ")
    config = (tmp_path / "config").read_text().replace(f":{server.server_port}", ":1")
    (tmp_path / "dead").write_text(config)
    dead = run("status", "gemma", "--kubeconfig", str(tmp_path / "dead"))
    assert (dead.exit_code, dead.stderr.count("\n")) == (1, 1)
    assert dead.stderr.startswith("error: cannot reach the API server http://127.0.0.1:1: ")


@pytest.mark.usefixtures("server")
def test_explain_takes_a_model_or_a_reason() -> None:
    (name,) = world_of("tuned").runs
    assert name in run("explain", "gemma").stdout
    assert "n_spec=4 was not measured" in run("explain", "gemma", "--n", "4").stdout
    assert REASONS["NoNodeFits"].meaning.split(",")[0] in run("explain", "NoNodeFits").stdout
    unknown = run("explain", "NoSuchReason")
    assert (unknown.exit_code, unknown.stdout) == (1, "")


@pytest.mark.usefixtures("server")
def test_watch_ends_when_nothing_is_under_way() -> None:
    watched = run("watch", "gemma", "--until-settled")
    assert (watched.exit_code, watched.stdout.splitlines()[0]) == (0, "gemma: Serving")


@pytest.mark.usefixtures("server")
def test_watch_draws_the_tree_where_there_is_a_terminal() -> None:
    command = [sys.executable, "-m", "mtp_operator.cli.kubectl", "watch", "gemma", "--until-settled"]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(command, stdout=theirs, check=True, env={**os.environ, "COLUMNS": "80", "TERM": "xterm"})
        os.close(theirs)
        drawn = terminal.read(100_000).decode()
    assert "✔ Tuning" in drawn
    assert "Speedup over n_spec=0" in drawn


def test_watch_outlasts_an_api_server_that_fails(server: ApiServer) -> None:
    settled = server.objects[f"{OURS}/mtpmodels/gemma"]
    tuning = world_of("tuning").model
    bodies = iter([tuning, None, settled])
    server.objects[f"{OURS}/mtpmodels/gemma"] = lambda: next(bodies)

    watched = run("watch", "gemma", "--until-settled")

    assert watched.exit_code == 0
    first, *_, last = watched.stdout.splitlines()
    assert (first, last) == ("gemma: Tuning 2/24, 30s each", "gemma: Serving")
    assert watched.stderr.count("asking again") == 1


def test_an_api_server_without_our_kinds_is_said_to_be_that(server: ApiServer) -> None:
    server.has_our_kinds = False
    assert run("status", "gemma").stderr == "error: MTPModel gemma: not served; run kubectl mtp doctor\n"


@pytest.mark.usefixtures("server")
def test_report_and_compare_take_what_the_model_points_to(tmp_path: Path) -> None:
    (name,) = world_of("tuned").runs
    assert run("report", "gemma", "-o", "md", "--to", str(tmp_path / "report.md")).exit_code == 0
    assert name in (tmp_path / "report.md").read_text()
    assert "Both measured the same." in run("compare", "gemma", name).stdout


def test_retune_increases_the_request_of_the_version_that_was_read(server: ApiServer) -> None:
    server.objects[f"{OURS}/mtpmodels/gemma"]["metadata"]["resourceVersion"] = "41"
    tried, done = run("retune", "gemma", "--dry-run"), run("retune", "gemma")

    assert (tried.exit_code, done.exit_code) == (0, 0)
    (dry_path, body), (path, _) = server.patches
    assert "dryRun=All" in dry_path
    assert "dryRun" not in path
    assert body == {"metadata": {"resourceVersion": "41"}, "spec": {"tuning": {"retuneRequest": 1}}}


def test_retune_refuses_what_would_measure_nothing(server: ApiServer) -> None:
    model = server.objects[f"{OURS}/mtpmodels/gemma"]
    suspended = {**model, "spec": {**model["spec"], "tuning": {"suspend": True}}}
    server.objects[f"{OURS}/mtpmodels/gemma"] = suspended

    refused = run("retune", "gemma")

    assert (refused.exit_code, server.patches) == (1, [])
    assert "spec.tuning.suspend" in refused.stderr


def test_logs_are_those_of_the_trial_before_those_of_a_server(server: ApiServer) -> None:
    def pod(name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": labels}, "status": {"phase": "Running"}}

    pods = "/api/v1/namespaces/team/pods"
    serving = pod("gemma-0", **{"app.kubernetes.io/component": "server"})
    trial = pod("trial-0", **{"mtp-operator.dev/run": "gemma-1"})
    server.objects |= {f"{pods}/{name}/log": f"log of {name}\n" for name in ("gemma-0", "trial-0")}
    for found, expected in (([serving, trial], "trial-0"), ([serving], "gemma-0")):
        server.objects[pods] = {"items": found}
        assert run("logs", "gemma").stdout == f"log of {expected}\n"
    document = json.loads(run("logs", "gemma", "-o", "json").stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["lines"] == ["log of gemma-0"]


@pytest.mark.usefixtures("server")
def test_what_is_forbidden_is_said_and_not_guessed(tmp_path: Path) -> None:
    examined = run("doctor", "-o", "json")
    checks = {one["name"]: one for one in json.loads(examined.stdout)["checks"]}
    assert checks["GPUs"]["result"] == "unknown"
    assert "jane may not list that" in checks["GPUs"]["message"]
    assert checks["Models"]["result"] == "ok"

    world = world_of("tuned")
    assert world.model is not None
    manifest = {key: world.model[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "gemma"}}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(manifest))
    planned = run("plan", "-f", str(tmp_path / "model.yaml"), "-o", "json")
    (model,) = json.loads(planned.stdout)["models"]
    assert model["servers"] == "no restart"
    assert "jane may not list that" in model["gpus"]


@pytest.mark.usefixtures("server")
def test_doctor_fails_where_a_check_fails() -> None:
    assert run("doctor").exit_code == 0
    world = world_of("blocked")
    assert world.model is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtp_operator.cli.kubectl.cluster.Connection.models", lambda _: [world.model])
        assert run("doctor").exit_code == 1


# -- the command itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_same_options(verb: str) -> None:
    shown = CliRunner().invoke(app, [verb, "-h"], env={"COLUMNS": "120"}).stdout
    for option in ("--namespace", "--context", "--kubeconfig", "--output", "--no-color", "-n", "-o", "-h"):
        assert option in shown


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").stdout.startswith("kubectl-mtp 0.")


def test_asking_for_help_imports_nothing_heavy() -> None:
    ask = (
        "import sys; from mtp_operator.cli.kubectl import kubectl_command; "
        "print([one for one in sys.modules if one.split('.')[0] in ('kubernetes', 'numpy', 'kopf')])"
    )
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
