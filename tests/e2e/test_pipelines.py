"""What Helm, Flux and Argo CD see of a model in a real cluster; and that nothing drifts from Git."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import paths, tools
from tests.gitops.judges import KSTATUS, argo_health, kstatus

from . import harness

NAME = "demo-simulated"


@contextmanager
def states_seen(namespace: str, file: Path) -> Iterator[list[dict[str, Any]]]:
    """Every state of the models and runs of a namespace, as a watch brings them; complete once the block is left."""
    seen: list[dict[str, Any]] = []
    command = [
        str(tools.find("kubectl")), f"--kubeconfig={paths.kubeconfig()}", "get", "mtpmodels", "--watch",
        "--output-watch-events", "--output=json", f"--namespace={namespace}",
    ]  # fmt: skip
    with file.open("w") as output, subprocess.Popen(command, stdout=output) as watcher:
        try:
            yield seen
        finally:
            watcher.terminate()
    decoder, text = json.JSONDecoder(), file.read_text()
    while text := text.lstrip():
        try:
            event, end = decoder.raw_decode(text)
        except json.JSONDecodeError:  # cut off in the middle of the last one
            return
        seen.append(event["object"])
        text = text[end:]


@pytest.fixture(scope="module", autouse=True)
def judge() -> None:
    tools.ensure(KSTATUS)


def document(**changes: Any) -> dict[str, Any]:
    return harness.simulated(6, **changes)


def test_every_state_that_a_watch_brings_is_judged_rightly(namespace: str, tmp_path: Path) -> None:
    harness.ensure_simulated_claim(namespace)
    few = {"spec__tuning__maxNSpec": 2, "spec__tuning__budget": {"maxTrials": 6}}
    source = document(spec__serving={"replicas": 1}, **few)
    with states_seen(namespace, tmp_path / "events.json") as seen:
        harness.apply(source, namespace)
        harness.wait_for_condition(namespace, NAME, "Ready", "True", "")

    judged = [status for status, _ in kstatus(seen)]
    assert [word for word, _ in itertools.groupby(judged)] == ["InProgress", "Current"]
    assert [word for word, _ in itertools.groupby(health for health, _ in argo_health(seen))] == [
        "Progressing",
        "Healthy",
    ]

    (tmp_path / "source.yaml").write_text(yaml.safe_dump(source))
    # It ends with 1 where there is a difference.
    assert harness.kubectl("diff", "-n", namespace, f"--filename={tmp_path / 'source.yaml'}") == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec__speculation": {"method": "MTP", "nSpec": 2}, "spec__serving": {"replicas": 1}}, ""),
        ({"spec__model__uri": "pvc://nowhere/model"}, "nowhere"),
    ],
    ids=["served", "stalled"],
)
def test_helm_waits_for_a_model(namespace: str, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    harness.ensure_simulated_claim(namespace)
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: models\nversion: 0.1.0\n")
    (tmp_path / "templates" / "model.yaml").write_text(yaml.safe_dump(document(**changes)))
    install = ("install", "models", str(tmp_path), "--namespace", namespace, "--wait", "--timeout", "15m")

    if message:
        with pytest.raises(RuntimeError, match=message):
            harness.helm(*install)
    else:
        harness.helm(*install)
        model = harness.get("mtpmodels", namespace, NAME)
        assert harness.condition(model, "Ready")["status"] == "True"
    harness.helm("uninstall", "models", "--namespace", namespace)
