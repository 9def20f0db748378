"""The Job of a trial, from the settings of its run."""

import copy
import json
import re
from typing import Any

import pytest

from mtp_operator.api.run import MTPTuningRun, TrialState, TrialStatus
from mtp_operator.api.spec import Maximize, PromptCategory
from mtp_operator.api.trial_documents import PlannedPrompts, TrialPlan
from mtp_operator.engines import BESIDE_THE_BENCH, POD
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.weights_volumes import IMAGE_PULL_SECONDS
from tests.unit.engines.settings import run_settings

TRIAL = TrialStatus(
    number=4, candidate="mtp-3", n_spec=3, repeat=1, job_name="qwen-0123456789-t4-a0", state=TrialState.PLANNED
)


def tuning_run(**changes: Any) -> MTPTuningRun:
    settings = run_settings(**changes)
    return MTPTuningRun.from_wire(
        {
            "metadata": {
                "name": "qwen-0123456789",
                "namespace": "llm",
                "uid": "run-uid",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                **settings.to_wire(),
                "modelName": "qwen",
                "retuneRequest": 0,
                "requestHash": settings.request_hash(),
            },
        }
    )


def build(pinned_node: str | None = None, **changes: Any) -> dict[str, Any]:
    return trial_job(tuning_run(**changes), TRIAL, pinned_node, ready_seconds=600, level_seconds=60)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def plan_of(job: dict[str, Any]) -> TrialPlan:
    (bench,) = pod_of(job)["containers"]
    assert bench["args"][:2] == ["trial", "--plan"]
    return TrialPlan.model_validate_json(bench["args"][2])


def terms_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    affinity = pod_of(job)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms: list[dict[str, Any]] = affinity["nodeSelectorTerms"]
    return terms


