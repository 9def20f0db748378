"""Specs with one mistake each, and what the API server says of it: a table for it and for `mtp validate`."""

from __future__ import annotations

from typing import Any

from tests.documents import hub_model, model
from tests.pod_mistakes import POD_MISTAKES
from tests.tuning_mistakes import TUNING_MISTAKES

URI_CHOICE = "pvc://<claim>/<path>"
SCHEMES = "must start with hf://, pvc:// or oci://"
IMAGE_URI_CHOICE = "must be oci://<registry>/<repository> in lower case, followed by :<tag>"
HUB_URI_CHOICE = "must be hf://<organization>/<repository>, for a GGUF followed by /<file>"
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
    "repository without an organization": (hub_model("hf://gemma"), "spec.model.uri", HUB_URI_CHOICE),
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
        "where engine.type is VLLM or SGLang, which load a whole repository",
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
    "projector beside weights that are not fetched": (
        model(("spec.model.mmproj", "mmproj.gguf"), engine="LlamaCpp"),
        "spec.model.mmproj",
        "may be set only where engine.type is LlamaCpp and model.uri names a file of the hub",
    ),
    "projector of vLLM": (
        hub_model("hf://google/gemma", ("spec.model.mmproj", "mmproj.gguf")),
        "spec.model.mmproj",
        "may be set only where engine.type is LlamaCpp",
    ),
    "projector that leaves its repository": (
        hub_model(
            "hf://google/gemma/q8.gguf", ("spec.model.mmproj", "../mmproj.gguf"), ("spec.engine", {"type": "LlamaCpp"})
        ),
        "spec.model.mmproj",
        "must be the path of a .gguf file in the repository",
    ),
    "authorities of nothing": (
        model(("spec.storage", {"cacheClaim": "caches", "caBundle": {"name": "ca"}})),
        "spec.storage.caBundle",
        "may be set only where model.uri or speculation.drafter.uri begins with hf://",
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
    "unknown engine": (model(("spec.engine.type", "TGI")), "spec.engine.type", '"VLLM", "LlamaCpp", "SGLang"'),
    "SGLang without an image": (
        model(("spec.engine.image", None), engine="SGLang"),
        "spec.engine.image",
        "must be set where type is SGLang: the operator has no default image of it",
    ),
    "old SGLang": (
        model(("spec.engine.image", "lmsysorg/sglang:v0.5.9-cu129"), engine="SGLang"),
        "spec.engine.image",
        "must be SGLang 0.5.18 or later",
    ),
    "n-grams with SGLang": (
        model(("spec.speculation.method", "NGram"), engine="SGLang"),
        "spec.speculation.method",
        "must be one of MTP, DraftModel, Eagle, Eagle3 where engine.type is SGLang",
    ),
    "several names with SGLang": (
        model(("spec.model.aliases", ["other"]), engine="SGLang"),
        "spec.model.aliases",
        "must be left out where engine.type is SGLang, which serves a model under one name",
    ),
    "one file for SGLang": (
        hub_model("hf://google/gemma/q8.gguf", engine="SGLang"),
        "spec.model.uri",
        "where engine.type is VLLM or SGLang, which load a whole repository",
    ),
    "vLLM's settings for SGLang": (
        model(("spec.engine.vllm", {}), engine="SGLang"),
        "spec.engine.vllm",
        "may be set only where type is VLLM",
    ),
    "SGLang's settings of speculation for vLLM": (
        model(("spec.speculation.sglang", {})),
        "spec.speculation.sglang",
        "may be set only where engine.type is SGLang",
    ),
    "more GPUs for SGLang than there are": (
        model(("spec.engine.sglang", {"tensorParallelSize": 2}), engine="SGLang"),
        "spec.engine.sglang.tensorParallelSize",
        "must be at most accelerator.count",
    ),
    "more requests than SGLang decodes together": (
        model(("spec.tuning.workload.levels", [{"concurrency": 64}]), engine="SGLang"),
        "spec.tuning.workload.levels",
        "engine.sglang.maxRunningRequests (default 48)",
    ),
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
    "argument that is not a flag": (
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
        "spec.engine.vllm.dataParallelSize or spec.engine.sglang.dataParallelSize; only 1 may be stated",
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
    **POD_MISTAKES,
    **TUNING_MISTAKES,
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
