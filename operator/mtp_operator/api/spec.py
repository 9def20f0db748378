"""The parts of a spec that an MTPModel states and an MTPTuningRun keeps: model, engine, GPU, speculation, workload."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .base import MAX_CONSTRAINTS, MAX_LEVELS, MAX_N_SPEC, Schema, rule, validated
from .weights import SecretKey, WeightsSource

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
    "--data-parallel-rpc-port": "opens the network",
    "--data-parallel-supervisor-port": "opens the network",
    "--default-mm-loras": "changes the model",
    "--distributed-executor-backend": "starts other processes",
    "--docker-repo": "changes the model",
    "--ec-transfer-config": "opens the network",
    "--enable-lora": "changes the model",
    "--enable-mm-embeds": "lets requests crash the engine",
    "--enable-prompt-embeds": "lets requests crash the engine",
    "--fault-tolerance-config": "opens the network",
    "--generation-config": "changes the sampling that is measured",
    "--grpc": "is set by the operator",
    "--grpc-port": "opens the network",
    "--headless": "is set by the operator",
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
    "--master-port": "opens the network",
    "--mcp-servers-config": "runs code",
    "--mcp-servers-json": "runs code",
    "--media-path": "opens the file system",
    "--middleware": "runs code",
    "--mm-encoder-fp8-scale-save-path": "opens the file system",
    "--mmproj-url": "changes the model",
    "--model": "is spec.model.uri",
    "--model-class-overrides": "changes the model",
    "--model-draft": "is spec.speculation.drafter",
    "--model-loader-extra-config": "changes the model",
    "--model-url": "changes the model",
    "--models-dir": "changes the model",
    "--models-preset": "changes the model",
    "--nnodes": "opens the network",
    "--node-rank": "opens the network",
    "--otlp-traces-endpoint": "opens the network",
    "--override-generation-config": "changes the sampling that is measured",
    "--override-kv": "changes the model",
    "--path": "opens the file system",
    "--port": "is set by the operator",
    "--profiler-config": "opens the file system",
    "--props": "lets any client change the server",
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
    "--structured-outputs-config": "can run code",
    "--tokenizer": "changes the model",
    "--tokenizer-revision": "changes the model",
    "--tool-parser-plugin": "runs code",
    "--tool-server": "opens the network",
    "--tools": "runs code",
    "--tools-runtime": "runs code",
    "--trust-remote-code": "is spec.engine.vllm.trustRemoteCode",
    "--trust-request-chat-template": "runs code of requests",
    "--trust-request-mm-kwargs": "runs code of requests",
    "--uds": "is set by the operator",
    "--ui-mcp-proxy": "opens the network",
    "--video-ffmpeg-dir": "runs code",
    "--watermark-config": "changes the sampling that is measured",
    "--webui-mcp-proxy": "opens the network",
    "--weight-transfer-config": "changes the model",
    "--worker-cls": "runs code",
    "--worker-extension-cls": "runs code",
}
"""Engine flags that would change the model, open the network or run code, and why each is refused.

The beginning of one is refused as well, because vLLM takes it for the flag.
"""

REFUSED_VARIABLES: Final[dict[str, str]] = {
    "BASH_ENV": "runs code",
    "CC": "runs code",
    "CUDA_INJECTION64_PATH": "runs code",
    "CUDA_VISIBLE_DEVICES": "is set by the device plugin or driver",
    "CXX": "runs code",
    "DO_NOT_TRACK": "is set by the operator",
    "GCONV_PATH": "runs code",
    "GGML_BACKEND_PATH": "runs code",
    "HF_*": "changes where models come from",
    "HOME": "is set by the operator",
    "HTTPS_PROXY": "opens the network",
    "HTTP_PROXY": "opens the network",
    "HUGGING_FACE_HUB_TOKEN": "puts a secret into the pod",
    "LD_*": "runs code",
    "LLAMA_API_KEY": "locks the bench out",
    "LLAMA_ARG_*": "is a flag in disguise: write it into extraArgs",
    "LOGNAME": "is set by the operator",
    "MODELSCOPE_*": "changes where models come from",
    "NCCL_NET_PLUGIN": "runs code",
    "NCCL_PROFILER_PLUGIN": "runs code",
    "NCCL_TUNER_PLUGIN": "runs code",
    "NVIDIA_*": "is set by the device plugin or driver",
    "OTEL_*": "opens the network",
    "PATH": "runs code",
    "PYTHON*": "runs code",
    "RAY_*": "opens the network",
    "SSL_*": "changes who is trusted",
    "TRANSFORMERS_*": "changes where models come from",
    "USER": "is set by the operator",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "runs code of requests",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "lets any client change the model",
    "VLLM_API_KEY": "locks the bench out",
    "VLLM_CACHE_ROOT": "moves the caches",
    "VLLM_CONFIGURE_LOGGING": "hides why the engine fails",
    "VLLM_CONFIG_ROOT": "moves the caches",
    "VLLM_CUDART_SO_PATH": "runs code",
    "VLLM_HOST_IP": "opens the network",
    "VLLM_LOGGING_CONFIG_PATH": "is set by the operator",
    "VLLM_NCCL_SO_PATH": "runs code",
    "VLLM_NO_USAGE_STATS": "is set by the operator",
    "VLLM_PLUGINS": "runs code",
    "VLLM_PORT": "opens the network",
    "VLLM_SERVER_DEV_MODE": "lets any client change the server",
    "VLLM_USE_MODELSCOPE": "changes where models come from",
    "XDG_*": "moves the caches",
    "http_proxy": "opens the network",
    "https_proxy": "opens the network",
}
"""Environment variables that would change the model, open the network or run code, and why each is refused.

