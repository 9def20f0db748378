"""The parts of a spec that an MTPModel states and an MTPTuningRun keeps: model, engine, GPU, speculation, workload."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .base import MAX_LEVELS, MAX_N_SPEC, Schema, rule, validated

PROMPT_RESERVE_TOKENS: Final = 512
"""Context that the workload leaves to the prompt beside its output tokens."""

LEAST_CONTEXT_TOKENS: Final = 1024
"""Smallest context of a request: the default output and a prompt fit into it."""

REFUSED_ARGUMENTS: Final[dict[str, str]] = {
    "--agent": "runs code",
    "--allowed-local-media-path": "opens the file system",
    "--api-key": "puts a secret into the pod's arguments",
    "--api-key-file": "locks the bench out",
    "--code-revision": "runs code of another revision",
    "--config": "hides other arguments",
    "--control-vector": "changes the model",
    "--control-vector-scaled": "changes the model",
    "--data-parallel-address": "opens the network",
    "--default-mm-loras": "changes the model",
    "--distributed-executor-backend": "starts other processes",
    "--docker-repo": "changes the model",
    "--ec-transfer-config": "opens the network",
    "--enable-lora": "changes the model",
    "--generation-config": "changes the sampling that is measured",
    "--grpc-port": "opens the network",
    "--hf-config-path": "changes the model",
    "--hf-file": "changes the model",
    "--hf-overrides": "changes the model",
    "--hf-repo": "changes the model",
    "--hf-repo-draft": "changes the model",
    "--hf-token": "puts a secret into the pod's arguments",
    "--host": "is set by the operator",
    "--io-processor-plugin": "runs code",
    "--kv-events-config": "opens the network",
    "--kv-transfer-config": "opens the network",
    "--load-format": "can run code",
    "--log-config-file": "can run code",
    "--log-prompts-dir": "opens the file system",
    "--logging-config": "can run code",
    "--logits-processors": "runs code",
    "--lora": "changes the model",
    "--lora-modules": "changes the model",
    "--lora-scaled": "changes the model",
    "--master-addr": "opens the network",
    "--mcp-servers-config": "runs code",
    "--mcp-servers-json": "runs code",
    "--media-path": "opens the file system",
    "--middleware": "runs code",
    "--mmproj-url": "changes the model",
    "--model": "is spec.model.uri",
    "--model-class-overrides": "changes the model",
    "--model-draft": "is spec.speculation.drafter",
    "--model-url": "changes the model",
    "--models-dir": "changes the model",
    "--models-preset": "changes the model",
    "--otlp-traces-endpoint": "opens the network",
    "--override-generation-config": "changes the sampling that is measured",
    "--override-kv": "changes the model",
    "--path": "opens the file system",
    "--port": "is set by the operator",
    "--quantization": "changes the model",
    "--quantization-config": "changes the model",
    "--reasoning-parser-plugin": "runs code",
    "--revision": "changes the model",
    "--rpc": "opens the network",
    "--scheduler-cls": "runs code",
    "--served-model-name": "is spec.model.servedName",
    "--slot-save-path": "opens the file system",
    "--spec-draft-hf": "changes the model",
    "--spec-draft-model": "is spec.speculation.drafter",
    "--spec-draft-n-max": "is what the operator tunes",
    "--spec-method": "is spec.speculation.method",
    "--spec-model": "is spec.speculation.drafter",
    "--spec-tokens": "is what the operator tunes",
    "--spec-type": "is spec.speculation.method",
    "--speculative-config": "is what the operator tunes",
    "--ssl-ca-certs": "is not supported",
    "--ssl-cert-file": "is not supported",
    "--ssl-certfile": "is not supported",
    "--ssl-key-file": "is not supported",
    "--ssl-keyfile": "is not supported",
    "--tokenizer": "changes the model",
    "--tokenizer-revision": "changes the model",
    "--tool-parser-plugin": "runs code",
    "--tool-server": "opens the network",
    "--tools": "runs code",
    "--tools-runtime": "runs code",
    "--trust-remote-code": "runs code of the model's repository",
    "--trust-request-chat-template": "runs code of requests",
    "--trust-request-mm-kwargs": "runs code of requests",
    "--uds": "is set by the operator",
    "--ui-mcp-proxy": "opens the network",
    "--webui-mcp-proxy": "opens the network",
    "--weight-transfer-config": "changes the model",
    "--worker-cls": "runs code",
    "--worker-extension-cls": "runs code",
}
"""Engine flags that would change the model, open the network or run code, and why each is refused.

