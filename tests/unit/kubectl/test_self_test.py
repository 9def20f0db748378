"""What the pod of `helm test` does: a model is created, tuned and deleted, whatever comes of it."""

from __future__ import annotations

import itertools
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import incluster_config
from typer.testing import CliRunner, Result

from mtp_operator.api.conditions import ConditionType
from mtp_operator.api.model_status import MTPModelStatus
from mtp_operator.cli.kubectl.cluster import ClusterError, Connection
from mtp_operator.cli.kubectl.self_testing import Ending, ending, tune_and_delete
from mtp_operator.cli.main import app

from .golden import world_of
from .served import OURS, ApiServer
from .states import STATES

MODEL = {"metadata": {"name": "probe", "namespace": "team"}, "spec": {"tuning": {"maxNSpec": 1}}}
PATH = f"{OURS}/mtpmodels/probe"


def status(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    fields = ("type", "status", "reason")
    told = {"message": "because", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"conditions": [dict(zip(fields, one, strict=True)) | told for one in conditions], "summary": "as it is"}


TUNED = status(("Tuned", "True", "Selected"), ("Ready", "True", "Selected"))
TUNING = status(("Tuned", "False", "Tuning"), ("Ready", "False", "Tuning"), ("Stalled", "False", "Tuning"))
STALLED = status(("Tuned", "False", "NoNodeFits"), ("Stalled", "True", "NoNodeFits"))


def body(found: dict[str, Any] | None) -> dict[str, Any]:
    world = world_of("tuned")
    assert world.model is not None
    metadata = world.model["metadata"] | {"name": "probe"}
    return {"metadata": metadata, "spec": world.model["spec"], **({"status": found} if found else {})}


def becomes(server: ApiServer, *statuses: dict[str, Any] | None) -> None:
    """A model that is created gets these statuses, one for each look at it; the last one stays."""
    looks = itertools.chain(statuses, itertools.repeat(statuses[-1]))
    server.made_of = lambda _: lambda: body(next(looks))


def run(timeout_seconds: float = 60, model: str = json.dumps(MODEL)) -> Result:
    return CliRunner().invoke(app, ["self-test", f"--timeout-seconds={timeout_seconds}", f"--model={model}"])


@pytest.mark.parametrize(
    ("found", "end"),
    [
        ({}, None),
        (TUNING, None),
        (TUNED, Ending(True, "Tuned, Selected: because")),
        (status(("Tuned", "True", "SpeculationOff")), Ending(True, "Tuned, SpeculationOff: because")),
        (status(("Tuned", "False", "Inconclusive")), Ending(False, "not Tuned, Inconclusive: because")),
        (STALLED, Ending(False, "Stalled, NoNodeFits: because")),
    ],
)
def test_a_test_ends_with_a_verdict_or_where_a_person_is_needed(found: dict[str, Any], end: Ending | None) -> None:
    assert ending(MTPModelStatus.model_validate(found)) == end


@pytest.mark.parametrize("state", STATES)
def test_whatever_state_a_model_is_in_a_test_of_it_passes_only_where_it_is_tuned(state: str) -> None:
    model = world_of(state).model
    assert model is not None
    found = MTPModelStatus.model_validate(model["status"])
    end = ending(found)

    is_tuned = any(one.type == ConditionType.TUNED and one.status == "True" for one in found.conditions)
    assert (end is not None and end.is_passed) == is_tuned


def test_a_model_that_is_tuned_passes_and_is_deleted(server: ApiServer) -> None:
    becomes(server, TUNED)

    done = run()

    ((path, created),) = server.created
    assert (done.exit_code, path) == (0, PATH)
    assert done.stdout.splitlines() == [
        "MTPModel probe in namespace team: created",
        "  as it is",
        "MTPModel probe in namespace team: Tuned, Selected: because",
        "MTPModel probe in namespace team: deleted",
    ]
    assert created["spec"]["tuning"]["maxNSpec"] == 1
    assert 1 <= created["spec"]["tuning"]["request"] <= 1_000_000
    assert PATH not in server.objects


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (STALLED, "Stalled, NoNodeFits: because"),
        (TUNING, "not Tuned within 0 s: Tuning: because"),
        (None, "not Tuned within 0 s: the operator has not seen it; does it watch this namespace?"),
    ],
)
def test_a_model_that_is_not_tuned_fails_and_is_deleted(
    server: ApiServer, found: dict[str, Any] | None, said: str
) -> None:
    becomes(server, found)

    done = run(timeout_seconds=0)

    assert done.exit_code == 1
    assert f"MTPModel probe in namespace team: {said}\n" in done.stdout
    assert PATH not in server.objects


def test_it_waits_and_outlasts_an_api_server_that_fails(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter([body(None), body(TUNING), None, body(TUNING), body(TUNED)])
    server.made_of = lambda _: lambda: next(looks)
    pauses: list[float] = []

    assert tune_and_delete(Connection("team"), MODEL, 60, monotonic=lambda: sum(pauses), sleep=pauses.append)

    assert len(pauses) == 4
    assert capsys.readouterr().err.count("asking again") == 1


def test_it_ends_when_the_time_is_over(server: ApiServer) -> None:
    becomes(server, TUNING)
    pauses: list[float] = []

    assert not tune_and_delete(Connection("team"), MODEL, 60, monotonic=lambda: sum(pauses), sleep=pauses.append)

    assert sum(pauses) == 60
    assert PATH not in server.objects


def test_a_test_that_is_interrupted_deletes_its_model(server: ApiServer) -> None:
    becomes(server, TUNING)

    def interrupt(_: float) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        tune_and_delete(Connection("team"), MODEL, 60, sleep=interrupt)

    assert PATH not in server.objects


def test_a_model_that_is_there_is_left_alone(server: ApiServer) -> None:
    server.objects[PATH] = body(TUNED)

    done = run()

    assert done.exit_code == 1
    assert done.stderr == (
        "error: MTPModel probe in namespace team already exists, left by a test that was killed; "
        "delete it: kubectl delete mtpmodel probe -n team\n"
    )
    assert PATH in server.objects


def test_a_model_that_somebody_else_deleted_is_said_to_be_gone(server: ApiServer) -> None:
    becomes(server, TUNING)

    def delete(_: float) -> None:
        del server.objects[PATH]

    with pytest.raises(ClusterError, match="MTPModel probe not found in namespace team"):
        tune_and_delete(Connection("team"), MODEL, 60, sleep=delete)


@pytest.mark.parametrize("model", ["{", "[]", "{}", '{"metadata": {"name": "probe"}, "spec": {}}'])
def test_what_is_not_a_model_is_refused(model: str) -> None:
    done = run(model=model)

    assert done.exit_code == 2
    assert done.stderr == "--model: must be an MTPModel as JSON, with metadata.name, metadata.namespace and spec\n"


@pytest.fixture
def pod(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sees of the cluster what a pod sees: addresses, a token and an authority, and no kubeconfig."""
    key, certificate, token = (tmp_path / name for name in ("key.pem", "ca.crt", "token"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kubernetes", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    token.write_text("of-the-pod")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG")


@pytest.mark.usefixtures("pod")
def test_in_a_pod_it_asks_as_the_pods_service_account(server: ApiServer) -> None:
    becomes(server, TUNED)

    assert run().exit_code == 0

    assert server.tokens == {"bearer of-the-pod"}