def test_the_job_is_the_runs_and_runs_once() -> None:
    job = build()

    labels = {
        "app.kubernetes.io/managed-by": "mtp-operator",
        "mtp-operator.dev/model": "qwen",
        "mtp-operator.dev/run": "qwen-0123456789",
        "mtp-operator.dev/candidate": "mtp-3",
        "mtp-operator.dev/n-spec": "3",
    }
    assert job["metadata"]["name"] == TRIAL.job_name
    assert job["metadata"]["labels"] == labels
    assert job["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "mtp-operator.dev/v1alpha1",
            "kind": "MTPTuningRun",
            "name": "qwen-0123456789",
            "uid": "run-uid",
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert {name: value for name, value in job["spec"].items() if name != "template"} == {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
    }
    assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_the_engine_is_a_native_sidecar_that_holds_the_gpus() -> None:
    pod = pod_of(build(accelerator={"count": 2, "resourceName": "nvidia.com/mig-2g.48gb"}))
    (engine,) = pod["initContainers"]

    assert engine["restartPolicy"] == "Always"
    assert "startupProbe" not in engine
    assert engine["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert engine["resources"] == {
        "limits": {"nvidia.com/mig-2g.48gb": "2"},
        "requests": {"nvidia.com/mig-2g.48gb": "2", "cpu": "500m"},
    }


@pytest.mark.parametrize("engine", ["VLLM", "LlamaCpp"])
def test_an_engine_on_trial_is_asked_by_its_bench_alone(engine: str) -> None:
    (container,) = pod_of(build(engine={"type": engine, "image": "engine:1"}))["initContainers"]

    assert BESIDE_THE_BENCH.host in " ".join(container["args"])
    assert POD.host not in " ".join(container["args"])


def test_the_bench_is_told_everything_in_its_arguments() -> None:
    levels = [{"concurrency": 1}, {"concurrency": 8}]
    job = build(workload={"outputTokens": 128, "levels": levels})
    (bench,) = pod_of(job)["containers"]

    plan = plan_of(job)
    assert plan.url == "http://127.0.0.1:8000"
    assert (plan.n_spec, plan.output_tokens, plan.served_name) == (3, 128, "qwen")
    assert [level.concurrency for level in plan.levels] == [1, 8]
    assert plan.model_path == "/models/weights/qwen"
    assert plan.drafts_every_step
    assert not plan_of(build(speculation={"method": "NGram"})).drafts_every_step
    seen = {mount["mountPath"] for mount in bench["volumeMounts"]}
    assert "/models/weights" in seen
    assert plan.engine_log is not None
    assert plan.engine_log.rpartition("/")[0] in seen
    assert pod_of(job)["activeDeadlineSeconds"] > plan.longest_seconds == 600 + 2 * 2 * 8 * 60 + 900


def test_built_in_prompts_need_no_volume() -> None:
    job = build(workload={"levels": [{"concurrency": 1}], "prompts": {"builtIn": ["JSON", "Code"]}})

    assert plan_of(job).prompts.built_in == (PromptCategory.JSON, PromptCategory.CODE)
    assert plan_of(build()).prompts.built_in == tuple(PromptCategory)
    assert "prompts" not in [volume["name"] for volume in pod_of(job)["volumes"]]


@pytest.mark.parametrize(
    ("source", "volume", "file", "field"),
    [
        (
            {"configMap": {"name": "own", "key": "support.jsonl"}},
            {"configMap": {"name": "own", "items": [{"key": "support.jsonl", "path": "prompts.jsonl"}]}},
            "/prompts/prompts.jsonl",
            "spec.tuning.workload.prompts.configMap: own/support.jsonl",
        ),
        (
            {"pvc": {"claim": "weights", "path": "a/b.jsonl"}},
            {"persistentVolumeClaim": {"claimName": "weights"}},
            "/prompts/a/b.jsonl",
            "spec.tuning.workload.prompts.pvc: weights/a/b.jsonl",
        ),
    ],
    ids=["ConfigMap", "claim"],
)
def test_own_prompts_are_mounted_into_the_bench_alone(
    source: dict[str, Any], volume: dict[str, Any], file: str, field: str
) -> None:
    job = build(workload={"levels": [{"concurrency": 1}], "prompts": source})
    pod = pod_of(job)
    (bench,), (engine,) = pod["containers"], pod["initContainers"]

    assert {"name": "prompts", **volume} in pod["volumes"]
    assert {"name": "prompts", "mountPath": "/prompts", "readOnly": True} in bench["volumeMounts"]
    assert "prompts" not in [mount["name"] for mount in engine["volumeMounts"]]
    assert plan_of(job).prompts == PlannedPrompts(file=file, field=field)


def test_the_bench_is_told_what_to_sample_and_to_count() -> None:
    constraint = {"metric": "P99RequestLatency", "concurrency": 1, "maxMilliseconds": 9000}
    sampling = {"mode": "Custom", "temperatureMilli": 700, "topK": 20}
    plan = plan_of(
        build(
            workload={"levels": [{"concurrency": 1}], "sampling": sampling},
            objective={"maximize": "Interactivity", "constraints": [constraint]},
        )
    )

    assert plan.sampling.to_wire() == sampling
    assert plan.maximize is Maximize.INTERACTIVITY
    assert [limit.to_wire() for limit in plan.limits] == [constraint]


def test_every_container_is_restricted_and_every_pod_has_no_token() -> None:
    pod = pod_of(build())

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"persistentVolumeClaim", "emptyDir", "downwardAPI"}


def test_pods_stay_out_of_meshes() -> None:
    metadata = build()["spec"]["template"]["metadata"]

    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"


def test_autoscalers_leave_a_trials_node_alone() -> None:
    annotations = build()["spec"]["template"]["metadata"]["annotations"]

    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"


def test_configuration_files_come_from_the_pods_own_annotations() -> None:
    job = build()
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    (volume,) = (one["downwardAPI"] for one in pod_of(job)["volumes"] if "downwardAPI" in one)

    (item,) = volume["items"]
    path = item["fieldRef"]["fieldPath"]
    assert json.loads(annotations[path.removeprefix("metadata.annotations['").removesuffix("']")])["version"] == 1
    environment = {one["name"]: one["value"] for one in pod_of(job)["initContainers"][0]["env"]}
    assert environment["VLLM_LOGGING_CONFIG_PATH"] == f"/etc/engine/{item['path']}"