The beginning of one is refused as well, because vLLM takes it for the flag.
"""

_FLAGS_OF_THEIR_OWN: Final = ("--mmproj", "--reasoning", "--reasoning-parser", "--ui", "--webui")
"""Flags of an engine that a refused one happens to begin with."""

_URI_RULES = (
    rule("self.size() > 0", "must not be empty: write pvc://<claim>/<path>"),
    rule(
        "self.size() == 0 || self.startsWith('pvc://')",
        "must start with pvc://, the only scheme that is supported: pvc://<claim>/<path> names a folder or file on a "
        "PersistentVolumeClaim of the same namespace",
    ),
    rule(
        r"!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9][-A-Za-z0-9._]*)*$')",
        "must be pvc://<claim>/<path>: the claim's name, then folders and files of letters, digits, '-', '_' and '.', "
        "each starting with a letter or digit",
    ),
)

Uri = Annotated[
    str,
    Field(
        max_length=512,
        description="Where the weights are: pvc://<claim>/<path> names a folder (safetensors) or a file (GGUF) on a "
        "PersistentVolumeClaim of the same namespace, for example pvc://weights/qwen3.6-27b.",
        json_schema_extra=validated(*_URI_RULES),
    ),
]


class ModelSource(Schema):
    """The target model."""

    uri: Uri
    served_name: Annotated[
        str | None,
        Field(
            max_length=128,
            description="The name that clients put into `model` of a request. Default: metadata.name.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._/:]*$')",
                    "must be letters, digits, '-', '.', '_', '/' and ':', starting with a letter or digit",
                )
            ),
        ),
    ] = None


class EngineType(StrEnum):
    """Which inference engine serves the model."""

    VLLM = "VLLM"
    LLAMA_CPP = "LlamaCpp"


class PrefixCaching(StrEnum):
    """Whether the engine reuses the KV cache of equal prefixes."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class FlashAttention(StrEnum):
    """Whether llama.cpp uses its flash attention kernels."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class VLLMSettings(Schema):
    """Settings of vLLM."""

    max_model_len: Annotated[
        int,
        Field(
            ge=LEAST_CONTEXT_TOKENS, le=1_048_576, description="Longest prompt plus output of one request, in tokens."
        ),
    ] = 4096
    max_num_seqs: Annotated[
        int, Field(ge=1, le=1024, description="Requests that are decoded together; the rest waits.")
    ] = 8
    gpu_memory_utilization_percent: Annotated[
        int | None,
        Field(ge=1, le=100, description="Share of the GPU's memory that vLLM takes. Default: vLLM's own."),
    ] = None
    tensor_parallel_size: Annotated[
        int, Field(ge=1, description="GPUs that share one copy of the model; at most accelerator.count.")
    ] = 1
    prefix_caching: Annotated[
        PrefixCaching,
        Field(description="Disabled measures what decoding gives; Enabled also reuses equal prefixes of prompts."),
    ] = PrefixCaching.DISABLED


class LlamaCppSettings(Schema):
    """Settings of llama.cpp's llama-server."""

    context_size: Annotated[
        int,
        Field(
            ge=LEAST_CONTEXT_TOKENS,
            le=1_048_576,
            description="Longest prompt plus output of one request (slot), in tokens.",
        ),
    ] = 4096
    parallel: Annotated[int, Field(ge=1, le=256, description="Slots: requests that are decoded together.")] = 1
    gpu_layers: Annotated[
        int, Field(ge=-1, le=1024, description="Layers kept on the GPU; -1 keeps all of them there.")
    ] = -1
    flash_attention: Annotated[
        FlashAttention, Field(description="Whether llama.cpp's flash attention kernels are used.")
    ] = FlashAttention.ENABLED


