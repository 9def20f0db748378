"""Specs with one mistake each, and what the API server says of it: a table for it and for `mtp validate`."""

from __future__ import annotations

from typing import Any


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
        "nothing is fetched",
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
    "storage for nothing": (model(("spec.storage", CLAIM)), "spec.storage", "nothing is fetched"),
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
        "must be -1 (the longest that fits) or at least 1024",
    ),
    "no sequences": (
        model(("spec.engine.vllm.maxNumSeqs", 0)),
        "spec.engine.vllm.maxNumSeqs",
        "greater than or equal to 1",
    ),
    "more GPUs than asked for": (
        model(("spec.engine.vllm.tensorParallelSize", 4)),
        "spec.engine.vllm.tensorParallelSize",
        "must be at most accelerator.count",
    ),
    "copies on more GPUs than asked for": (
        model(("spec.engine.vllm", {"tensorParallelSize": 2, "dataParallelSize": 4}), ("spec.accelerator.count", 4)),
        "spec.engine.vllm.dataParallelSize",
        "must be at most accelerator.count (default 1) divided by tensorParallelSize (default 1)",
    ),
    "cache claim beside fetched weights": (
        hub_model("hf://google/gemma", ("spec.storage", {"cacheClaim": "caches"})),
        "spec.storage.cacheClaim",
        "compile caches are kept beside the fetched weights",
    ),
    "file of nowhere": (
        model(("spec.files", [{"name": "template.jinja"}])),
        "spec.files[0]",
        "must have exactly one of configMap and pvc",
    ),
    "file that leaves its folder": (
        model(("spec.files", [{"name": "../passwd", "configMap": {"name": "own", "key": "t.jinja"}}])),
        "spec.files[0].name",
        "must be letters, digits",
    ),
    "the same alias twice": (model(("spec.model.aliases", ["a", "a"])), "spec.model.aliases[1]", "Duplicate value"),
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
    "a part of a flag that is a field": (
        model(("spec.engine.extraArgs", ["--speculative_config.num_speculative_tokens=4"])),
        "spec.engine.extraArgs[0]",
        "must not be --speculative-config, which is what the operator tunes",
    ),
    "value that is more than the default": (
        model(("spec.engine.extraArgs", ["--data-parallel-size=2"])),
        "spec.engine.extraArgs[0]",
        "spec.engine.vllm.dataParallelSize; only 1 may be stated",
    ),
    "value that is a flag": (
        model(("spec.engine.extraArgs", ["--verbose=--agent"]), engine="LlamaCpp"),
        "spec.engine.extraArgs[0]",
        "must not have a value that begins with '-' and a letter",
    ),
    "variable with a value that is not the default": (
        model(("spec.engine.env", [{"name": "HF_HUB_OFFLINE", "value": "0"}])),
        "spec.engine.env[0].name",
        "must not be HF_HUB_OFFLINE, which changes where models come from",
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
    "label that the operator sets": (
        model(("spec.template.labels", {"mtp-operator.dev/model": "other"})),
        "spec.template.labels",
        "must have no label that the operator itself sets",
    ),
    "label that the operator finds its pods by": (
        model(("spec.template.labels", {"app.kubernetes.io/managed-by": "me"})),
        "spec.template.labels",
        "must have no label that the operator itself sets",
    ),
    "label that is none": (
        model(("spec.template.labels", {"a b": "c"})),
        "spec.template.labels",
        "must have keys of labels",
    ),
    "value that is none of a label": (
        model(("spec.template.nodeSelector", {"zone": "a b"})),
        "spec.template.nodeSelector[zone]",
        "must be the value of a label",
    ),
    "annotation that the operator sets": (
        model(("spec.template.annotations", {"mtp-operator.dev/serving": "{}"})),
        "spec.template.annotations",
        "must have no annotation that the operator itself sets",
    ),
    "more memory than there may be": (
        model(("spec.template.resources", {"requests": {"memory": "2Ti"}, "limits": {"memory": "64Gi"}})),
        "spec.template.resources.requests.memory",
        "must be at most limits.memory",
    ),
    "memory without a unit": (
        model(("spec.template.resources.requests", {"memory": "64"})),
        "spec.template.resources.requests.memory",
        "for example 64Gi",
    ),
    "user root": (
        model(("spec.template.securityContext.runAsUser", 0)),
        "spec.template.securityContext.runAsUser",
        "greater than or equal to 1",
    ),
    "ids of two": (
        model(("spec.template.securityContext", {"identity": "Assigned", "fsGroup": 1000})),
        "spec.template.securityContext.identity",
        "must be Fixed where runAsUser",
    ),
    "toleration of every taint by value": (
        model(("spec.template.tolerations", [{"value": "gpu"}])),
        "spec.template.tolerations[0].operator",
        "must be Exists where key is left out",
    ),
    "toleration with a value that nobody reads": (
        model(("spec.template.tolerations", [{"key": "sku", "operator": "Exists", "value": "gpu"}])),
        "spec.template.tolerations[0].value",
        "must be left out where operator is Exists",
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
        '"MTP", "DraftModel", "Eagle", "Eagle3", "DFlash", "DSpark", "NGram", "Suffix"',
    ),
    "no drafter": (
        model(("spec.speculation.method", "DraftModel")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel, Eagle, Eagle3 or DFlash",
    ),
    "method that llama.cpp does not have": (
        model(("spec.speculation.method", "Suffix"), engine="LlamaCpp"),
        "spec.speculation.method",
        "must be one of MTP, DraftModel, Eagle3, DFlash, DSpark, NGram where engine.type is LlamaCpp",
    ),
    "speculation of the other engine": (
        model(("spec.speculation.vllm", {"moeBackend": "triton"}), engine="LlamaCpp"),
        "spec.speculation.vllm",
        "may be set only where engine.type is VLLM",
    ),
    "speculation of the one engine": (
        model(("spec.speculation.llamaCpp", {"pMinMilli": 750})),
        "spec.speculation.llamaCpp",
        "may be set only where engine.type is LlamaCpp",
    ),
    "longer matches at least than at most": (
        model(("spec.speculation", {"method": "NGram", "vllm": {"promptLookupMin": 5}})),
        "spec.speculation.vllm.promptLookupMin",
        "must be at most promptLookupMax (default 4)",
    ),
    "no head": (
        model(("spec.speculation.method", "Eagle3")),
        "spec.speculation.drafter",
        "must be set where method is DraftModel, Eagle, Eagle3 or DFlash",
    ),
    "drafter that nobody asks": (
        model(("spec.speculation", {"method": "NGram", "drafter": {"uri": "pvc://weights/small"}})),
        "spec.speculation.drafter",
        "must be left out where method is NGram or Suffix",
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
        model(("spec.tuning.workload.outputTokens", 4000), engine="LlamaCpp"),
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
        "engine.vllm.maxNumSeqs (at most 1024)",
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
        model(
            ("spec.tuning.objective.constraints", [limit(concurrency=4)]),
            ("spec.tuning.workload.levels", [{"concurrency": 1}]),
        ),
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


ARGUMENTS = (
    *("--enforce-eager", "--seed=1", "--enable_expert_parallel", "--kernel-config.moe_backend=marlin", "--a.b.C_d=e"),
    *(
        "--load-format=fastsafetensors",
        "--quantization=modelopt",
        '--hf-overrides={"a": 1}',
        "--reasoning-parser=qwen3",
    ),
    *("--generation-config=vllm", "--override-generation-config={}", "--chat-template=/x.jinja", "--tokenizer=/x"),
    *("--data-parallel-size=1", "--data_parallel_size=1", "--data-parallel-size=8", "--data-parallel-size"),
    *("--pipeline-parallel-size=1", "--distributed-executor-backend=mp", "--distributed-executor-backend=ray"),
    *("--logprobs-mode=raw_logprobs", "--host=0.0.0.0", "--host=::", "--port=8080", "--trust_remote_code"),
    *(
        "--speculative-config={}",
        "--speculative_config.method=mtp",
        "--speculative",
        "--max-model-len=1",
        "--max-mod=1",
    ),
    *("--disable-prefix-caching", "--no-warmup=--props", "--threads=-1", "--temp=-a", "--seed=", "--mmproj=/x.gguf"),
    *("--n-predict=-1", "--n-predict=4", "--spec-ngram-map-k-size-m=4", "--gpt-oss-20b-default", "--ui", "--webui"),
    *(
        "-tp=2",
        "serve",
        "--",
        "--A",
        "--a b",
        "--a=b c",
        "--seed=b\n",
        "--seed=b\rc",
        "--a..b",
        "--.a=b",
        "--_a",
        "--a+=1",
    ),
)
