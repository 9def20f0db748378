"""What the pods of trials, servers and fetches take over from spec.template, and what nothing in it can change."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.api.hashing import canonical_hash
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun, RunSettings, TrialState, TrialStatus
from mtp_operator.api.serving_record import Served, ServingRecord, Surroundings
from mtp_operator.api.template import PodTemplate
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.resources.fetch_job import fetch_job, fetch_job_name
from mtp_operator.resources.server_deployment import deployment
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.tuning_run import run_settings, tuning_run

TRIAL = TrialStatus(number=1, candidate="mtp-3", n_spec=3, repeat=0, job_name="qwen-t1", state=TrialState.PLANNED)
METADATA = {"name": "qwen", "namespace": "llm", "uid": "uid", "creationTimestamp": "2026-01-01T00:00:00Z"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def model(accelerator: dict[str, Any] | None = None, **template: Any) -> MTPModel:
    return MTPModel.from_wire(
        {
            "metadata": METADATA,
            "spec": {
                "model": {"uri": "hf://org/qwen", "servedName": "qwen"},
                "storage": {"existingClaim": "weights"},
                "engine": {"type": "VLLM"},
                "accelerator": accelerator or {},
                "template": template,
            },
        }
    )


def settings(of: MTPModel) -> RunSettings:
    return run_settings(of, "engine:1", "operator:1", [FetchedSource(uri="hf://org/qwen", revision="0" * 40)])


def trial(of: MTPModel, node: str | None = None) -> dict[str, Any]:
    body = tuning_run(of, settings(of))
    run = MTPTuningRun.from_wire({**body, "metadata": METADATA | body["metadata"]})
    pod: dict[str, Any] = trial_job(run, TRIAL, node, ready_seconds=600, level_seconds=60)["spec"]["template"]
    return pod


def server(of: MTPModel) -> dict[str, Any]:
    served = Served.of(settings(of), 3, of.spec.template.pod)
    record = ServingRecord(served=served, surroundings=Surroundings(probe_image="operator:1", ready_seconds=60))
    pod: dict[str, Any] = deployment(of, record, 1)["spec"]["template"]
    return pod


def fetch(of: MTPModel) -> dict[str, Any]:
    pod: dict[str, Any] = fetch_job(of, "operator:1", {})["spec"]["template"]
    return pod


def engine(pod: dict[str, Any]) -> dict[str, Any]:
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    (found,) = (one for one in containers if one["name"] == "engine")
    container: dict[str, Any] = found
    return container


TOLERATION = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
TEMPLATE: dict[str, Any] = {
    "labels": {"team": "search"},
    "annotations": {"gke-gcsfuse/volumes": "true"},
    "nodeSelector": {"cloud.google.com/compute-class": "gpu"},
    "tolerations": [TOLERATION],
    "priorityClassName": "inference",
    "runtimeClassName": "nvidia",
    "schedulerName": "volcano",
    "serviceAccountName": "bucket-reader",
    "imagePullSecrets": [{"name": "ghcr"}],
    "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
}


@pytest.mark.parametrize("build", [trial, server, fetch])
def test_every_pod_has_what_the_user_wants(build: Any) -> None:
    pod = build(model(**TEMPLATE))

    assert pod["metadata"]["labels"]["team"] == "search"
    assert pod["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    assert pod["spec"]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        TOLERATION,
    ]
    copied = TEMPLATE.keys() - {"labels", "annotations", "tolerations"}
    assert {name: pod["spec"][name] for name in copied} == {name: TEMPLATE[name] for name in copied}


@pytest.mark.parametrize("build", [trial, server, fetch])
def test_nothing_in_it_takes_away_what_the_operator_needs(build: Any) -> None:
    own = build(model())
    pod = build(
        model(
            labels={**own["metadata"]["labels"], "mtp-operator.dev/model": "other"},
            annotations=dict.fromkeys(own["metadata"].get("annotations", {}), "other"),
            serviceAccountName="powerful",
        )
    )

    # Of a server it tells which template it has.
    for metadata in (pod["metadata"], own["metadata"]):
        metadata["labels"].pop("mtp-operator.dev/settings", None)
    assert pod["metadata"] == own["metadata"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "hostIPC" not in pod["spec"]


def test_terms_for_nodes_are_joined_to_each_of_the_gpus() -> None:
    zones = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in ("a", "b")]
    preferred = [{"weight": 5, "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}}]
    away = {REQUIRED: [{"labelSelector": {}, "topologyKey": "kubernetes.io/hostname"}]}
    stated = {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": zones}, PREFERRED: preferred},
        "podAntiAffinity": away,
    }
    wanted = model({"computeCapabilities": ["10.0", "12.0"]}, affinity=stated)

    affinity = trial(wanted, "node-a")["spec"]["affinity"]

    terms = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    said = [{(one["key"], *one["values"]) for one in term["matchExpressions"]} for term in terms]
    assert [("zone", "a") in one for one in said] == [True, False, True, False]
    assert [("nvidia.com/gpu.compute.major", "10") in one for one in said] == [True, True, False, False]
    assert all(("nvidia.com/gpu.family", "blackwell") in one for one in said)
    assert all(term["matchFields"][0]["values"] == ["node-a"] for term in terms)
    assert affinity["nodeAffinity"][PREFERRED] == preferred
    assert affinity["podAntiAffinity"] == away


def test_terms_for_nodes_stand_alone_where_devices_are_claimed() -> None:
    stated = {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}
    }
    claimed = model({"allocation": "DynamicResourceAllocation"}, affinity=stated)

    assert trial(claimed)["spec"]["affinity"] == stated


def test_servers_are_spread_and_trials_are_not() -> None:
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    wanted = model(topologySpreadConstraints=[constraint])

    (spread,) = server(wanted)["spec"]["topologySpreadConstraints"]
    selector = spread.pop("labelSelector")["matchLabels"]
    assert spread == constraint
    assert selector.items() <= server(wanted)["metadata"]["labels"].items()
    assert "topologySpreadConstraints" not in trial(wanted)["spec"]


@pytest.mark.parametrize(
    ("resources", "requests", "limits"),
    [
        ({}, {"cpu": "500m"}, {}),
        ({"requests": {"memory": "64Gi"}}, {"cpu": "500m", "memory": "64Gi"}, {}),
        ({"requests": {"cpu": "8"}, "limits": {"memory": "96Gi"}}, {"cpu": "8"}, {"memory": "96Gi"}),
        ({"limits": {"cpu": "250m"}}, {"cpu": "250m"}, {"cpu": "250m"}),
    ],
)
def test_the_engine_has_the_cpu_and_memory_that_were_asked_for(
    resources: dict[str, Any], requests: dict[str, str], limits: dict[str, str]
) -> None:
    gpu = {"nvidia.com/gpu": "1"}
    wanted = model(resources=resources)

    measured, served = engine(trial(wanted))["resources"], engine(server(wanted))["resources"]

    assert measured == {"requests": {**requests, **gpu}, "limits": {**limits, **gpu}}
    assert served == measured


def helpers(pod: dict[str, Any]) -> dict[str, Any]:
    """Containers that the operator adds -> their resources."""
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return {one["name"]: one["resources"] for one in containers if one["name"] != "engine"}


def test_what_is_stated_of_a_resource_replaces_all_that_a_helper_has_of_it() -> None:
    def of(**stated: Any) -> list[dict[str, Any]]:
        wanted = model(**({"helperResources": stated} if stated else {}))
        return [one for pod in (trial(wanted), server(wanted), fetch(wanted)) for one in helpers(pod).values()]

    own, stated = of(), {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    assert [sorted(helpers(pod(model()))) for pod in (trial, server, fetch)] == [
        ["bench", "cache"], ["cache", "probe"], ["fetch"],
    ]  # fmt: skip
    assert of(**stated) == [stated] * len(own)
    # A request that is above a helper's own limit would be refused, and so would be a limit below its own request.
    assert [(one["requests"]["cpu"], one["limits"].get("cpu")) for one in of(requests={"cpu": "4"})] == [
        ("4", None)
    ] * len(own)
    memory = {"limits": {"memory": "64Mi"}}
    assert [(one["requests"].get("memory"), one["limits"]["memory"]) for one in of(**memory)] == [(None, "64Mi")] * len(
        own
    )
    assert [one["requests"].get("cpu") for one in of(**memory)] == [one["requests"].get("cpu") for one in own]


def test_the_root_file_system_of_the_engine_alone_may_be_written_to() -> None:
    pod = server(model(readOnlyRootFilesystem=False, sharedMemory="32Gi"))

    assert engine(pod)["securityContext"]["readOnlyRootFilesystem"] is False
    assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in pod["spec"]["initContainers"])
    (memory,) = (one for one in pod["spec"]["volumes"] if one["name"] == "shared-memory")
    assert memory["emptyDir"]["sizeLimit"] == "32Gi"


IDS = {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}


@pytest.mark.parametrize(
    ("stated", "trials", "fetches"),
    [
        ({}, {"runAsUser": 65532, "runAsGroup": 65532}, {"fsGroup": 65532}),
        ({"runAsUser": 1000, "runAsGroup": 0}, {"runAsUser": 1000, "runAsGroup": 0}, {"fsGroup": 0}),
        ({"fsGroup": 7}, {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 7}, {}),
        (
            {"supplementalGroups": [44]},
            {"runAsUser": 65532, "runAsGroup": 65532, "supplementalGroups": [44]},
            {"fsGroup": 65532},
        ),
        ({"identity": "Assigned"}, {}, {}),
    ],
)
def test_ids_are_the_operators_the_users_or_the_clusters(
    stated: dict[str, Any], trials: dict[str, Any], fetches: dict[str, Any]
) -> None:
    wanted = model(securityContext=stated)
    contexts = [pod["spec"]["securityContext"] for pod in (trial(wanted), server(wanted), fetch(wanted))]

    assert all(one["runAsNonRoot"] and one["seccompProfile"] == {"type": "RuntimeDefault"} for one in contexts)
    ids = [{name: value for name, value in one.items() if name in IDS} for one in contexts]
    assert ids == [trials, trials, {**trials, **fetches}]


def test_only_resources_are_measured_anew() -> None:
    plain, other = model(), model(**TEMPLATE, sharedMemory="1Gi", readOnlyRootFilesystem=False)
    richer = model(resources={"requests": {"cpu": "8"}})

    def measured(of: MTPModel) -> str:
        return settings(of).request_hash()

    assert measured(other) == measured(plain) != measured(richer)


def test_a_server_is_another_one_with_another_template_and_the_same_without() -> None:
    measured = settings(model())
    plain = Served.of(measured, 3, PodTemplate())

    assert plain.settings_hash == canonical_hash(plain.settings).removeprefix("sha256:")[:10]
    assert Served.of(measured, 3, model(**TEMPLATE).spec.template.pod).settings_hash != plain.settings_hash
    written_before = {key: value for key, value in plain.to_wire().items() if key != "template"}
    assert Served.model_validate(written_before) == plain


def test_a_fetch_is_made_anew_with_another_template() -> None:
    assert fetch_job_name(model(runtimeClassName="nvidia")) != fetch_job_name(model())
    assert fetch_job_name(model(resources={"requests": {"cpu": "8"}})) == fetch_job_name(model())


def test_a_template_survives_its_run_and_the_record_of_its_server() -> None:
    affinity = {"podAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": "zone"}]}}
    template = model(**TEMPLATE, affinity=affinity).spec.template.pod

    assert PodTemplate.model_validate(template.to_wire()) == template
    assert PodTemplate.model_validate(template.model_dump()) == template