_ARGUMENT_NAME = "self.split('=')[0]"
_REFUSED_MATCHES = f"{sorted(REFUSED_ARGUMENTS)!r}.filter(flag, flag.startsWith({_ARGUMENT_NAME}))"

ExtraArgument = Annotated[
    str,
    Field(
        max_length=512,
        json_schema_extra=validated(
            rule(
                r"self.matches('^--[a-z0-9][-a-z0-9]*(=[^\\n\\r]*)?$')",
                "must be one long flag in lower case, with its value after '=': --flag or --flag=value",
            ),
            rule(
                f"!self.matches('^--[a-z0-9]') || {_ARGUMENT_NAME} in {list(_FLAGS_OF_THEIR_OWN)!r} || "
                f"{_REFUSED_MATCHES}.size() == 0",
                "must not be a flag that another field or the operator sets, that changes the model, opens the network "
                "or runs code, nor the beginning of one; the API reference lists them",
                message_expression=f"'must not be ' + {_REFUSED_MATCHES}[0] + ', which ' + "
                f"{REFUSED_ARGUMENTS!r}[{_REFUSED_MATCHES}[0]]",
            ),
        ),
    ),
]


class EngineSpec(Schema):
    """The inference engine and its settings; only the settings of `type` may be set."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule("self.type == 'VLLM' || !has(self.vllm)", "may be set only where type is VLLM", field_path=".vllm"),
            rule(
                "self.type == 'LlamaCpp' || !has(self.llamaCpp)",
                "may be set only where type is LlamaCpp",
                field_path=".llamaCpp",
            ),
        )
    )

    type: Annotated[EngineType, Field(description="VLLM is vLLM; LlamaCpp is llama.cpp's llama-server.")]
    image: Annotated[
        str | None,
        Field(
            max_length=512,
            description="The engine's image. Its entry point must be the engine's server (`vllm serve`, "
            "`llama-server`). Default: the operator's pinned image of this type, resolved once into status.resolved.",
            json_schema_extra=validated(
                rule(
                    r"self.matches('^[a-z0-9][^\\s]*$')",
                    "must be an image's name, without blanks: registry/repository:tag or registry/repository@digest",
                )
            ),
        ),
    ] = None
    vllm: Annotated[VLLMSettings | None, Field(description="Settings of vLLM, where type is VLLM.")] = None
    llama_cpp: Annotated[
        LlamaCppSettings | None, Field(description="Settings of llama.cpp, where type is LlamaCpp.")
    ] = None
    extra_args: Annotated[
        tuple[ExtraArgument, ...],
        Field(
            max_length=32,
            description="Further flags of the engine, one item a flag with its value after '=', for example "
            '--limit-mm-per-prompt={"image":0}. No shell reads them. Some flags are refused.',
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class Architecture(StrEnum):
    """GPU architecture."""

    BLACKWELL = "Blackwell"
    ANY = "Any"


class AcceleratorSpec(Schema):
    """The GPU that trials run on, chosen by the node labels of GPU Feature Discovery."""

    architecture: Annotated[
        Architecture,
        Field(description="Blackwell asks for nodes with nvidia.com/gpu.family=blackwell; Any lifts the constraint."),
    ] = Architecture.BLACKWELL
    products: Annotated[
        tuple[
            Annotated[
                str,
                Field(
                    max_length=63,
                    json_schema_extra=validated(
                        rule(
                            "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
                            "must be the value of a node label: letters, digits, '-', '_' and '.', "
                            "with a letter or digit at both ends",
                        )
                    ),
                ),
            ],
            ...,
        ],
        Field(
            max_length=16,
            description="Accepted values of nvidia.com/gpu.product. Empty: any. "
            "An example is NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    compute_capabilities: Annotated[
        tuple[
            Annotated[
                str,
                Field(
                    max_length=8,
                    json_schema_extra=validated(
                        rule("self.matches('^[0-9]{1,2}[.][0-9]$')", "must be <major>.<minor>, for example 12.0")
                    ),
                ),
            ],
            ...,
        ],
        Field(
            max_length=8,
            description="Accepted compute capabilities. Empty: any. sm_100 (10.0) and sm_120 (12.0) are both Blackwell "
            "and need different kernels.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    count: Annotated[int, Field(ge=1, le=16, description="GPUs that one engine gets.")] = 1
    resource_name: Annotated[
        str,
        Field(
            max_length=253,
            description="The extended resource that stands for one GPU, for example nvidia.com/gpu or "
            "nvidia.com/mig-2g.48gb.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
                    "must be the name of an extended resource: <domain>/<name>, for example nvidia.com/gpu",
                )
            ),
        ),
    ] = "nvidia.com/gpu"


class SpeculationMethod(StrEnum):
    """Where draft tokens come from."""

    MTP = "MTP"
    DRAFT_MODEL = "DraftModel"


class Drafter(Schema):
    """A model of its own that drafts."""

    uri: Uri


class SpeculationMethodSpec(Schema):
    """How tokens are drafted."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                # The API server holds the rule against the default {} before it fills in the method.
                "!has(self.method) || self.method != 'DraftModel' || has(self.drafter)",
                "must be set where method is DraftModel: drafter.uri names the model that drafts",
                field_path=".drafter",
            ),
        )
    )

    method: Annotated[
        SpeculationMethod,
        Field(
            description="MTP drafts with heads trained into the model, or with an assistant (drafter) that shares its "
            "KV cache; DraftModel drafts with a small model of its own (drafter)."
        ),
    ] = SpeculationMethod.MTP
    drafter: Annotated[Drafter | None, Field(description="The model that drafts, where the method needs one.")] = None


