"""The parts of a spec that an MTPModel states and an MTPTuningRun keeps: model, engine, GPU, speculation, workload."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .base import MAX_CONSTRAINTS, MAX_LEVELS, MAX_N_SPEC, N_GRAM_LOOKUP_TOKENS, Schema, rule, validated
from .engines import FLAGS, VARIABLES, llamacpp, vllm
from .engines.llamacpp import LlamaCppSettings, LlamaCppSpeculation
from .engines.vllm import VLLMSettings, VLLMSpeculation
from .weights import SecretKey, WeightsSource

PROMPT_RESERVE_TOKENS: Final = 512
"""Context that the workload leaves to the prompt beside its output tokens."""

FLOORS: Final = {"VLLM": vllm.FLOOR, "LlamaCpp": llamacpp.FLOOR}
"""The oldest versions of engines that work, by `engine.type`."""


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


ExtraArgument = Annotated[str, Field(max_length=512, json_schema_extra=validated(*FLAGS.rules()))]


class EnvironmentVariable(Schema):
    """An environment variable of the engine."""

    model_config = ConfigDict(json_schema_extra=validated(VARIABLES.rule()))

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
            ),
        ),
    ]
    value: Annotated[str, Field(max_length=512, description="Its value, taken literally.")]


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
    EAGLE = "Eagle"
    EAGLE3 = "Eagle3"
    DFLASH = "DFlash"
    DSPARK = "DSpark"
    N_GRAM = "NGram"
    SUFFIX = "Suffix"


NEED_DRAFTER: Final = ["DraftModel", "Eagle", "Eagle3", "DFlash"]
"""Methods that draft with a model of their own."""


class Drafter(WeightsSource):
    """A model of its own that drafts."""


class SpeculationMethodSpec(Schema):
    """How tokens are drafted."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                # The API server holds the rule against the default {} before it fills in the method.
                f"!has(self.method) || !(self.method in {NEED_DRAFTER!r}) || has(self.drafter)",
                "must be set where method is DraftModel, Eagle, Eagle3 or DFlash: drafter.uri names the model that "
                "drafts",
                field_path=".drafter",
            ),
            rule(
                "!has(self.method) || !(self.method in ['NGram', 'Suffix']) || !has(self.drafter)",
                "must be left out where method is NGram or Suffix, which draft from text that is there",
                field_path=".drafter",
            ),
            rule(
                "!has(self.vllm) || !has(self.vllm.promptLookupMin) || self.vllm.promptLookupMin <= "
                f"(has(self.vllm.promptLookupMax) ? self.vllm.promptLookupMax : {N_GRAM_LOOKUP_TOKENS})",
                f"must be at most promptLookupMax (default {N_GRAM_LOOKUP_TOKENS})",
                field_path=".vllm.promptLookupMin",
            ),
        )
    )

    method: Annotated[
        SpeculationMethod,
        Field(
            description="MTP drafts with heads trained into the model, or with an assistant (drafter) that shares its "
            "KV cache; DraftModel drafts with a small model of its own (drafter); Eagle, Eagle3 and DFlash with a head "
            "trained for the model (drafter); DSpark likewise, or with the one inside the model's checkpoint. NGram "
            "repeats what followed the last tokens earlier in the request; Suffix the longest match of any length. "
            "llama.cpp has neither Eagle nor Suffix."
        ),
    ] = SpeculationMethod.MTP
    drafter: Annotated[Drafter | None, Field(description="The model that drafts, where the method needs one.")] = None
    vllm: Annotated[
        VLLMSpeculation | None, Field(description="Further settings of vLLM's speculation, where engine.type is VLLM.")
    ] = None
    llama_cpp: Annotated[
        LlamaCppSpeculation | None,
        Field(description="Further settings of llama.cpp's speculation, where engine.type is LlamaCpp."),
    ] = None


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
