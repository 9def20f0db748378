"""What a model's servers are made of."""

from __future__ import annotations

import copy
import functools
import json
from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.api.serving_record import ProbePlan, Served, ServingRecord, Surroundings
from mtp_operator.api.template import PodTemplate
from mtp_operator.engines import BESIDE_THE_BENCH, LOG_FILE, NO_LOG_FILE, POD
from mtp_operator.resources.disruption_budget import disruption_budget
from mtp_operator.resources.network_policy import network_policy
from mtp_operator.resources.server_deployment import RECORD_ANNOTATION, deployment
from mtp_operator.resources.service import service, url
from mtp_operator.resources.trial_job import trial_job
from tests.unit.engines.settings import run_settings
from tests.unit.resources.test_trial_job import TRIAL, tuning_run

SURROUNDINGS = Surroundings(probe_image="operator:1", ready_seconds=600)
LLAMA_CPP = {"type": "LlamaCpp", "image": "llama:1", "llamaCpp": {"contextSize": 2000}}


def model(**serving: Any) -> MTPModel:
    return MTPModel.from_wire(
        {
            "metadata": {
                "name": "qwen",
                "namespace": "llm",
                "uid": "model-uid",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"model": {"uri": "pvc://weights/qwen"}, "engine": {"type": "VLLM"}, "serving": serving},
        }
    )


def build(n_spec: int = 3, serving: dict[str, Any] | None = None, replicas: int = 1, **changes: Any) -> dict[str, Any]:
    record = ServingRecord(served=Served.of(run_settings(**changes), n_spec, PodTemplate()), surroundings=SURROUNDINGS)
    return deployment(model(**(serving or {})), record, replicas)