An asterisk stands for any ending.
"""

_FLAGS_OF_THEIR_OWN: Final = ("--mmproj", "--reasoning", "--reasoning-parser", "--ui", "--webui")
"""Flags of an engine that a refused one happens to begin with."""


class ModelSource(WeightsSource):
    """The target model."""

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
    token_secret_ref: Annotated[
        SecretKey | None,
        Field(
            description="The hub's token, for a gated or private repository; a drafter of its own is fetched with it "
            "too. Only the fetching pod sees it, as a file."
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


class TrustRemoteCode(StrEnum):
    """Whether Python code of the model's repository may run."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class FlashAttention(StrEnum):
    """Whether llama.cpp uses its flash attention kernels."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class VLLMSettings(Schema):
    """Settings of vLLM."""

    max_model_len: Annotated[
        int | None,
        Field(
            ge=LEAST_CONTEXT_TOKENS,
            le=1_048_576,
            description="Longest prompt plus output of one request, in tokens. Default: vLLM's own, the model's.",
        ),
    ] = None
    max_num_seqs: Annotated[
        int | None,
        Field(ge=1, le=1024, description="Requests that are decoded together; the rest waits. Default: vLLM's own."),
    ] = None
    gpu_memory_utilization_percent: Annotated[
        int | None,
        Field(ge=1, le=100, description="Share of the GPU's memory that vLLM takes. Default: vLLM's own."),
    ] = None
    tensor_parallel_size: Annotated[
        int, Field(ge=1, description="GPUs that share one copy of the model; at most accelerator.count.")
    ] = 1
    prefix_caching: Annotated[
        PrefixCaching | None,
        Field(
            description="Whether equal prefixes of prompts are reused. Default: vLLM's own. Trials measure without "
            "reuse in either case: each of their requests has a cache of its own."
        ),
    ] = None
    trust_remote_code: Annotated[
        TrustRemoteCode,
        Field(
            description="Enabled runs Python code that lies beside the weights, with all that the engine's pod may do; "
            "only for a model that vLLM does not know by itself, from a repository that you have read."
        ),
    ] = TrustRemoteCode.DISABLED


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


_REFUSED_BY_NAME = (
    f"{sorted(REFUSED_VARIABLES)!r}.filter(one, one.endsWith('*') ? "
    "self.startsWith(one.substring(0, one.size() - 1)) : self == one)"
)


class EnvironmentVariable(Schema):
    """An environment variable of the engine."""

    name: Annotated[
        str,
        Field(
            max_length=64,
            description="Its name. Some names are refused.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
                    "must be letters, digits and '_', and not start with a digit",
                ),
                rule(
                    f"{_REFUSED_BY_NAME}.size() == 0",
                    "must not be a variable that the operator sets, that changes the model, opens the network or runs "
                    "code; the API reference lists them",
                    message_expression=f"'must not be ' + self + ', which ' + "
                    f"{REFUSED_VARIABLES!r}[{_REFUSED_BY_NAME}[0]]",
                ),
            ),
        ),
    ]
    value: Annotated[str, Field(max_length=512, description="Its value, taken literally.")]


@dataclass(frozen=True)
class Floor:
    """The oldest version of an engine that works.

    Attributes:
        older: a regular expression for tags of the engine's own images below it.
        message: what is allowed, and why.
    """

    older: str
    message: str


FLOORS: Final = {
    EngineType.VLLM: Floor(
        r"/vllm-openai[^:@]*:v0[.]([0-9]|[12][0-9]|30)([.-]|$)",
        "must be vLLM 0.31 or later: requests can run code in earlier versions, hang them, or end them while they "
        "speculate",
    ),
    EngineType.LLAMA_CPP: Floor(
        # 0.7.0 is build 11669.
        "/llama[.]cpp:[^@]*-(v0[.][0-6]([.-]|$)|b([0-9]{1,4}|10[0-9]{3}|11[0-5][0-9]{2}|116[0-5][0-9]|1166[0-8])$)",
        "must be llama.cpp 0.7.0 (b11669) or later: earlier versions count no drafts, do not know all flags, or "
        "speculate wrongly",
    ),
}


class EngineSpec(Schema):
    """The inference engine and its settings; only the settings of `type` may be set."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            *(
                rule(
                    f"self.type != '{engine}' || !has(self.image) || !self.image.matches('{floor.older}')",
                    floor.message,
                    field_path=".image",
                )
                for engine, floor in FLOORS.items()
            ),
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
    env: Annotated[
        tuple[EnvironmentVariable, ...],
        Field(
            max_length=32,
            description="Further environment variables of the engine, for example NCCL_P2P_DISABLE. Some are refused.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()

    @property
    def context_tokens(self) -> int | None:
        """Longest prompt plus output of one request; None where that is left to the engine."""
        if self.type is EngineType.VLLM:
            return (self.vllm or VLLMSettings()).max_model_len
        return (self.llama_cpp or LlamaCppSettings()).context_size

    @property
    def decoded_together(self) -> int | None:
        """Requests that are decoded together; None where that is left to the engine."""
        if self.type is EngineType.VLLM:
            return (self.vllm or VLLMSettings()).max_num_seqs
        return (self.llama_cpp or LlamaCppSettings()).parallel


class Architecture(StrEnum):
    """GPU architecture."""

    BLACKWELL = "Blackwell"
    ANY = "Any"


class Allocation(StrEnum):
    """How a pod gets its GPUs."""

    DEVICE_PLUGIN = "DevicePlugin"
    DYNAMIC_RESOURCE_ALLOCATION = "DynamicResourceAllocation"


_WHOLE_GPU: Final = "nvidia.com/gpu"


class AcceleratorSpec(Schema):
    """The GPU that trials run on, chosen by node labels or by the attributes of the device."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "!has(self.allocation) || !has(self.resourceName) || self.allocation == 'DevicePlugin' || "
                f"self.resourceName == '{_WHOLE_GPU}'",
                "must be left out where allocation is DynamicResourceAllocation, which knows no extended resources",
                field_path=".resourceName",
            )
        )
    )

    architecture: Annotated[
        Architecture,
        Field(
            description="Blackwell asks for nodes with nvidia.com/gpu.family=blackwell, or with "
            "DynamicResourceAllocation for devices of that architecture; Any lifts the constraint."
        ),
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
            description="Accepted values of nvidia.com/gpu.product, or product names of devices with '-' for each "
            "blank. Empty: any. An example is NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition.",
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
    allocation: Annotated[
        Allocation,
        Field(
            description="DevicePlugin asks for resourceName; DynamicResourceAllocation claims devices of the class "
            "gpu.nvidia.com by a ResourceClaimTemplate (Kubernetes 1.34 and NVIDIA's DRA driver)."
        ),
    ] = Allocation.DEVICE_PLUGIN
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
    ] = _WHOLE_GPU


class SpeculationMethod(StrEnum):
    """Where draft tokens come from."""

    MTP = "MTP"
    DRAFT_MODEL = "DraftModel"
    EAGLE3 = "Eagle3"
    N_GRAM = "NGram"


class Drafter(WeightsSource):
    """A model of its own that drafts."""


class SpeculationMethodSpec(Schema):
    """How tokens are drafted."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                # The API server holds the rule against the default {} before it fills in the method.
                "!has(self.method) || !(self.method in ['DraftModel', 'Eagle3']) || has(self.drafter)",
                "must be set where method is DraftModel or Eagle3: drafter.uri names the model that drafts",
                field_path=".drafter",
            ),
            rule(
                "!has(self.method) || self.method != 'NGram' || !has(self.drafter)",
                "must be left out where method is NGram, which drafts from the request's own text",
                field_path=".drafter",
            ),
        )
    )

    method: Annotated[
        SpeculationMethod,
        Field(
            description="MTP drafts with heads trained into the model, or with an assistant (drafter) that shares its "
            "KV cache; DraftModel drafts with a small model of its own (drafter); Eagle3 with a head trained for the "
            "model (drafter); NGram repeats what followed the last four tokens earlier in the request."
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


class PromptCategory(StrEnum):
    """A kind of built-in prompts."""

    CODE = "Code"
    CHAT = "Chat"
    SUMMARIZE = "Summarize"
    JSON = "JSON"


class ConfigMapPrompts(Schema):
    """A file of prompts in a ConfigMap."""

    name: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the ConfigMap, in the model's namespace.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "must be the name of a ConfigMap: lower-case letters, digits, '-' and '.', with a letter or digit "
                    "at both ends",
                )
            ),
        ),
    ]
    key: Annotated[
        str,
        Field(
            max_length=253,
            description="The key that holds the prompts as JSONL.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[-._A-Za-z0-9]+$')",
                    "must be a key of a ConfigMap: letters, digits, '-', '_' and '.', for example prompts.jsonl",
                )
            ),
        ),
    ]


