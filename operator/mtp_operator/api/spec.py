"""The parts of a spec that an MTPModel states and an MTPTuningRun keeps: model, engine, GPU, speculation, workload."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .base import MAX_LEVELS, MAX_N_SPEC, Schema, rule, validated

PROMPT_RESERVE_TOKENS: Final = 512
"""Context that the workload leaves to the prompt beside its output tokens."""

REFUSED_ARGUMENTS: Final[dict[str, str]] = {
    "--allowed-local-media-path": "opens the file system",
    "--api-key": "puts a secret into the pod's arguments",
    "--api-key-file": "locks the bench out",
    "--code-revision": "runs code of another revision",
    "--config": "hides other arguments",
    "--distributed-executor-backend": "starts other processes",
    "--enable-lora": "changes the model",
    "--generation-config": "changes the sampling that is measured",
    "--hf-overrides": "changes the model",
    "--hf-repo": "changes the model",
    "--host": "is set by the operator",
    "--kv-transfer-config": "opens the network",
    "--load-format": "can run code",
    "--logits-processors": "runs code",
    "--lora": "changes the model",
    "--middleware": "runs code",
    "--model": "is spec.model.uri",
    "--model-draft": "is spec.speculation.drafter",
    "--model-url": "changes the model",
    "--override-generation-config": "changes the sampling that is measured",
    "--port": "is set by the operator",
    "--quantization": "changes the model",
    "--reasoning-parser-plugin": "runs code",
    "--revision": "changes the model",
    "--served-model-name": "is spec.model.servedName",
    "--slot-save-path": "opens the file system",
    "--spec-draft-model": "is spec.speculation.drafter",
    "--spec-draft-n-max": "is what the operator tunes",
    "--spec-type": "is spec.speculation.method",
    "--speculative-config": "is what the operator tunes",
    "--spec-config": "is what the operator tunes",
    "--ssl-certfile": "is not supported",
    "--ssl-keyfile": "is not supported",
    "--tokenizer": "changes the model",
    "--tool-parser-plugin": "runs code",
    "--tool-server": "opens the network",
    "--tools": "runs code",
    "--trust-remote-code": "runs code of the model's repository",
    "--trust-request-mm-kwargs": "runs code of requests",
    "--uds": "is set by the operator",
    "--worker-cls": "runs code",
    "--worker-extension-cls": "runs code",
}
"""Engine flags that would change the model, open the network or run code, and why each is refused."""

_URI_RULES = (
    rule("self.size() > 0", "must not be empty; write pvc://<claim>/<path>"),
    rule(
        "self.size() == 0 || self.startsWith('pvc://')",
        "has an unknown scheme; supported is pvc://<claim>/<path>, a folder or file on a PersistentVolumeClaim "
        "of the same namespace",
    ),
    rule(
        r"!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9][-A-Za-z0-9._]*)*$')",
        "must be pvc://<claim>/<path>: the claim's name, then folders and files of letters, digits, '-', '_' and '.', "
        "none starting with a '.'",
    ),
)

Uri = Annotated[
    str,
    Field(
        max_length=512,
        description="Where the weights are: pvc://<claim>/<path> names a folder (safetensors) or a file (GGUF) on a "
        "PersistentVolumeClaim of the same namespace. Example: pvc://weights/qwen3.6-27b",
        json_schema_extra=validated(*_URI_RULES),
    ),
]


class ModelSource(Schema):
    """The target model."""

    uri: Uri
    served_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/:]*$",
            description="The name that clients put into `model` of a request. Default: metadata.name.",
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
        int, Field(ge=1024, le=1_048_576, description="Longest prompt plus output of one request, in tokens.")
    ] = 4096
    max_num_seqs: Annotated[
        int, Field(ge=1, le=1024, description="Requests that are decoded together; the rest waits.")
    ] = 8
    gpu_memory_utilization_percent: Annotated[
        int | None,
        Field(ge=1, le=100, description="Share of the GPU's memory that vLLM takes. Default: vLLM's own."),
    ] = None
    tensor_parallel_size: Annotated[
        int, Field(ge=1, le=16, description="GPUs that share one copy of the model; at most accelerator.count.")
    ] = 1
    prefix_caching: Annotated[
        PrefixCaching,
        Field(description="Disabled measures what decoding gives; Enabled also reuses equal prefixes of prompts."),
    ] = PrefixCaching.DISABLED


class LlamaCppSettings(Schema):
    """Settings of llama.cpp's llama-server."""

    context_size: Annotated[
        int, Field(ge=1024, le=1_048_576, description="Longest prompt plus output of one request (slot), in tokens.")
    ] = 4096
    parallel: Annotated[int, Field(ge=1, le=256, description="Slots: requests that are decoded together.")] = 1
    gpu_layers: Annotated[
        int, Field(ge=-1, le=1024, description="Layers kept on the GPU; -1 keeps all of them there.")
    ] = -1
    flash_attention: Annotated[FlashAttention, Field(description="Whether flash attention kernels are used.")] = (
        FlashAttention.ENABLED
    )