def pod_of(built: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = built["spec"]["template"]["spec"]
    return spec


def probe_plan(built: dict[str, Any]) -> ProbePlan:
    probe = pod_of(built)["initContainers"][0]
    return ProbePlan.model_validate_json(probe["args"][2])


def engine_of(built: dict[str, Any]) -> dict[str, Any]:
    (engine,) = pod_of(built)["containers"]
    found: dict[str, Any] = engine
    return found


@pytest.mark.parametrize("engine", [{"type": "VLLM", "image": "engine:1"}, LLAMA_CPP])
def test_the_engine_is_started_as_it_was_measured_but_for_its_log_file_and_address(engine: dict[str, Any]) -> None:
    trial = trial_job(tuning_run(engine=engine), TRIAL, None, ready_seconds=600, level_seconds=60)["spec"]["template"]
    (measured,) = trial["spec"]["initContainers"]
    served = engine_of(build(TRIAL.n_spec, engine=engine))

    assert served["args"] == as_served(measured["args"])
    for same in ("image", "env", "volumeMounts", "securityContext", "ports", "resources"):
        assert served[same] == measured[same]


def test_no_file_of_a_server_grows_for_ever() -> None:
    for engine in ({"type": "VLLM", "image": "engine:1"}, LLAMA_CPP):
        assert "engine.log" not in json.dumps(build(engine=engine))


def test_a_servers_pod_is_locked_up_and_gives_the_engine_time() -> None:
    built = build()
    pod, engine = pod_of(built), engine_of(build())

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    startup = engine["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert built["spec"]["progressDeadlineSeconds"] > 600


def test_readiness_is_a_completion_and_the_end_is_told_when_nothing_is_left() -> None:
    pod = pod_of(build())
    (probe,) = pod["initContainers"]
    plan = ProbePlan.model_validate_json(probe["args"][2])

    assert probe["restartPolicy"] == "Always"
    assert "startupProbe" not in probe
    assert (plan.url, plan.served_name) == ("http://127.0.0.1:8000", "qwen")
    assert probe["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert engine_of(build())["lifecycle"]["preStop"]["httpGet"] == {"path": plan.drain_path, "port": plan.port}
    assert len(plan.drain_path) > len("/drain/") + 16
    assert model().metadata.uid not in plan.drain_path


@pytest.mark.parametrize(("context", "seconds"), [(2000, 100 + 30), (1_048_576, 3600 + 30)])
def test_the_longest_request_may_end(context: int, seconds: int) -> None:
    engine = {**LLAMA_CPP, "llamaCpp": {"contextSize": context}}

    assert pod_of(build(engine=engine))["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("serving", "strategy"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"rollout": {"strategy": "InPlace"}}, {"type": "Recreate"}),
        (
            {"rollout": {"strategy": "InPlace"}, "replicas": 2},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
    ],
)
def test_how_a_new_server_comes_in(serving: dict[str, Any], strategy: dict[str, Any]) -> None:
    assert build(serving=serving)["spec"]["strategy"] == strategy


@pytest.mark.parametrize("engine", [{"type": "VLLM", "image": "engine:1"}, LLAMA_CPP])
def test_a_server_listens_where_kubelet_and_the_service_ask(engine: dict[str, Any]) -> None:
    served = Served.of(run_settings(engine=engine), 3, PodTemplate())
    everywhere = SURROUNDINGS.model_copy(update={"host": "::"})
    built = deployment(model(), ServingRecord(served=served, surroundings=everywhere), 1)

    assert [one.replace("::", "0.0.0.0") for one in engine_of(built)["args"]] == engine_of(build(engine=engine))["args"]  # noqa: S104
    assert "::" in " ".join(engine_of(built)["args"])
    # An engine that listens at :: may take IPv6 alone.
    assert probe_plan(built).url == f"http://[::1]:{engine_of(built)['ports'][0]['containerPort']}"
    assert probe_plan(build(engine=engine)).url.startswith("http://127.0.0.1:")


def test_a_deployment_says_what_it_serves() -> None:
    record = ServingRecord.model_validate_json(build()["metadata"]["annotations"][RECORD_ANNOTATION])

    assert record.served == Served.of(run_settings(), 3, PodTemplate())


def as_served(arguments: list[str]) -> list[str]:
    """Arguments of a trial with a server's surroundings: nobody reads its log file, and it is reached by others."""
    surroundings = {LOG_FILE: NO_LOG_FILE, BESIDE_THE_BENCH.host: POD.host}
    return [functools.reduce(lambda one, part: one.replace(*part), surroundings.items(), one) for one in arguments]


@pytest.mark.parametrize(
    "engine", [{"type": "VLLM", "vllm": {"maxNumSeqs": 128}}, {"type": "LlamaCpp", "llamaCpp": {"parallel": 32}}]
)
@pytest.mark.parametrize("max_n_spec", [1, 4, 8, 16])
@pytest.mark.parametrize("mode", ["Greedy", "ModelDefaults", "Custom"])
def test_no_setting_of_a_measurement_changes_how_a_server_starts(
    engine: dict[str, Any], max_n_spec: int, mode: str
) -> None:
    sampling = {"mode": mode, **({"temperatureMilli": 700} if mode == "Custom" else {})}
    settings: dict[str, Any] = {
        "engine": {**engine, "image": "engine:1"},
        "maxNSpec": max_n_spec,
        "workload": {"levels": [{"concurrency": 1}], "sampling": sampling},
    }
    trial = trial_job(tuning_run(**settings), TRIAL, None, ready_seconds=600, level_seconds=60)["spec"]["template"]
    (measured,) = trial["spec"]["initContainers"]

    served = engine_of(build(TRIAL.n_spec, **settings))["args"]

    assert served == as_served(measured["args"])
    assert not {"--generation-config=vllm", "--cache-ram"} & set(served)


def test_a_server_leaves_the_mesh_to_its_namespace_and_a_trial_does_not() -> None:
    trial = trial_job(tuning_run(), TRIAL, None, ready_seconds=600, level_seconds=60)["spec"]["template"]["metadata"]

    assert trial["labels"]["sidecar.istio.io/inject"] == "false"
    assert not [one for one in build()["spec"]["template"]["metadata"]["labels"] if "istio" in one]


def test_servers_do_not_depend_on_the_workload_that_was_measured() -> None:
    other = run_settings(workload={"outputTokens": 64, "levels": [{"concurrency": 4}]}, budget={"maxTrials": 3})

    assert Served.of(other, 3, PodTemplate()) == Served.of(run_settings(), 3, PodTemplate())
    assert Served.of(other, 3, PodTemplate()).settings_hash == Served.of(run_settings(), 2, PodTemplate()).settings_hash
    assert (
        Served.of(run_settings(engine=LLAMA_CPP), 3, PodTemplate()).settings_hash
        != Served.of(run_settings(), 3, PodTemplate()).settings_hash
    )


def test_everything_selects_servers_and_no_trials() -> None:
    labels = build()["spec"]["template"]["metadata"]["labels"]
    trial = trial_job(tuning_run(), TRIAL, None, ready_seconds=600, level_seconds=60)["spec"]["template"]["metadata"]
    selectors = [
        build()["spec"]["selector"]["matchLabels"],
        service(model())["spec"]["selector"],
        disruption_budget(model())["spec"]["selector"]["matchLabels"],
        network_policy(model())["spec"]["podSelector"]["matchLabels"],
    ]

    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= trial["labels"].items()


def test_every_object_is_the_models_child_and_carries_its_name() -> None:
    for built in (build(), service(model()), disruption_budget(model()), network_policy(model())):
        (owner,) = built["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["blockOwnerDeletion"]) == ("model-uid", False)
        assert built["metadata"]["name"] == "qwen"
        assert built["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mtp-operator"


def test_the_service_is_what_the_url_says() -> None:
    assert service(model(port=80))["spec"]["ports"][0]["port"] == 80
    assert url(model(port=80)) == "http://qwen.llm.svc:80/v1"


def test_building_changes_nothing_that_was_given() -> None:
    record = ServingRecord(served=Served.of(run_settings(), 3, PodTemplate()), surroundings=SURROUNDINGS)
    before = copy.deepcopy(record)
    first = deployment(model(), record, 1)
    first["spec"]["template"]["spec"]["containers"][0]["args"].append("--x")

    assert deployment(model(), record, 1) != first
    assert record == before
