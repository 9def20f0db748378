"""The API as the API server holds it: what it takes, what it fills in, and what it says to a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mtp_operator.api.engines import FLAGS
from mtp_operator.api.model import MTPModelSpec
from tests.cluster.api_server import InvalidError, connect, dry_create
from tests.cluster.node import kubectl
from tests.documents import hub_model, limit, model, run
from tests.mistakes import ARGUMENTS, MISTAKES

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
DEPLOYMENTS = Path(__file__).parents[1] / "unit" / "api" / "real_deployments"
CRDS = ("mtpmodels.mtp-operator.dev", "mtptuningruns.mtp-operator.dev")

#: The API server adds this remark where an error of the schema kept it from evaluating the CEL rules.
UNCHECKED = "some validation rules were not checked because the object was invalid"

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture(scope="module")
def api_server(kubeconfig: Path) -> Iterator[httpx.Client]:
    assert kubeconfig.exists()
    with connect() as client:
        yield client


def taken(api_server: httpx.Client, document: dict[str, Any]) -> dict[str, Any]:
    """The model as the API server would store it."""
    return dry_create(api_server, "mtpmodels", document)


def complaints(api_server: httpx.Client, document: dict[str, Any]) -> list[str]:
    """What the API server says against the model, one item for each error."""
    with pytest.raises(InvalidError) as refusal:
        taken(api_server, document)
    return [one for one in refusal.value.complaints if UNCHECKED not in one]


@pytest.mark.parametrize("crd", CRDS)
def test_definition_is_in_use(crd: str) -> None:
    definition = yaml.safe_load(kubectl("get", "crd", crd, "--output=yaml"))
    conditions = {one["type"]: one["status"] for one in definition["status"]["conditions"]}

    assert conditions.get("Established") == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_message(mistake: str, api_server: httpx.Client) -> None:
    document, field, allowed = MISTAKES[mistake]

    (complaint,) = complaints(api_server, document)

    assert complaint.startswith(f"{field}: ")
    assert allowed in complaint


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_the_api_server_and_the_operator_say_the_same_of_an_argument(argument: str, api_server: httpx.Client) -> None:
    document = model(("spec.engine.extraArgs", [argument]))
    said = [one.partition(": ") for one in FLAGS.complaints([argument])]

    if not said:
        taken(api_server, document)
        return
    ((field, _, message),) = said
    (complaint,) = complaints(api_server, document)
    assert complaint.startswith(f"{field}: ")
    assert complaint.endswith(message)


def test_unknown_field_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r'strict decoding error: unknown field "spec\.tuning\.maxNspec"'):
        kubectl("create", "--dry-run=server", "--filename=-", document=model(("spec.tuning.maxNspec", 4)))


@pytest.mark.parametrize("deployment", sorted(DEPLOYMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_real_deployment_is_taken(deployment: Path, api_server: httpx.Client) -> None:
    document = yaml.safe_load(deployment.read_text(encoding="utf-8"))
    document["metadata"]["namespace"] = "default"

    taken(api_server, document)


@pytest.mark.parametrize("sample", sorted(SAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_sample_is_taken(sample: Path) -> None:
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(sample.read_text())]

    created = kubectl("create", "--dry-run=server", "--output=name", f"--filename={sample}")

    assert [line.partition("/")[2] for line in created.splitlines()] == names


TAKEN = {
    "longest name": model(("metadata.name", "m" * 40)),
    "root of a claim": model(("spec.model.uri", "pvc://weights")),
    "claim with dots": model(("spec.model.uri", "pvc://team.weights-1/a/b_c.d")),
    "drafter with shared cache": model(("spec.speculation.drafter.uri", "pvc://weights/assistant")),
    "draft model": model(("spec.speculation", {"method": "DraftModel", "drafter": {"uri": "pvc://weights/small"}})),
    "head": model(("spec.speculation", {"method": "Eagle3", "drafter": {"uri": "pvc://weights/head"}})),
    "text of the request": model(("spec.speculation.method", "NGram")),
    "oldest vLLM": model(("spec.engine.image", "docker.io/vllm/vllm-openai:v0.31.0")),
    "vLLM of tomorrow": model(("spec.engine.image", "docker.io/vllm/vllm-openai:v0.300.0")),
    "nightly": model(("spec.engine.image", "docker.io/vllm/vllm-openai:nightly")),
    "oldest llama.cpp": model(
        ("spec.engine.image", "ghcr.io/ggml-org/llama.cpp:server-cuda13-b11669"), engine="LlamaCpp"
    ),
    "variable": model(("spec.engine.env", [{"name": "NCCL_P2P_DISABLE", "value": "1"}])),
    "claimed GPU": model(("spec.accelerator.allocation", "DynamicResourceAllocation")),
    "code of the model": model(("spec.engine.vllm.trustRemoteCode", "Enabled")),
    "repository": hub_model("hf://RedHatAI/gemma-4-31B-it-FP8-block", ("spec.model.revision", "0" * 40)),
    "gated repository": hub_model(
        "hf://google/gemma", ("spec.model.tokenSecretRef", {"name": "hf-token", "key": "read"})
    ),
    "GGUF of a repository": hub_model("hf://unsloth/Qwen3.6-27B-MTP-GGUF/*Q8_0*.gguf", engine="LlamaCpp"),
    "fetched drafter": model(
        ("spec.speculation", {"method": "DraftModel", "drafter": {"uri": "hf://google/small"}}),
        ("spec.storage", {"newClaim": {"size": "20Gi", "storageClassName": "fast"}}),
    ),
    "image": model(("spec.model.uri", "oci://ghcr.io/team/qwen")),
    "image of a local registry": model(("spec.model.uri", f"oci://registry:5000/qwen:1.0@sha256:{'a' * 64}")),
    "folder of an image": model(("spec.model.uri", "oci://localhost/team/qwen__fp8:1.0_a-b/models/fp8")),
    "GGUF of an image": model(("spec.model.uri", "oci://ghcr.io:443/team/qwen:1.0/q8/model.gguf"), engine="LlamaCpp"),
    "drafter of an image by digest": model(
        ("spec.speculation.drafter.uri", f"oci://ghcr.io/team/small@sha256:{'a' * 64}/model.gguf"), engine="LlamaCpp"
    ),
    "pinned": model(("spec.speculation.nSpec", 3)),
    "speculation off": model(("spec.speculation.nSpec", 0)),
    "image by digest": model(("spec.engine.image", f"registry.example:5000/vllm@sha256:{'a' * 64}")),
    "flag with JSON": model(("spec.engine.extraArgs", ['--limit-mm-per-prompt={"image":0,"audio":0}'])),
    "flag that begins as a refused one": model(("spec.engine.extraArgs", ["--reasoning-parser=qwen3"])),
    "MIG": model(("spec.accelerator.resourceName", "nvidia.com/mig-2g.48gb")),
    "four GPUs": model(("spec.engine.vllm.tensorParallelSize", 4), ("spec.accelerator.count", 4)),
    "whole context": model(("spec.engine.vllm.maxModelLen", 4608), ("spec.tuning.workload.outputTokens", 4096)),
    "built-in prompts of two kinds": model(("spec.tuning.workload.prompts.builtIn", ["JSON", "Chat"])),
    "own prompts in a ConfigMap": model(
        ("spec.tuning.workload.prompts.configMap", {"name": "team.own-1", "key": "support_desk.v2.jsonl"})
    ),
    "own prompts on a claim": model(
        ("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "2026/support-desk.jsonl"})
    ),
    "the model's own sampling": model(("spec.tuning.workload.sampling.mode", "ModelDefaults")),
    "custom sampling": model(
        (
            "spec.tuning.workload.sampling",
            {"mode": "Custom", "temperatureMilli": 0, "topPMilli": 1000, "topK": 1},
        )
    ),
    "two limits at one level": model(
        ("spec.tuning.objective.constraints", [limit(), limit(metric="P50RequestLatency")])
    ),
    "the same limit at two levels": model(
        ("spec.tuning.workload.levels", [{"concurrency": 1}, {"concurrency": 8}]),
        ("spec.tuning.objective.constraints", [limit(), limit(concurrency=8)]),
    ),
    "all sequences": model(
        ("spec.engine.vllm.maxNumSeqs", 32), ("spec.tuning.workload.levels", [{"concurrency": 1}, {"concurrency": 32}])
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str, api_server: httpx.Client) -> None:
    document = TAKEN[name]

    stored = taken(api_server, document)

    assert stored["spec"]["model"] == document["spec"]["model"]


def test_defaults_of_what_is_left_out(api_server: httpx.Client) -> None:
    stored = taken(api_server, model())

    assert stored["status"] == {"observedGeneration": -1}
    assert stored["spec"] == {
        "model": {"uri": "pvc://weights/model"},
        "engine": {"type": "VLLM"},
        "accelerator": {
            "architecture": "Blackwell",
            "count": 1,
            "allocation": "DevicePlugin",
            "resourceName": "nvidia.com/gpu",
        },
        "speculation": {"method": "MTP"},
        "tuning": {
            "mode": "Auto",
            "suspend": False,
            "retuneRequest": 0,
            "maxNSpec": 8,
            "workload": {"sampling": {"mode": "ModelDefaults"}, "outputTokens": 512},
            "objective": {"maximize": "OutputThroughput", "slowerLevels": "Forbid"},
            "budget": {"maxTrials": 24},
            "disruption": "Never",
            "historyLimit": 3,
        },
        "serving": {"replicas": 1, "port": 8000, "whileTuning": "Wait", "rollout": {"strategy": "Surge"}},
        "template": {
            "readOnlyRootFilesystem": True,
            "resources": {},
            "securityContext": {"identity": "Fixed"},
            "sharedMemory": "16Gi",
        },
    }


def test_defaults_beside_what_is_set(api_server: httpx.Client) -> None:
    document = model(("spec.engine.vllm.maxNumSeqs", 4), ("spec.tuning.workload.levels", [{"concurrency": 4}]))

    stored = taken(api_server, document)

    assert stored["spec"]["engine"]["vllm"] == {
        "maxNumSeqs": 4,
        "tensorParallelSize": 1,
        "dataParallelSize": 1,
        "trustRemoteCode": "Disabled",
    }
    assert stored["spec"]["tuning"]["workload"] == {
        "sampling": {"mode": "ModelDefaults"},
        "outputTokens": 512,
        "levels": [{"concurrency": 4, "weight": 1}],
    }


def test_prompts_of_ones_own_replace_the_built_in_ones_by_kubectl_apply(applied: dict[str, Any]) -> None:
    applied["spec"]["tuning"] = {"workload": {"prompts": {"configMap": {"name": "own", "key": "a.jsonl"}}}}

    kubectl("apply", "--filename=-", document=applied)

    stored = yaml.safe_load(kubectl("get", "mtpmodel", applied["metadata"]["name"], "--output=yaml"))
    assert list(stored["spec"]["tuning"]["workload"]["prompts"]) == ["configMap"]


def test_models_have_the_defaults_of_the_server(api_server: httpx.Client) -> None:
    document = model(("spec.engine.vllm", {}))

    stored = taken(api_server, document)

    assert MTPModelSpec.model_validate(stored["spec"]) == MTPModelSpec.model_validate(document["spec"])


@pytest.fixture
def applied() -> Iterator[dict[str, Any]]:
    """A model that nothing is measured for."""
    document = model(("metadata.name", "applied"), ("spec.speculation.nSpec", 0))
    kubectl("apply", "--filename=-", document=document)
    yield document
    kubectl("delete", "mtpmodel", "applied")


@pytest.fixture
def tuning_run() -> Iterator[dict[str, Any]]:
    """A run that the operator did not make, and does not touch."""
    document = run("immutable-0123456789")
    kubectl("create", "--filename=-", document=document)
    yield document
    kubectl("delete", "mtptuningrun", document["metadata"]["name"])


def test_spec_of_a_run_is_immutable(tuning_run: dict[str, Any]) -> None:
    name = tuning_run["metadata"]["name"]

    with pytest.raises(
        RuntimeError, match=r"spec: Invalid value: .*is immutable: a run finishes with what it began with"
    ):
        kubectl("patch", "mtptuningrun", name, "--type=merge", '--patch={"spec":{"maxNSpec":3}}')

    kubectl("annotate", "mtptuningrun", name, "example.com/note=taken")


@pytest.mark.usefixtures("tuning_run")
def test_columns() -> None:
    def header(*arguments: str) -> list[str]:
        return kubectl("get", *arguments).splitlines()[0].split()

    assert header("mtpr") == ["NAME", "MODEL", "VERDICT", "N_SPEC", "SPEEDUP", "TRIALS", "AGE"]
    assert header("mtpr", "--output=wide")[-1] == "REASON"
    models = yaml.safe_load(kubectl("get", "crd", CRDS[0], "--output=yaml"))["spec"]["versions"][0]
    columns = models["additionalPrinterColumns"]
    assert [one["name"] for one in columns if "priority" not in one] == [
        "STATUS", "N_SPEC", "SPEEDUP", "ACC_LEN", "TOK/S", "READY", "AGE",
    ]  # fmt: skip
    assert [one["name"] for one in columns if "priority" in one] == ["GPU", "ENGINE", "URL"]


def test_short_names_and_category() -> None:
    resources = kubectl("api-resources", "--api-group=mtp-operator.dev", "--categories=mtp", "--output=wide")

    assert re.search(r"^mtpmodels +mtpm ", resources, re.MULTILINE)
    assert re.search(r"^mtptuningruns +mtpr ", resources, re.MULTILINE)


def test_explain_speaks_of_every_field() -> None:
    tuning = " ".join(kubectl("explain", "mtpm.spec.tuning").split())

    assert "The largest n_spec that is tried; 0 always is. Allowed: 1 to 16. Default: 8." in tuning
    assert "enum: Auto, Advisory, Disabled" in tuning
    for kind in ("mtpm", "mtpr"):
        for field in (kind, f"{kind}.spec", f"{kind}.status"):
            assert "<no description>" not in kubectl("explain", field)