class ClaimPrompts(Schema):
    """A file of prompts on a PersistentVolumeClaim."""

    claim: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the PersistentVolumeClaim, in the model's namespace.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "must be the name of a PersistentVolumeClaim: lower-case letters, digits, '-' and '.', with a "
                    "letter or digit at both ends",
                )
            ),
        ),
    ]
    path: Annotated[
        str,
        Field(
            max_length=512,
            description="The JSONL file, from the volume's root on, for example prompts/support.jsonl.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9][-A-Za-z0-9._]*)*$')",
                    "must be a file below the volume's root: folders and a file of letters, digits, '-', '_' and '.', "
                    "each starting with a letter or digit, joined by '/'",
                )
            ),
        ),
    ]


class Prompts(Schema):
    """Where prompts come from: the built-in ones, or a JSONL file of the user's own."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "[has(self.builtIn), has(self.configMap), has(self.pvc)].filter(one, one).size() == 1",
                "must have exactly one of builtIn, configMap and pvc",
            )
        )
    )

    built_in: Annotated[
        tuple[PromptCategory, ...] | None,
        Field(
            min_length=1,
            max_length=len(PromptCategory),
            description="Categories of the built-in prompts, measured in equal parts. Code asks for programs; Chat for "
            "advice and explanations; Summarize for a short form of a given text; JSON for structured data.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    config_map: Annotated[
        ConfigMapPrompts | None,
        Field(
            description="Prompts of your own in a ConfigMap, as JSONL: one object a line, "
            '{"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}, and optionally "category": "…". '
            "Categories are measured in equal parts. A line that is wrong ends the tuning with PromptsUnusable."
        ),
    ] = None
    pvc: Annotated[
        ClaimPrompts | None,
        Field(description="Prompts of your own in a file on a PersistentVolumeClaim, as in configMap."),
    ] = None


class SamplingMode(StrEnum):
    """How a token is chosen."""

    GREEDY = "Greedy"
    MODEL_DEFAULTS = "ModelDefaults"
    CUSTOM = "Custom"


_ONLY_CUSTOM: Final = "may be set only where mode is Custom"


class Sampling(Schema):
    """How the engine chooses each token; what is set here is sent with every request."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            # The API server holds the rules against the default {} before it fills in the mode.
            rule(
                "!has(self.mode) || self.mode != 'Custom' || has(self.temperatureMilli)",
                "must be set where mode is Custom",
                field_path=".temperatureMilli",
            ),
            rule(
                "!has(self.temperatureMilli) || (has(self.mode) && self.mode == 'Custom')",
                _ONLY_CUSTOM,
                field_path=".temperatureMilli",
            ),
            rule(
                "!has(self.topPMilli) || (has(self.mode) && self.mode == 'Custom')",
                _ONLY_CUSTOM,
                field_path=".topPMilli",
            ),
            rule("!has(self.topK) || (has(self.mode) && self.mode == 'Custom')", _ONLY_CUSTOM, field_path=".topK"),
        )
    )

    mode: Annotated[
        SamplingMode,
        Field(
            description="ModelDefaults sends nothing, as most clients do: the model's generation_config.json applies "
            "(llama.cpp: what the GGUF file or llama-server says). Greedy always takes the likeliest token. Custom "
            "sends the values below. The output check is greedy in each mode."
        ),
    ] = SamplingMode.MODEL_DEFAULTS
    temperature_milli: Annotated[
        int | None,
        Field(ge=0, le=2000, description="Temperature in thousandths, where mode is Custom: 700 is 0.7."),
    ] = None
    top_p_milli: Annotated[
        int | None,
        Field(
            alias="topPMilli",
            ge=1,
            le=1000,
            description="Nucleus (top_p) in thousandths, where mode is Custom: 950 is 0.95. Default: 1000, all of it.",
        ),
    ] = None
    top_k: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="Only this many of the likeliest tokens are drawn from, where mode is Custom. Default: all.",
        ),
    ] = None


