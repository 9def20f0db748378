"""What was chosen is served: real llama-server behind a Service, asked by a client in a pod while n changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import Engine, engine_for
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from tests.cluster import paths
from tests.manifests import prometheus

from . import harness, traffic

NAME = "demo-llamacpp"
SIMULATED = "demo-simulated"
REQUESTS = 500


def serve(namespace: str, n_spec: int, serving: dict[str, Any] | None = None, name: str = NAME, **changes: Any) -> None:
    """Applies the sample with a pinned n."""
    speculation = {"method": "MTP", "nSpec": n_spec}
    harness.apply(
        harness.sample(name, spec__speculation=speculation, spec__serving=serving or {}, **changes), namespace
    )


def wait_until_served(namespace: str, n_spec: int, servers: int = 1, name: str = NAME) -> dict[str, Any]:
    """The model once it is ready with this n and no other server is left."""

    def served() -> dict[str, Any] | None:
        model = harness.get("mtpmodels", namespace, name)
        assert model is not None
        is_served = (
            harness.condition(model, "Ready").get("status") == "True"
            and harness.condition(model, "Serving").get("reason") == "Available"
            and model["status"].get("servedNSpec") == n_spec
            and len(harness.items("pods", namespace, traffic.SERVERS)) == servers
        )
        return model if is_served else None

    model = harness.wait_until(
        served, f"{servers} servers with n_spec={n_spec}", lambda: harness.story(namespace, name)
    )
    assert model is not None
    return model


@pytest.mark.parametrize("name", ["demo-llamacpp", "demo-vllm"])
def test_n_changes_under_load(namespace: str, name: str) -> None:
    serve(namespace, 1, name=name)
    model = wait_until_served(namespace, 1, name=name)
    engine = engine_for(EngineType(model["spec"]["engine"]["type"]))
    assert model["status"]["url"] == f"http://{name}.{namespace}.svc:8000/v1"
    assert_logs(namespace, name)
    client = traffic.start(namespace, model["status"]["url"], name)
    assert traffic.drafted_per_step(namespace, engine) == 1

    serve(namespace, 2, name=name)
    wait_until_served(namespace, 2, name=name)
    harness.wait_until(lambda: len(client.answers()) >= REQUESTS, f"{REQUESTS} requests")
    assert client.failures() == []
    assert 1.5 < traffic.drafted_per_step(namespace, engine) <= 2
    assert_names(traffic.metrics(namespace, engine), engine, 2)
    assert_asked(traffic.metrics(namespace, engine), traffic.operator_metrics(), engine)

    in_place = {"rollout": {"strategy": "InPlace"}}
    serve(namespace, 2, in_place, name)
    wait_until_served(namespace, 2, name=name)
    client.goes_on_for(20)
    assert client.failures() == [], "another strategy alone replaces no server"
    serve(namespace, 1, in_place, name)
    paused = harness.wait_for_condition(namespace, name, "Serving", "False")
    assert "n_spec=1" in harness.condition(paused, "Serving")["message"]
    assert harness.condition(paused, "Ready")["status"] == "False"
    wait_until_served(namespace, 1, name=name)
    served_at = time.time()
    client.goes_on_for(70)
    answers, failures = client.answers(), client.failures()
    pause = max(one.ended_at for one in failures) - min(one.ended_at for one in failures)
    print(f"paused for {pause:.1f} s; {len(answers)} requests in all")
    # A connection that was tried in the pause may be told "unreachable" after it: the kernel tries ever more rarely.
    resumed_at = min(one.ended_at for one in answers if one.began_at > served_at and not one.error)
    assert [one for one in failures if one.began_at > resumed_at] == [], "failures after the pause"
    assert traffic.drafted_per_step(namespace, engine) == 1
    client.stop()


def assert_logs(namespace: str, name: str) -> None:
    """`kubectl mtp logs` shows what the engine has written."""
    (server,) = harness.items("pods", namespace, traffic.SERVERS)
    pod = server["metadata"]["name"]
    plugin = Path(sys.executable).with_name("kubectl-mtp")
    environment = {**os.environ, "KUBECONFIG": str(paths.kubeconfig())}
    shown = subprocess.run(
        [plugin, "logs", name, "--namespace", namespace], env=environment, capture_output=True, text=True, check=True
    )
    lines = shown.stdout.splitlines()
    assert shown.stderr == f"# server pod {pod}, container {ENGINE_CONTAINER}\n"
    assert lines
    assert set(lines) <= set(harness.kubectl("logs", pod, "-n", namespace, "-c", ENGINE_CONTAINER).splitlines())


def assert_names(metrics: str, engine: Engine, n_spec: int) -> None:
    """The engine counts under the names that we read."""
    samples = {line.rpartition(" ")[0] for line in metrics.splitlines() if line and not line.startswith("#")}
    names = {one.partition("{")[0] for one in samples}
    fields = vars(engine.metrics).items()
    counters = {name for field, name in fields if isinstance(name, str) and field != "position_label"}
    read = {*counters, *engine.load_metrics}
    assert read <= names, read - names
    assert engine.metrics.accepted_per_position is not None
    positions = [one for one in samples if one.startswith(engine.metrics.accepted_per_position)]
    for position in range(n_spec):
        assert any(f'{engine.metrics.position_label}="{position}"' in one for one in positions), positions


def assert_asked(of_server: str, of_operator: str, engine: Engine) -> None:
    """A scrape brings what rules and dashboards ask for, as the recordings do that promtool evaluates them on."""
    prefix = engine.metrics.drafts.partition(":")[0] + ":"
    of_this_engine = {name for name in prometheus.asked() if name.startswith(prefix)}
    of_the_operator = {name for name in prometheus.asked() if ":" not in name}
    assert of_this_engine
    assert of_the_operator
    assert of_this_engine - prometheus.names(of_server) == set()
    assert of_the_operator - prometheus.declared(of_operator) == set()


@pytest.mark.alone
def test_scaled_drained_and_mended(namespace: str) -> None:
    serve(namespace, 2)
    wait_until_served(namespace, 2)
    harness.kubectl("scale", f"mtpm/{NAME}", "-n", namespace, "--replicas=3")
    model = wait_until_served(namespace, 2, servers=3)
    assert model["status"]["replicas"] == 3
    scale = harness.kubectl(
        "get", "--raw", f"/apis/mtp-operator.dev/v1alpha1/namespaces/{namespace}/mtpmodels/{NAME}/scale"
    )
    assert f'"selector":"{model["status"]["selector"]}"' in scale
    assert len(harness.items("pods", namespace, model["status"]["selector"])) == 3

    budget = "jsonpath={.status.disruptionsAllowed}"
    harness.wait_until(
        lambda: harness.kubectl("get", "pdb", NAME, "-n", namespace, "-o", budget) == "1", "the budget knows them"
    )
    # The only node is drained: one server goes, and has no place to come back to; the others stay until it has.
    try:
        with pytest.raises(RuntimeError, match="disruption budget"):
            harness.kubectl(
                "drain",
                paths.node_name(),
                f"--pod-selector={traffic.SERVERS}",
                "--delete-emptydir-data",
                "--timeout=5s",
            )
        assert len(ready_servers(namespace)) == 2
    finally:
        harness.kubectl("uncordon", paths.node_name())
    wait_until_served(namespace, 2, servers=3)

    offset = harness.audit_offset()
    edit = '[{"op": "replace", "path": "/spec/template/spec/containers/0/args/1", "value": "/elsewhere.gguf"}]'
    harness.kubectl("patch", "deployment", NAME, "-n", namespace, "--type=json", "-p", edit)
    harness.wait_until(lambda: "/elsewhere" not in arguments(namespace), "the edit is undone")
    wait_until_served(namespace, 2, servers=3)
    applied = [
        entry
        for entry in harness.audit(offset)
        if entry["verb"] == "patch"
        and entry.get("objectRef", {}).get("resource") == "deployments"
        and entry["objectRef"].get("namespace") == namespace
        and entry["user"]["username"].startswith("system:serviceaccount:")
        and harness.OPERATOR_NAMESPACE in entry["user"]["username"]
    ]
    assert len(applied) == 1


def ready_servers(namespace: str) -> list[str]:
    """The servers that get requests."""
    return [
        pod["metadata"]["name"]
        for pod in harness.items("pods", namespace, traffic.SERVERS)
        if "deletionTimestamp" not in pod["metadata"] and harness.condition(pod, "Ready").get("status") == "True"
    ]


def arguments(namespace: str) -> str:
    """The engine's arguments in the Deployment."""
    return harness.kubectl(
        "get", "deployment", NAME, "-n", namespace, "-o", "jsonpath={.spec.template.spec.containers[0].args}"
    )