_ARGUMENT_NAME = "self.split('=')[0]"

ExtraArgument = Annotated[
    str,
    Field(
        max_length=512,
        json_schema_extra=validated(
            rule(
                r"self.matches('^--[a-z0-9][-a-z0-9]*(=[^\\n\\r]*)?$')",
                "must be one long flag, with its value after '=': --flag or --flag=value",
            ),
            rule(
                f"!({_ARGUMENT_NAME} in {sorted(REFUSED_ARGUMENTS)!r})",
                "is a flag that is set by another field or by the operator, changes the model, opens the network or "
                "runs code; see the list in docs/api-reference.md",
            ),
        ),
    ),
]


class EngineSpec(Schema):
    """The engine: a union, in which only the member of `type` may be set."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule("self.type == 'VLLM' || !has(self.vllm)", "vllm may be set only where engine.type is VLLM"),
            rule(
                "self.type == 'LlamaCpp' || !has(self.llamaCpp)",
                "llamaCpp may be set only where engine.type is LlamaCpp",
            ),
        )
    )

    type: Annotated[EngineType, Field(description="The engine: VLLM or LlamaCpp.")]
    image: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=512,
            pattern=r"^[a-z0-9][^\s]*$",
            description="The engine's image. Its entry point must be the engine's server (`vllm serve`, "
            "`llama-server`). Default: the operator's pinned image of this type, resolved once into status.resolved.",
        ),
    ] = None
    vllm: Annotated[VLLMSettings | None, Field(alias="vllm", description="Settings of vLLM.")] = None
    llama_cpp: Annotated[LlamaCppSettings | None, Field(description="Settings of llama.cpp.")] = None
    extra_args: Annotated[
        tuple[ExtraArgument, ...],
        Field(
            max_length=32,
            description="Further flags of the engine, one item a flag with its value after '='; never a shell. "
            'Example: --limit-mm-per-prompt={"image":0}',
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
            Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")],
            ...,
        ],
        Field(
            max_length=16,
            description="Accepted values of nvidia.com/gpu.product. Empty: any. "
            "Example: NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    compute_capabilities: Annotated[
        tuple[Annotated[str, Field(max_length=8, pattern=r"^[0-9]{1,2}\.[0-9]$")], ...],
        Field(
            max_length=8,
            description="Accepted compute capabilities. Empty: any. sm_100 (10.0) and sm_120 (12.0) are both Blackwell "
            "and need different kernels.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    count: Annotated[int, Field(ge=1, le=16, description="GPUs of one engine.")] = 1
    resource_name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
            description="The extended resource that stands for one GPU, for example nvidia.com/gpu or "
            "nvidia.com/mig-2g.48gb.",
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
                "self.method != 'DraftModel' || has(self.drafter)",
                "drafter is missing: method DraftModel needs spec.speculation.drafter.uri",
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

    concurrency: Annotated[int, Field(ge=1, le=1024, description="Requests in flight at any time (closed loop).")]
    weight: Annotated[int, Field(ge=1, le=100, description="Weight of this level in the objective.")] = 1


class Workload(Schema):
    """What trials run."""

    output_tokens: Annotated[
        int, Field(ge=16, le=32_768, description="Output tokens asked of each request (max_tokens).")
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
        int, Field(ge=1, le=64, description="Boots of the engine at most; lost ones (node gone, preempted) are free.")
    ] = 24
    max_gpu_minutes: Annotated[
        int, Field(ge=1, le=100_000, alias="maxGPUMinutes", description="GPU minutes at most, over all trials.")
    ] = 240
