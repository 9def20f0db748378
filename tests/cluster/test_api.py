"""The API as the API server holds it: what it takes, what it fills in, and what it says to a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mtp_operator.api.model import MTPModelSpec
from tests.cluster.api_server import InvalidError, connect, dry_create
from tests.cluster.node import kubectl

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
CRDS = ("mtpmodels.mtp-operator.dev", "mtptuningruns.mtp-operator.dev")

#: The API server adds this remark where an error of the schema kept it from evaluating the CEL rules.
UNCHECKED = "some validation rules were not checked because the object was invalid"

pytestmark = pytest.mark.usefixtures("operator")


def model(*changes: tuple[str, Any], engine: str = "VLLM") -> dict[str, Any]:
    """A small MTPModel that is in order, with changes: dotted path -> value, None to remove it."""
    uri = {"VLLM": "pvc://weights/model", "LlamaCpp": "pvc://weights/model.gguf"}[engine]
    document: dict[str, Any] = {
        "apiVersion": "mtp-operator.dev/v1alpha1",
        "kind": "MTPModel",
        "metadata": {"name": "model", "namespace": "default"},
        "spec": {"model": {"uri": uri}, "engine": {"type": engine}},
    }
    for path, value in changes:
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    return document


TTFT = "TimeToFirstToken"


def limit(**changes: Any) -> dict[str, Any]:
    """A limit on a latency that is in order, with changes."""
    return {"metric": f"P95{TTFT}", "concurrency": 1, "maxMilliseconds": 800, **changes}


def hub_model(uri: str, *changes: tuple[str, Any], engine: str = "VLLM") -> dict[str, Any]:
    """The same with weights that are fetched."""
    return model(("spec.model.uri", uri), ("spec.storage", {"existingClaim": "weights"}), *changes, engine=engine)


def run(name: str = "model-0123456789") -> dict[str, Any]:
    """An MTPTuningRun as the operator makes it."""
    return {
        "apiVersion": "mtp-operator.dev/v1alpha1",
        "kind": "MTPTuningRun",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"uri": "pvc://weights/model", "servedName": "model"},
            "engine": {"type": "VLLM", "image": "vllm:1"},
            "benchImage": "operator:1",
            "accelerator": {},
            "speculation": {},
            "maxNSpec": 2,
            "workload": {"levels": [{"concurrency": 1}]},
            "budget": {},
            "modelName": "model",
            "request": 0,
            "requestHash": f"sha256:{'0' * 64}",
        },
    }


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


URI_CHOICE = "pvc://<claim>/<path>"
SCHEMES = "must start with hf://, pvc:// or oci://"
IMAGE_URI_CHOICE = "must be oci://<registry>/<repository> in lower case, followed by :<tag>"
HUB_URI_CHOICE = "must be hf://<organisation>/<repository>, for a GGUF followed by /<file>"
CLAIM = {"existingClaim": "weights"}
NAME_CHOICE = "at most 40 characters, start with a letter and contain no '.'"

MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "name too long": (model(("metadata.name", "m" * 41)), "metadata.name", NAME_CHOICE),
    "name with a dot": (model(("metadata.name", "qwen3.6")), "metadata.name", NAME_CHOICE),
    "name begins with a digit": (model(("metadata.name", "4-gemma")), "metadata.name", NAME_CHOICE),
    "name in upper case": (model(("metadata.name", "Gemma")), "metadata.name", "lower case alphanumeric characters"),
    "no URI": (model(("spec.model", {})), "spec.model.uri", "Required value"),
    "empty URI": (model(("spec.model.uri", "")), "spec.model.uri", URI_CHOICE),
    "unknown scheme": (
        model(("spec.model.uri", "s3://bucket/model")),
        "spec.model.uri",
        SCHEMES,
    ),
    "path without a scheme": (model(("spec.model.uri", "/models/qwen")), "spec.model.uri", SCHEMES),
    "image without a registry": (model(("spec.model.uri", "oci://team/qwen:1.0")), "spec.model.uri", IMAGE_URI_CHOICE),
    "image in upper case": (model(("spec.model.uri", "oci://ghcr.io/Team/qwen")), "spec.model.uri", IMAGE_URI_CHOICE),
    "image with half a digest": (
        model(("spec.model.uri", "oci://ghcr.io/team/qwen@sha256:abc")),
        "spec.model.uri",
        IMAGE_URI_CHOICE,
    ),
    "path that leaves the image": (
        model(("spec.speculation.drafter.uri", "oci://ghcr.io/team/qwen:1.0/../x")),
        "spec.speculation.drafter.uri",
        IMAGE_URI_CHOICE,
    ),
    "image without a file for llama.cpp": (
        model(("spec.model.uri", "oci://ghcr.io/team/qwen:1.0"), engine="LlamaCpp"),
        "spec.model.uri",
        "after the image's tag or digest",
    ),
    "file after an image without a tag": (
        model(("spec.model.uri", "oci://registry:5000/qwen/model.gguf"), engine="LlamaCpp"),
        "spec.model.uri",
        "after the image's tag or digest",
    ),
    "revision of an image": (
        model(("spec.model", {"uri": "oci://ghcr.io/team/qwen:1.0", "revision": "a" * 40})),
        "spec.model.revision",
        "may be set only where uri begins with hf://",
    ),
    "storage for an image": (
        model(("spec.model.uri", "oci://ghcr.io/team/qwen:1.0"), ("spec.storage", CLAIM)),
        "spec.storage",
        "nothing else is fetched",
    ),
    "token for an image": (
        model(("spec.model", {"uri": "oci://ghcr.io/team/qwen:1.0", "tokenSecretRef": {"name": "hub"}})),
        "spec.model.tokenSecretRef",
        "nothing else is fetched",
    ),
    "path that leaves the claim": (model(("spec.model.uri", "pvc://weights/../x")), "spec.model.uri", URI_CHOICE),
    "claim missing in URI": (model(("spec.model.uri", "pvc://")), "spec.model.uri", URI_CHOICE),
    "empty URI for llama.cpp": (model(("spec.model.uri", ""), engine="LlamaCpp"), "spec.model.uri", URI_CHOICE),
    "more servers than there may be": (model(("spec.serving.replicas", 65)), "spec.serving.replicas", "64"),
    "baseline without a GPU for it": (
        model(("spec.serving", {"whileTuning": "Baseline", "rollout": {"strategy": "InPlace"}})),
        "spec.serving.whileTuning",
        "must be Wait where rollout.strategy is InPlace",
    ),
    "folder for llama.cpp": (
        model(("spec.model.uri", "pvc://weights/model"), engine="LlamaCpp"),
        "spec.model.uri",
        "must name a .gguf file where engine.type is LlamaCpp",
    ),
    "folder as drafter for llama.cpp": (
        model(("spec.speculation.drafter.uri", "pvc://weights/drafter"), engine="LlamaCpp"),
        "spec.speculation.drafter.uri",
        "must name a .gguf file where engine.type is LlamaCpp",
    ),
    "repository without an organisation": (hub_model("hf://gemma"), "spec.model.uri", HUB_URI_CHOICE),
    "repository by its web address": (
        hub_model("hf://https://huggingface.co/google/gemma"),
        "spec.model.uri",
        HUB_URI_CHOICE,
    ),
    "file that leaves its repository": (
        hub_model("hf://google/gemma/../../x.gguf", engine="LlamaCpp"),
        "spec.model.uri",
        HUB_URI_CHOICE,
    ),
    "repository for llama.cpp": (
        hub_model("hf://unsloth/qwen", engine="LlamaCpp"),
        "spec.model.uri",
        "must name a .gguf file where engine.type is LlamaCpp",
    ),
    "file of a repository for vLLM": (
        hub_model("hf://unsloth/qwen/q8.gguf"),
        "spec.model.uri",
        "where engine.type is VLLM, which loads a whole repository",
    ),
    "branch as revision": (
        hub_model("hf://google/gemma", ("spec.model.revision", "main")),
        "spec.model.revision",
        "40 hexadecimal digits",
    ),
    "revision of a claim": (
        model(("spec.model.revision", "a" * 40)),
        "spec.model.revision",
        "may be set only where uri begins with hf://",
    ),
    "nowhere to keep what is fetched": (
        hub_model("hf://google/gemma", ("spec.storage", None)),
        "spec.storage",
        "storage.existingClaim or storage.newClaim says where",
    ),
    "nowhere to keep a fetched drafter": (
        model(("spec.speculation.drafter.uri", "hf://google/small")),
        "spec.storage",
        "storage.existingClaim or storage.newClaim says where",
    ),
    "storage for nothing": (model(("spec.storage", CLAIM)), "spec.storage", "nothing else is fetched"),
    "token for nothing": (
        model(("spec.model.tokenSecretRef", {"name": "hub"})),
        "spec.model.tokenSecretRef",
        "nothing else is fetched",
    ),
    "token without a Secret": (
        hub_model("hf://google/gemma", ("spec.model.tokenSecretRef", {"key": "token"})),
        "spec.model.tokenSecretRef.name",
        "Required value",
    ),
    "storage without a claim": (
        hub_model("hf://google/gemma", ("spec.storage", {})),
        "spec.storage",
        "exactly one of existingClaim",
    ),
    "storage with two claims": (
        hub_model("hf://google/gemma", ("spec.storage.newClaim", {"size": "1Gi"})),
        "spec.storage",
        "exactly one of existingClaim",
    ),
    "size without a unit": (
        hub_model("hf://google/gemma", ("spec.storage", {"newClaim": {"size": "100"}})),
        "spec.storage.newClaim.size",
        "for example 100Gi",
    ),
    "unknown access mode": (
        hub_model("hf://google/gemma", ("spec.storage", {"newClaim": {"size": "1Gi", "accessMode": "Shared"}})),
        "spec.storage.newClaim.accessMode",
        '"ReadWriteOnce", "ReadWriteMany"',
    ),
    "served name with a blank": (model(("spec.model.servedName", "a b")), "spec.model.servedName", "letters, digits"),
    "no engine": (model(("spec.engine", None)), "spec.engine", "Required value"),
    "engine without a type": (model(("spec.engine", {})), "spec.engine.type", "Required value"),
    "unknown engine": (model(("spec.engine.type", "SGLang")), "spec.engine.type", '"VLLM", "LlamaCpp"'),
    "settings of the other engine": (
        model(("spec.engine.llamaCpp", {})),
        "spec.engine.llamaCpp",
        "may be set only where type is LlamaCpp",
    ),
    "settings of both engines": (
        model(("spec.engine.vllm", {}), ("spec.engine.llamaCpp", {}), engine="LlamaCpp"),
        "spec.engine.vllm",
        "may be set only where type is VLLM",
    ),
    "empty image": (model(("spec.engine.image", "")), "spec.engine.image", "registry/repository:tag"),
    "image with a blank": (model(("spec.engine.image", "vllm serve")), "spec.engine.image", "without blanks"),
    "context too short": (
        model(("spec.engine.vllm.maxModelLen", 10)),
        "spec.engine.vllm.maxModelLen",
        "greater than or equal to 1024",
    ),
    "no sequences": (
        model(("spec.engine.vllm.maxNumSeqs", 0)),
        "spec.engine.vllm.maxNumSeqs",
        "greater than or equal to 1",
    ),
    "more GPUs than asked for": (
        model(("spec.engine.vllm.tensorParallelSize", 64)),
        "spec.engine.vllm.tensorParallelSize",
        "must be at most accelerator.count",
    ),
    "argument that is no flag": (
        model(("spec.engine.extraArgs", ["serve"])),
        "spec.engine.extraArgs[0]",
        "--flag or --flag=value",
    ),
    "short flag": (model(("spec.engine.extraArgs", ["-tp=2"])), "spec.engine.extraArgs[0]", "--flag or --flag=value"),
    "nothing but dashes": (model(("spec.engine.extraArgs", ["--"])), "spec.engine.extraArgs[0]", "--flag=value"),
    "value in an argument of its own": (
        model(("spec.engine.extraArgs", ["--seed=1", "--dtype half"])),
        "spec.engine.extraArgs[1]",
        "--flag or --flag=value",
    ),
    "flag that runs code": (
        model(("spec.engine.extraArgs", ["--trust-remote-code"])),
        "spec.engine.extraArgs[0]",
        "must not be --trust-remote-code, which is spec.engine.vllm.trustRemoteCode",
    ),
    "beginning of a flag that runs code": (
        model(("spec.engine.extraArgs", ["--trust-remote=true"])),
        "spec.engine.extraArgs[0]",
        "must not be --trust-remote-code, which is spec.engine.vllm.trustRemoteCode",
    ),
    "flag that is a field": (
        model(("spec.engine.extraArgs", ["--speculative-config={}"])),
        "spec.engine.extraArgs[0]",
        "must not be --speculative-config, which is what the operator tunes",
    ),
    "file with code": (
        model(("spec.engine.extraArgs", ["--structured-outputs-config={}"])),
        "spec.engine.extraArgs[0]",
        "must not be --structured-outputs-config, which can run code",
    ),
    "vLLM that is too old": (
        model(("spec.engine.image", "docker.io/vllm/vllm-openai:v0.30.2-cu130")),
        "spec.engine.image",
        "must be vLLM 0.31 or later",
    ),
    "llama.cpp that is too old": (
        model(("spec.engine.image", "ghcr.io/ggml-org/llama.cpp:server-cuda13-b10742"), engine="LlamaCpp"),
        "spec.engine.image",
        "must be llama.cpp 0.7.0 (b11669) or later",
    ),
    "old version of llama.cpp": (
        model(("spec.engine.image", "ghcr.io/ggml-org/llama.cpp:server-cuda13-v0.6.1"), engine="LlamaCpp"),
        "spec.engine.image",
        "must be llama.cpp 0.7.0 (b11669) or later",
    ),
    "variable with a dash": (
        model(("spec.engine.env", [{"name": "OMP-THREADS", "value": "1"}])),
        "spec.engine.env[0].name",
        "must be letters, digits and '_'",
    ),
    "variable that opens the server": (
        model(("spec.engine.env", [{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}])),
        "spec.engine.env[0].name",
        "must not be VLLM_SERVER_DEV_MODE, which lets any client change the server",
    ),
    "variable that runs code": (
        model(("spec.engine.env", [{"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "LD_PRELOAD", "value": "x"}])),
        "spec.engine.env[1].name",
        "must not be LD_PRELOAD, which runs code",
    ),
    "flag as a variable": (
        model(("spec.engine.env", [{"name": "LLAMA_ARG_MODEL", "value": "x"}]), engine="LlamaCpp"),
        "spec.engine.env[0].name",
        "must not be LLAMA_ARG_MODEL, which is a flag in disguise",
    ),
    "the same variable twice": (
        model(("spec.engine.env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
        "spec.engine.env[1]",
        "Duplicate value",
    ),
    "unknown allocation": (
        model(("spec.accelerator.allocation", "MPS")),
        "spec.accelerator.allocation",
        '"DevicePlugin", "DynamicResourceAllocation"',
    ),
    "extended resource that is claimed": (
        model(
            ("spec.accelerator.allocation", "DynamicResourceAllocation"),
            ("spec.accelerator.resourceName", "nvidia.com/mig-2g.48gb"),
        ),
        "spec.accelerator.resourceName",
        "must be left out where allocation is DynamicResourceAllocation",
    ),
    "code of the model by a word": (
        model(("spec.engine.vllm.trustRemoteCode", "true")),
        "spec.engine.vllm.trustRemoteCode",
        '"Enabled", "Disabled"',
    ),
    "unknown architecture": (
        model(("spec.accelerator.architecture", "Hopper")),
        "spec.accelerator.architecture",
        '"Blackwell", "Any"',
    ),
    "product that is no label value": (
        model(("spec.accelerator.products", ["RTX PRO 6000"])),
        "spec.accelerator.products[0]",
        "must be the value of a node label",
    ),
    "compute capability by architecture": (
        model(("spec.accelerator.computeCapabilities", ["sm_120"])),
        "spec.accelerator.computeCapabilities[0]",
        "for example 12.0",
    ),
    "no GPU": (model(("spec.accelerator.count", 0)), "spec.accelerator.count", "greater than or equal to 1"),
    "resource without a domain": (
        model(("spec.accelerator.resourceName", "gpu")),
        "spec.accelerator.resourceName",
        "<domain>/<name>",
    ),
    "unknown method": (
        model(("spec.speculation.method", "Medusa")),
        "spec.speculation.method",
        '"MTP", "DraftModel", "Eagle3", "NGram"',
    ),
    "no drafter": (
        model(("spec.speculation.method", "DraftModel")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel or Eagle3",
    ),
    "no head": (
        model(("spec.speculation.method", "Eagle3")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel or Eagle3",
    ),
    "drafter that nobody asks": (
        model(("spec.speculation", {"method": "NGram", "drafter": {"uri": "pvc://weights/small"}})),
        "spec.speculation.drafter",
        "must be left out where method is NGram",
    ),
    "drafter without a scheme": (
        model(("spec.speculation.drafter.uri", "drafter")),
        "spec.speculation.drafter.uri",
        SCHEMES,
    ),
    "pin too large": (model(("spec.speculation.nSpec", 17)), "spec.speculation.nSpec", "less than or equal to 16"),
    "negative pin": (model(("spec.speculation.nSpec", -1)), "spec.speculation.nSpec", "greater than or equal to 0"),
    "unknown mode": (model(("spec.tuning.mode", "Manual")), "spec.tuning.mode", '"Auto", "Disabled"'),
    "negative maxNSpec": (model(("spec.tuning.maxNSpec", -1)), "spec.tuning.maxNSpec", "greater than or equal to 1"),
    "huge maxNSpec": (model(("spec.tuning.maxNSpec", 10**6)), "spec.tuning.maxNSpec", "less than or equal to 16"),
    "maxNSpec as text": (model(("spec.tuning.maxNSpec", "four")), "spec.tuning.maxNSpec", "must be of type integer"),
    "no output": (
        model(("spec.tuning.workload.outputTokens", 0)),
        "spec.tuning.workload.outputTokens",
        "greater than or equal to 16",
    ),
    "output longer than the default context": (
        model(("spec.tuning.workload.outputTokens", 4000)),
        "spec.tuning.workload.outputTokens",
        "must be at most the context less 512 tokens for the prompt",
    ),
    "output longer than anything": (
        model(("spec.tuning.workload.outputTokens", 2**63 - 1)),
        "spec.tuning.workload.outputTokens",
        "must be at most the context less 512 tokens for the prompt",
    ),
    "output longer than llama.cpp's context": (
        model(
            ("spec.engine.llamaCpp.contextSize", 2048), ("spec.tuning.workload.outputTokens", 1537), engine="LlamaCpp"
        ),
        "spec.tuning.workload.outputTokens",
        "engine.llamaCpp.contextSize",
    ),
    "no levels": (model(("spec.tuning.workload.levels", [])), "spec.tuning.workload.levels", "at least 1 items"),
    "too many levels": (
        model(("spec.tuning.workload.levels", [{"concurrency": number} for number in range(1, 6)])),
        "spec.tuning.workload.levels",
        "must have at most 4 items",
    ),
    "the same level twice": (
        model(("spec.tuning.workload.levels", [{"concurrency": 1}, {"concurrency": 1, "weight": 2}])),
        "spec.tuning.workload.levels[1]",
        "Duplicate value",
    ),
    "no requests in flight": (
        model(("spec.tuning.workload.levels", [{"concurrency": 0}])),
        "spec.tuning.workload.levels[0].concurrency",
        "greater than or equal to 1",
    ),
    "more requests than vLLM decodes together": (
        model(("spec.engine.vllm.maxNumSeqs", 4), ("spec.tuning.workload.levels", [{"concurrency": 5}])),
        "spec.tuning.workload.levels",
        "engine.vllm.maxNumSeqs (default 8)",
    ),
    "more requests than llama.cpp decodes together": (
        model(("spec.tuning.workload.levels", [{"concurrency": 2}]), engine="LlamaCpp"),
        "spec.tuning.workload.levels",
        "engine.llamaCpp.parallel (default 1)",
    ),
    "prompts of nowhere": (
        model(("spec.tuning.workload.prompts", {})),
        "spec.tuning.workload.prompts",
        "must have exactly one of builtIn, configMap and pvc",
    ),
    "prompts of two places": (
        model(
            ("spec.tuning.workload.prompts.builtIn", ["Code"]),
            ("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "a.jsonl"}),
        ),
        "spec.tuning.workload.prompts",
        "must have exactly one of builtIn, configMap and pvc",
    ),
    "no category": (
        model(("spec.tuning.workload.prompts.builtIn", [])),
        "spec.tuning.workload.prompts.builtIn",
        "at least 1 items",
    ),
    "unknown category": (
        model(("spec.tuning.workload.prompts.builtIn", ["Poetry"])),
        "spec.tuning.workload.prompts.builtIn[0]",
        '"Code", "Chat", "Summarize", "JSON"',
    ),
    "the same category twice": (
        model(("spec.tuning.workload.prompts.builtIn", ["Code", "Code"])),
        "spec.tuning.workload.prompts.builtIn[1]",
        "Duplicate value",
    ),
    "ConfigMap without a key": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "own"})),
        "spec.tuning.workload.prompts.configMap.key",
        "Required value",
    ),
    "ConfigMap in upper case": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "Own", "key": "a.jsonl"})),
        "spec.tuning.workload.prompts.configMap.name",
        "must be the name of a ConfigMap",
    ),
    "key with a slash": (
        model(("spec.tuning.workload.prompts.configMap", {"name": "own", "key": "a/b.jsonl"})),
        "spec.tuning.workload.prompts.configMap.key",
        "must be a key of a ConfigMap",
    ),
    "claim in upper case": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "Own", "path": "a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.claim",
        "must be the name of a PersistentVolumeClaim",
    ),
    "prompts that leave the claim": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "../a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.path",
        "must be a file below the volume's root",
    ),
    "absolute path of prompts": (
        model(("spec.tuning.workload.prompts.pvc", {"claim": "own", "path": "/a.jsonl"})),
        "spec.tuning.workload.prompts.pvc.path",
        "must be a file below the volume's root",
    ),
    "unknown sampling": (
        model(("spec.tuning.workload.sampling.mode", "Beam")),
        "spec.tuning.workload.sampling.mode",
        '"Greedy", "ModelDefaults", "Custom"',
    ),
    "custom sampling without a temperature": (
        model(("spec.tuning.workload.sampling", {"mode": "Custom", "topK": 20})),
        "spec.tuning.workload.sampling.temperatureMilli",
        "must be set where mode is Custom",
    ),
    "temperature of greedy sampling": (
        model(("spec.tuning.workload.sampling.temperatureMilli", 700)),
        "spec.tuning.workload.sampling.temperatureMilli",
        "may be set only where mode is Custom",
    ),
    "nucleus of the model's defaults": (
        model(("spec.tuning.workload.sampling", {"mode": "ModelDefaults", "topPMilli": 950})),
        "spec.tuning.workload.sampling.topPMilli",
        "may be set only where mode is Custom",
    ),
    "top k of greedy sampling": (
        model(("spec.tuning.workload.sampling.topK", 20)),
        "spec.tuning.workload.sampling.topK",
        "may be set only where mode is Custom",
    ),
    "temperature in degrees": (
        model(("spec.tuning.workload.sampling", {"mode": "Custom", "temperatureMilli": 2001})),
        "spec.tuning.workload.sampling.temperatureMilli",
        "less than or equal to 2000",
    ),
    "unknown objective": (
        model(("spec.tuning.objective.maximize", "Latency")),
        "spec.tuning.objective.maximize",
        '"OutputThroughput", "Interactivity"',
    ),
    "limit at a level that is not measured": (
        model(("spec.tuning.objective.constraints", [limit(concurrency=4)])),
        "spec.tuning.objective.constraints",
        "must have no concurrency that is not among workload.levels",
    ),
    "unknown metric": (
        model(("spec.tuning.objective.constraints", [limit(metric="P90TimeToFirstToken")])),
        "spec.tuning.objective.constraints[0].metric",
        '"P95TimeToFirstToken"',
    ),
    "limit of nothing": (
        model(("spec.tuning.objective.constraints", [limit(maxMilliseconds=0)])),
        "spec.tuning.objective.constraints[0].maxMilliseconds",
        "greater than or equal to 1",
    ),
    "the same limit twice": (
        model(("spec.tuning.objective.constraints", [limit(), limit(maxMilliseconds=900)])),
        "spec.tuning.objective.constraints[1]",
        "Duplicate value",
    ),
    "too many limits": (
        model(
            (
                "spec.tuning.objective.constraints",
                [limit(metric=f"P{share}{name}") for share in (50, 95, 99) for name in ("RequestLatency", TTFT)],
            )
        ),
        "spec.tuning.objective.constraints",
        "must have at most 4 items",
    ),
    "no trials": (model(("spec.tuning.budget.maxTrials", 0)), "spec.tuning.budget.maxTrials", "than or equal to 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_message(mistake: str, api_server: httpx.Client) -> None:
    document, field, allowed = MISTAKES[mistake]

    (complaint,) = complaints(api_server, document)

    assert complaint.startswith(f"{field}: ")
    assert allowed in complaint


def test_unknown_field_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r'strict decoding error: unknown field "spec\.tuning\.maxNspec"'):
        kubectl("create", "--dry-run=server", "--filename=-", document=model(("spec.tuning.maxNspec", 4)))


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
            "request": 0,
            "maxNSpec": 8,
            "workload": {
                "sampling": {"mode": "Greedy"},
                "outputTokens": 512,
                "levels": [{"concurrency": 1, "weight": 1}],
            },
            "objective": {"maximize": "OutputThroughput"},
            "budget": {"maxTrials": 24, "maxGPUMinutes": 240},
            "disruption": "Never",
            "historyLimit": 3,
        },
        "serving": {"replicas": 1, "port": 8000, "whileTuning": "Wait", "rollout": {"strategy": "Surge"}},
    }


def test_defaults_beside_what_is_set(api_server: httpx.Client) -> None:
    document = model(("spec.engine.vllm.maxNumSeqs", 4), ("spec.tuning.workload.levels", [{"concurrency": 4}]))

    stored = taken(api_server, document)

    assert stored["spec"]["engine"]["vllm"] == {
        "maxModelLen": 4096,
        "maxNumSeqs": 4,
        "tensorParallelSize": 1,
        "prefixCaching": "Disabled",
        "trustRemoteCode": "Disabled",
    }
    assert stored["spec"]["tuning"]["workload"] == {
        "sampling": {"mode": "Greedy"},
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
        "N_SPEC", "SPEEDUP", "TOK/S", "ACC_LEN", "TUNED", "READY", "AGE",
    ]  # fmt: skip
    assert [one["name"] for one in columns if "priority" in one] == ["GPU", "ENGINE", "REASON", "URL"]


def test_short_names_and_category() -> None:
    resources = kubectl("api-resources", "--api-group=mtp-operator.dev", "--categories=mtp", "--output=wide")

    assert re.search(r"^mtpmodels +mtpm ", resources, re.MULTILINE)
    assert re.search(r"^mtptuningruns +mtpr ", resources, re.MULTILINE)


def test_explain_speaks_of_every_field() -> None:
    tuning = " ".join(kubectl("explain", "mtpm.spec.tuning").split())

    assert "The largest n_spec that is tried; 0 always is. Allowed: 1 to 16. Default: 8." in tuning
    assert "enum: Auto, Disabled" in tuning
    for kind in ("mtpm", "mtpr"):
        for field in (kind, f"{kind}.spec", f"{kind}.status"):
            assert "<no description>" not in kubectl("explain", field)