@contextmanager
def never_two_pods(namespace: str) -> Iterator[set[str]]:
    """Checks all along that at most one pod is there that is not over; answers the roles of those seen."""
    crowds: list[list[str]] = []
    roles: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            live = [
                pod["metadata"]
                for pod in harness.items("pods", namespace)
                if pod["status"]["phase"] not in ("Succeeded", "Failed")
            ]
            roles.update(metadata["labels"].get("app.kubernetes.io/component", "trial") for metadata in live)
            if len(live) > 1:
                crowds.append([metadata["name"] for metadata in live])

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield roles
    finally:
        over.set()
        looker.join()
    assert crowds == []


@pytest.mark.alone
def test_one_gpu_for_trials_and_servers(namespace: str) -> None:
    tuning = {
        "maxNSpec": 1,
        "budget": {"maxTrials": 2},
        "workload": {"outputTokens": 32, "levels": [{"concurrency": 1}], "sampling": {"mode": "Greedy"}},
    }
    in_place = {"rollout": {"strategy": "InPlace"}}
    harness.ensure_simulated_claim(namespace)

    def want(**more: Any) -> None:
        harness.apply(harness.simulated(4, spec__serving=in_place, spec__tuning={**tuning, **more}), namespace)

    with harness.one_gpu(), never_two_pods(namespace) as roles:
        want()
        tuned = harness.wait_for_condition(namespace, SIMULATED, "Ready", "True")
        assert tuned["status"]["servedNSpec"] == tuned["status"]["nSpec"]
        assert roles == {"trial", "server"}

        want(retuneRequest=1)
        held = harness.wait_for_condition(namespace, SIMULATED, "Ready", "True", "WaitingForDisruption")
        assert harness.condition(held, "Serving")["status"] == "True"

        want(retuneRequest=1, disruption="Allowed")
        harness.wait_for_condition(namespace, SIMULATED, "Serving", "False", "Paused")
        harness.wait_until(lambda: has_trial(namespace), "a trial in the servers' place")
        want(retuneRequest=1, disruption="Allowed", suspend=True)
        wait_until_served(namespace, tuned["status"]["nSpec"], name=SIMULATED)


def has_trial(namespace: str) -> bool:
    """Whether a trial's pod runs."""
    return any(
        pod["status"]["phase"] == "Running" and "mtp-operator.dev/run" in pod["metadata"]["labels"]
        for pod in harness.items("pods", namespace)
    )


def test_a_server_that_fails(namespace: str) -> None:
    serve(namespace, 2, {"rollout": {"strategy": "InPlace"}})
    wait_until_served(namespace, 2)
    broken: dict[str, Any] = {"spec__engine__extraArgs": ["--no-such-flag"]}
    serve(namespace, 1, {"rollout": {"strategy": "InPlace"}}, **broken)
    model = harness.wait_for_condition(namespace, NAME, "Serving", "True", "RolledBack")

    message = harness.condition(model, "Serving")["message"]
    assert "n_spec=1 did not become ready" in message
    assert "--no-such-flag" in message
    assert model["status"]["servedNSpec"] == 2
    assert harness.condition(model, "Stalled")["status"] == "True"