def test_an_engine_without_configuration_files_has_no_volume_for_them() -> None:
    job = build(engine={"type": "LlamaCpp", "image": "engine:1"}, model={"uri": "pvc://weights/model.gguf"})

    assert not [volume for volume in pod_of(job)["volumes"] if "downwardAPI" in volume]
    assert "/etc/engine" not in {mount["mountPath"] for mount in pod_of(job)["initContainers"][0]["volumeMounts"]}


@pytest.mark.parametrize(
    ("drafter", "claims"),
    [("pvc://weights/small", ["weights"]), ("pvc://other.claim/small", ["weights", "other.claim"])],
)
def test_each_claim_is_mounted_once_and_read_only(drafter: str, claims: list[str]) -> None:
    pod = pod_of(build(speculation={"method": "DraftModel", "drafter": {"uri": drafter}}))

    volumes = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert list(volumes.values()) == claims
    (engine,) = pod["initContainers"]
    mounts = {volumes[one["name"]]: one for one in engine["volumeMounts"] if one["name"] in volumes}
    assert {claim: (one["mountPath"], one["readOnly"]) for claim, one in mounts.items()} == {
        claim: (f"/models/{claim}", True) for claim in claims
    }
    assert drafter.replace("pvc://", "/models/") in " ".join(engine["args"])


def test_a_claims_root_can_be_the_model() -> None:
    (engine,) = pod_of(build(model={"uri": "pvc://weights", "servedName": "qwen"}))["initContainers"]

    assert engine["args"][0] == "/models/weights"


DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("uri", "image", "path"),
    [
        ("oci://ghcr.io/team/qwen", "ghcr.io/team/qwen", ""),
        ("oci://ghcr.io/team/qwen:1.0", "ghcr.io/team/qwen:1.0", ""),
        ("oci://ghcr.io/team/qwen:1.0/models/fp8", "ghcr.io/team/qwen:1.0", "/models/fp8"),
        (f"oci://ghcr.io/qwen@{DIGEST}/fp8", f"ghcr.io/qwen@{DIGEST}", "/fp8"),
        (f"oci://registry:5000/a/b/qwen:1.0@{DIGEST}/fp8", f"registry:5000/a/b/qwen:1.0@{DIGEST}", "/fp8"),
        ("oci://localhost:5000/qwen", "localhost:5000/qwen", ""),
    ],
)
def test_weights_in_an_image_are_a_volume_of_it(uri: str, image: str, path: str) -> None:
    job = build(model={"uri": uri, "servedName": "qwen"})
    pod = pod_of(job)
    (engine,), (bench,) = pod["initContainers"], pod["containers"]

    assert pod["volumes"][0] == {"name": "model-image", "image": {"reference": image}}
    mount = {"name": "model-image", "mountPath": "/images/model-image", "readOnly": True}
    assert mount in engine["volumeMounts"]
    assert mount in bench["volumeMounts"]
    assert engine["args"][0] == plan_of(job).model_path == f"/images/model-image{path}"
    assert "VLLM_CACHE_ROOT" not in {one["name"] for one in engine["env"]}


def test_a_drafters_image_is_a_volume_of_its_own() -> None:
    drafter = {"method": "DraftModel", "drafter": {"uri": "oci://ghcr.io/team/qwen:1.0/small"}}
    pod = pod_of(build(model={"uri": "oci://ghcr.io/team/qwen:1.0/big"}, speculation=drafter))
    arguments = " ".join(pod["initContainers"][0]["args"])

    assert [one["name"] for one in pod["volumes"] if "image" in one] == ["model-image", "drafter-image"]
    assert "/images/model-image/big" in arguments
    assert "/images/drafter-image/small" in arguments


def test_a_pod_may_wait_for_its_nodes_pull_of_weights() -> None:
    def deadline(uri: str) -> int:
        seconds: int = pod_of(build(model={"uri": uri}))["activeDeadlineSeconds"]
        return seconds

    assert deadline("oci://ghcr.io/team/qwen:1.0") == deadline("pvc://weights/qwen") + IMAGE_PULL_SECONDS