DEFAULT_CONCURRENCY: Final = 8
"""The busier of the two levels that are measured where none are stated."""


class Workload(Schema):
    """The load that every n_spec is measured under."""

    prompts: Annotated[
        Prompts | None,
        Field(description="What is asked: builtIn, configMap or pvc. Default: builtIn with all categories."),
    ] = None
    sampling: Annotated[
        Sampling, Field(description="How the engine chooses each token; what is set here is sent with every request.")
    ] = Sampling()
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
            max_length=MAX_LEVELS,
            description="Concurrencies, each measured in the same boot of the engine. The objective is the weighted "
            "geometric mean over them. Default: 1, and 8 or what the engine decodes together, if that is less.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["concurrency"]},
        ),
    ] = ()

    def of(self, engine: EngineSpec) -> "Workload":
        """The workload in effect with this engine: levels are stated, prompts that only state the default are not."""
        busiest = min(DEFAULT_CONCURRENCY, engine.decoded_together or DEFAULT_CONCURRENCY)
        levels = self.levels or tuple(Level(concurrency=one) for one in sorted({1, busiest}))
        is_default = set(self.prompt_source.built_in or ()) == set(PromptCategory)
        return self.model_copy(update={"levels": levels, "prompts": None if is_default else self.prompts})

    @property
    def prompt_source(self) -> Prompts:
        """Where prompts come from, with the default.

        The API server does not fill it in: beside a stored builtIn, `kubectl apply` of a configMap would be refused.
        """
        return self.prompts or Prompts(built_in=tuple(PromptCategory))