class SpeculationSpec(SpeculationMethodSpec):
    """How tokens are drafted, and how many if a person has decided."""

    n_spec: Annotated[
        int | None,
        Field(ge=0, le=MAX_N_SPEC, description="Pins n_spec: nothing is measured. 0 turns speculation off."),
    ] = None


class Level(Schema):
    """One load under which the model is measured."""

    concurrency: Annotated[
        int,
        Field(
            ge=1,
            description="Requests in flight at any time (closed loop); at most engine.vllm.maxNumSeqs or "
            "engine.llamaCpp.parallel.",
        ),
    ]
    weight: Annotated[int, Field(ge=1, le=100, description="Weight of this level in the objective.")] = 1


class Workload(Schema):
    """The load that every n_spec is measured under."""

    output_tokens: Annotated[
        int,
        Field(
            ge=16,
            description="Output tokens asked of each request (max_tokens); at most engine.vllm.maxModelLen or "
            f"engine.llamaCpp.contextSize, less {PROMPT_RESERVE_TOKENS} tokens for the prompt.",
        ),
    ] = 512
    levels: Annotated[
        tuple[Level, ...],
        Field(
            min_length=1,
            max_length=MAX_LEVELS,
            description="Concurrencies, each measured in the same boot of the engine. The objective is the weighted "
            "geometric mean of the output throughput over them.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["concurrency"]},
        ),
    ] = (Level(concurrency=1),)


class Budget(Schema):
    """Where tuning stops at the latest."""

    max_trials: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="Trials, each one boot of the engine; a lost one (node gone, preempted) does not count.",
        ),
    ] = 24
    max_gpu_minutes: Annotated[
        int, Field(ge=1, le=100_000, alias="maxGPUMinutes", description="GPU minutes of all trials together.")
    ] = 240