def test_nodes_are_chosen_by_the_labels_of_gpu_feature_discovery() -> None:
    job = build(accelerator={"products": ["GPU-A", "GPU-B"], "computeCapabilities": ["10.0", "12.0"]})

    common = [
        {"key": "nvidia.com/gpu.sharing-strategy", "operator": "NotIn", "values": ["time-slicing", "mps"]},
        {"key": "nvidia.com/gpu.family", "operator": "In", "values": ["blackwell"]},
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["GPU-A", "GPU-B"]},
    ]
    assert terms_of(job) == [
        {
            "matchExpressions": [
                *common,
                {"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": [major]},
                {"key": "nvidia.com/gpu.compute.minor", "operator": "In", "values": ["0"]},
            ]
        }
        for major in ("10", "12")
    ]


def test_every_alternative_is_pinned_to_the_first_trials_node() -> None:
    accelerator = {"architecture": "Any", "computeCapabilities": ["10.0", "12.0"]}
    terms = terms_of(build("node-1", accelerator=accelerator))

    assert len(terms) == 2
    for term in terms:
        assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
        assert "nvidia.com/gpu.family" not in str(term)


def expanded(text: str, variables: dict[str, str]) -> str:
    """What kubelet makes of an argument: `$$` is a dollar, `$(NAME)` a variable that there is, all else as it is."""

    def meaning(found: re.Match[str]) -> str:
        return "$" if found.group() == "$$" else variables.get(found.group(1), found.group())

    return re.sub(r"\$\$|\$\(([^)]*)\)", meaning, text)


@pytest.mark.parametrize("value", ["$(HOME)", "$$(HOME)", "a$$b", "$", "$$$", "costs $5", "$(NOTHING)"])
def test_arguments_and_variables_reach_the_engine_as_they_were_written(value: str) -> None:
    engine = {
        "type": "VLLM",
        "image": "engine:1",
        "extraArgs": [f"--compilation-config={value}"],
        "env": [{"name": "OMP_NUM_THREADS", "value": value}],
    }
    (container,) = pod_of(build(engine=engine))["initContainers"]

    assert expanded(container["args"][-1], {"HOME": "/tmp"}) == f"--compilation-config={value}"
    assert expanded(container["env"][-1]["value"], {"HOME": "/tmp"}) == value


def test_two_jobs_share_nothing() -> None:
    run = tuning_run()
    first, second = (trial_job(run, TRIAL, None, ready_seconds=600, level_seconds=60) for _ in range(2))
    untouched = copy.deepcopy(second)

    first["metadata"]["labels"]["x"] = "y"
    pod_of(first)["securityContext"]["runAsUser"] = 0
    pod_of(first)["initContainers"][0]["resources"]["limits"].clear()
    pod_of(first)["tolerations"][0]["key"] = "x"

    assert second == untouched
    assert trial_job(run, TRIAL, None, ready_seconds=600, level_seconds=60) == untouched


def test_variables_of_the_spec_reach_the_engine_literally() -> None:
    variables = [{"name": "NCCL_P2P_DISABLE", "value": "1"}, {"name": "OMP_NUM_THREADS", "value": "2"}]
    (container,) = pod_of(build(engine={"type": "VLLM", "image": "engine:1", "env": variables}))["initContainers"]

    assert container["env"][-2:] == [
        {"name": "NCCL_P2P_DISABLE", "value": "1"},
        {"name": "OMP_NUM_THREADS", "value": "2"},
    ]


def test_devices_are_claimed_instead_of_extended_resources() -> None:
    pod = pod_of(build("node-1", accelerator={"allocation": "DynamicResourceAllocation", "count": 2}))
    (engine,) = pod["initContainers"]

    assert engine["resources"] == {"limits": {}, "requests": {"cpu": "500m"}, "claims": [{"name": "gpu"}]}
    ((claim),) = pod["resourceClaims"]
    assert claim["name"] == "gpu"
    assert claim["resourceClaimTemplateName"].startswith("qwen-gpu-")
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]


def test_a_claim_may_be_met_on_any_node() -> None:
    assert pod_of(build(accelerator={"allocation": "DynamicResourceAllocation"}))["affinity"] == {}