class Maximize(StrEnum):
    """What the best n_spec has most of."""

    OUTPUT_THROUGHPUT = "OutputThroughput"
    INTERACTIVITY = "Interactivity"


class LatencyMetric(StrEnum):
    """A quantile over requests of a latency."""

    P50_TTFT = "P50TimeToFirstToken"
    P95_TTFT = "P95TimeToFirstToken"
    P99_TTFT = "P99TimeToFirstToken"
    P50_TPOT = "P50TimePerOutputToken"
    P95_TPOT = "P95TimePerOutputToken"
    P99_TPOT = "P99TimePerOutputToken"
    P50_REQUEST_LATENCY = "P50RequestLatency"
    P95_REQUEST_LATENCY = "P95RequestLatency"
    P99_REQUEST_LATENCY = "P99RequestLatency"


class LatencyConstraint(Schema):
    """A limit on a latency at one level."""

    metric: Annotated[
        LatencyMetric,
        Field(
            description="A quantile over requests. TimeToFirstToken: from sending to the first token of any kind. "
            "TimePerOutputToken: the time after that, divided by the output tokens less one. RequestLatency: from "
            "sending to the end of the answer."
        ),
    ]
    concurrency: Annotated[
        int, Field(ge=1, description="The level that the limit is for: a concurrency of workload.levels.")
    ]
    max_milliseconds: Annotated[
        int, Field(ge=1, le=3_600_000, description="The largest value that is accepted, in milliseconds.")
    ]


class SlowerLevels(StrEnum):
    """Whether a level may pay for another one."""

    FORBID = "Forbid"
    ALLOW = "Allow"


class Objective(Schema):
    """What makes one n_spec better than another."""

    maximize: Annotated[
        Maximize,
        Field(
            description="OutputThroughput: output tokens per second of all requests together. Interactivity: output "
            "tokens per second that one request sees, 1 / TimePerOutputToken."
        ),
    ] = Maximize.OUTPUT_THROUGHPUT
    constraints: Annotated[
        tuple[LatencyConstraint, ...],
        Field(
            max_length=MAX_CONSTRAINTS,
            description="Limits that an n_spec must keep to be chosen, with 95 % confidence. A P50 or P95 needs 60 "
            "measured requests at its level, a P99 299; what two boots cannot prove counts as not kept.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["metric", "concurrency"],
            },
        ),
    ] = ()
    slower_levels: Annotated[
        SlowerLevels,
        Field(
            description="Forbid chooses no n_spec that is expected to be slower than n=0 at some level. Allow: the "
            "weighted mean over all levels decides."
        ),
    ] = SlowerLevels.FORBID


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
        int | None,
        Field(
            ge=1,
            le=100_000,
            alias="maxGPUMinutes",
            description="GPU minutes of all trials together, which is minutes times GPUs. Default: no limit.",
        ),
    ] = None
