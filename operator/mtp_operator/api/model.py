"""MTPModel: what a person wants served."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from .base import LEAST_CONTEXT_TOKENS, MAX_N_SPEC, Schema, Timestamp, rule, validated
from .engines import llamacpp_settings, sglang_settings
from .engines.llamacpp_settings import LlamaCppSettings
from .engines.sglang_settings import SGLangSettings
from .files import EngineFiles
from .hashing import canonical_hash
from .model_status import MTPModelStatus
from .spec import (
    BLOCK_DRAFTERS,
    MEMBERS,
    PROMPT_RESERVE_TOKENS,
    AcceleratorSpec,
    EngineSpec,
    ModelSource,
    SpeculationSpec,
    TuningMode,
    TuningSpec,
)
from .template import PodTemplateSpec
from .weights_source import StorageSpec

NAME_LIMIT: Final = 40
"""Longest name of an MTPModel: every child's name is then legal and distinct."""


class WhileTuning(StrEnum):
    """What is served before the first choice."""

    WAIT = "Wait"
    BASELINE = "Baseline"


class RolloutStrategy(StrEnum):
    """In which order an old server and a new one have the GPU."""

    SURGE = "Surge"
    IN_PLACE = "InPlace"


class RolloutSpec(Schema):
    """How servers are replaced."""

    strategy: Annotated[
        RolloutStrategy,
        Field(
            description="Surge starts a new server before an old one ends, and trials beside servers: it takes GPUs "
            "for one more. InPlace frees the GPU first, for a cluster without a spare one: with one replica nothing "
            "is served while the new server starts, and trials and servers never run at the same time."
        ),
    ] = RolloutStrategy.SURGE


class ServingSpec(Schema):
    """How the model is served with the n_spec that was chosen."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                # The API server holds the rule against the default {} before it fills in what is below.
                "!has(self.whileTuning) || self.whileTuning != 'Baseline' || !has(self.rollout) || "
                "!has(self.rollout.strategy) || self.rollout.strategy != 'InPlace'",
                "must be Wait where rollout.strategy is InPlace: the trials have the GPU",
                field_path=".whileTuning",
            )
        )
    )

    replicas: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Servers, each with accelerator.count GPUs. 0 serves nothing: the model is only tuned. "
            "`kubectl scale` and autoscalers set it.",
        ),
    ] = 1
    port: Annotated[int, Field(ge=1, le=65_535, description="Port of the Service, which has the model's name.")] = 8000
    while_tuning: Annotated[
        WhileTuning,
        Field(
            description="Before the first choice: Wait starts no server, so that the first one is tuned; Baseline "
            "serves without speculation (n_spec=0) meanwhile, beside the trials."
        ),
    ] = WhileTuning.WAIT
    rollout: Annotated[RolloutSpec, Field(description="How servers are replaced.")] = RolloutSpec()


_LLAMA_CPP: Final = LlamaCppSettings()
_SGLANG: Final = SGLangSettings()


def _engine_setting(vllm: str, llama_cpp: str, sglang: str) -> str:
    """CEL for what all engines have under different names."""
    return f"(self.engine.type == 'VLLM' ? ({vllm}) : self.engine.type == 'SGLang' ? ({sglang}) : ({llama_cpp}))"


def _stated(path: str, default: int, times: str = "") -> str:
    """CEL for a setting of `engine`: what is stated and more than 0, else the default."""
    member, place = f"self.engine.{path.partition('.')[0]}", f"self.engine.{path}"
    return f"has({member}) && has({place}) && {place} > 0 ? {place}{times} : {default}"


# What is left to the engine may be the most that the field takes.
_CONTEXT_TOKENS: Final = _engine_setting(
    _stated("vllm.maxModelLen", 1_048_576),
    _stated("llamaCpp.contextSize", _LLAMA_CPP.context_size),
    _stated("sglang.contextLength", 1_048_576),
)
_DECODED_TOGETHER: Final = _engine_setting(
    _stated("vllm.maxNumSeqs", 1024, " * self.engine.vllm.dataParallelSize"),
    _stated("llamaCpp.parallel", _LLAMA_CPP.parallel),
    _stated("sglang.maxRunningRequests", _SGLANG.max_running_requests),
)


_METHODS: Final = {"LlamaCpp": llamacpp_settings.METHODS, "SGLang": sglang_settings.METHODS}
"""Methods of the engines that have not all of them."""

_FROM_HUB: Final = (
    "(self.model.uri.startsWith('hf://') || "
    "has(self.speculation.drafter) && self.speculation.drafter.uri.startsWith('hf://'))"
)


_FETCHED_FILE: Final = "self.model.uri.matches('^hf://[^/]+/[^/]+/')"
_TUNED: Final = "(self.tuning.mode == 'Advisory' || self.tuning.mode == 'Auto' && !has(self.speculation.nSpec))"
_DRAFTS_FROM: Final = "(has(self.speculation.drafter) ? self.speculation.drafter.uri : self.model.uri)"


def _loadable(uri: str, field_path: str, applies: str) -> tuple[dict[str, str], ...]:
    """What an engine can load of a URI that is in order."""
    return (
        rule(
            f"!({applies}) || self.engine.type != 'LlamaCpp' || !{uri}.matches('^(pvc://[^/]|hf://[^/]+/[^/])') || "
            f"{uri}.endsWith('.gguf')",
            "must name a .gguf file where engine.type is LlamaCpp",
            field_path=field_path,
        ),
        rule(
            f"!({applies}) || self.engine.type != 'LlamaCpp' || !{uri}.matches('^oci://[^/]+/[^/]') || "
            f"{uri}.matches('^oci://[^/]+/[^:@]+[:@][^/]+/.*[.]gguf$')",
            "must name a .gguf file where engine.type is LlamaCpp, after the image's tag or digest: "
            "oci://<registry>/<repository>:<tag>/<file>.gguf",
            field_path=field_path,
        ),
        rule(
            f"!({applies}) || self.engine.type == 'LlamaCpp' || !{uri}.matches('^hf://[^/]+/[^/]+/')",
            "must be hf://<organization>/<repository> where engine.type is VLLM or SGLang, which load a whole "
            "repository",
            field_path=field_path,
        ),
    )


def _parallel(member: str) -> tuple[dict[str, str], ...]:
    """The GPUs of an engine that splits a model, and runs several copies of it."""
    engine = f"self.engine.{member}"
    return (
        rule(
            f"!has({engine}) || {engine}.tensorParallelSize <= [self.accelerator.count, 1].max()",
            "must be at most accelerator.count (default 1)",
            field_path=f".engine.{member}.tensorParallelSize",
        ),
        rule(
            f"!has({engine}) || {engine}.dataParallelSize < 2 || "
            f"{engine}.tensorParallelSize * {engine}.dataParallelSize <= "
            f"[self.accelerator.count, {engine}.tensorParallelSize].max()",
            "must be at most accelerator.count (default 1) divided by tensorParallelSize (default 1)",
            field_path=f".engine.{member}.dataParallelSize",
        ),
    )


class MTPModelSpec(Schema):
    """What is wanted. The operator never writes here."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            *_loadable("self.model.uri", ".model.uri", "true"),
            *_loadable("self.speculation.drafter.uri", ".speculation.drafter.uri", "has(self.speculation.drafter)"),
            rule(
                f"has(self.storage) || !({_FROM_HUB})",
                "must be set where model.uri or speculation.drafter.uri begins with hf://: storage.existingClaim or "
                "storage.newClaim says where the fetched weights are kept",
                field_path=".storage",
            ),
            rule(
                f"!has(self.storage) || has(self.storage.cacheClaim) || {_FROM_HUB}",
                "may name only cacheClaim where neither model.uri nor speculation.drafter.uri begins with hf://: "
                "nothing is fetched",
                field_path=".storage",
            ),
            rule(
                f"!has(self.storage) || !has(self.storage.cacheClaim) || !{_FROM_HUB}",
                "must be left out where model.uri or speculation.drafter.uri begins with hf://: compile caches are "
                "kept beside the fetched weights",
                field_path=".storage.cacheClaim",
            ),
            rule(
                f"!has(self.storage) || !has(self.storage.caBundle) || {_FROM_HUB}",
                "may be set only where model.uri or speculation.drafter.uri begins with hf://: nothing else is fetched",
                field_path=".storage.caBundle",
            ),
            rule(
                f"!has(self.model.mmproj) || self.engine.type == 'LlamaCpp' && {_FETCHED_FILE}",
                "may be set only where engine.type is LlamaCpp and model.uri names a file of the hub (hf://); for a "
                "projector elsewhere, write --mmproj=<path> into engine.extraArgs",
                field_path=".model.mmproj",
            ),
            rule(
                f"!has(self.model.tokenSecretRef) || {_FROM_HUB}",
                "may be set only where model.uri or speculation.drafter.uri begins with hf://: nothing else is fetched",
                field_path=".model.tokenSecretRef",
            ),
            *(
                rule(
                    f"self.engine.type != '{engine}' || self.speculation.method in {list(methods)!r}",
                    f"must be one of {', '.join(methods)} where engine.type is {engine}",
                    field_path=".speculation.method",
                )
                for engine, methods in _METHODS.items()
            ),
            rule(
                "self.engine.type != 'SGLang' || !has(self.model.aliases) || self.model.aliases.size() == 0",
                "must be left out where engine.type is SGLang, which serves a model under one name",
                field_path=".model.aliases",
            ),
            rule(
                f"!(self.speculation.method in {[str(one) for one in BLOCK_DRAFTERS]!r}) || "
                f"has(self.speculation.blockSize) || !{_TUNED} || {_DRAFTS_FROM}.matches('^hf://[^/]+/[^/]+$')",
                "must be set where method is DFlash or DSpark and the drafter's weights are not a hub repository: "
                "the most tokens that it drafts at once, block_size in its config.json",
                field_path=".speculation.blockSize",
            ),
            *(
                rule(
                    f"self.engine.type == '{engine}' || !has(self.speculation.{member})",
                    f"may be set only where engine.type is {engine}",
                    field_path=f".speculation.{member}",
                )
                for engine, member in MEMBERS.items()
            ),
            *_parallel("vllm"),
            *_parallel("sglang"),
            rule(
                "!has(self.tuning.workload.levels) || self.tuning.workload.levels.all(level, "
                f"level.concurrency <= [{_DECODED_TOGETHER}, 1].max())",
                "must have no concurrency above what the engine decodes together: engine.vllm.maxNumSeqs (at most "
                f"1024) times dataParallelSize, engine.llamaCpp.parallel (default {_LLAMA_CPP.parallel}), or "
                f"engine.sglang.maxRunningRequests (default {_SGLANG.max_running_requests})",
                field_path=".tuning.workload.levels",
            ),
            rule(
                f"self.tuning.workload.outputTokens <= [{_CONTEXT_TOKENS}, {LEAST_CONTEXT_TOKENS}].max() - "
                f"{PROMPT_RESERVE_TOKENS}",
                f"must be at most the context less {PROMPT_RESERVE_TOKENS} tokens for the prompt: lower it, or raise "
                f"engine.vllm.maxModelLen, engine.llamaCpp.contextSize (default {_LLAMA_CPP.context_size}) or "
                "engine.sglang.contextLength",
                field_path=".tuning.workload.outputTokens",
            ),
        )
    )

    model: Annotated[ModelSource, Field(description="The target model.")]
    storage: Annotated[
        StorageSpec | None,
        Field(
            description="Where weights that are fetched (hf://) are kept, existingClaim or newClaim; for others "
            "(pvc://, oci://) where compile caches are, cacheClaim."
        ),
    ] = None
    engine: Annotated[
        EngineSpec, Field(description="The inference engine and its settings; only the settings of `type` may be set.")
    ]
    files: EngineFiles = ()
    accelerator: Annotated[
        AcceleratorSpec,
        Field(description="The GPU that trials run on, chosen by node labels or by the attributes of the device."),
    ] = AcceleratorSpec()
    speculation: Annotated[SpeculationSpec, Field(description="How tokens are drafted.")] = SpeculationSpec()
    template: Annotated[
        PodTemplateSpec,
        Field(
            description="The pods of trials, servers and fetches beside what the operator itself sets. A change of it "
            "replaces servers and a pod that fetches; but for resources, nothing is measured again."
        ),
    ] = PodTemplateSpec()
    tuning: Annotated[TuningSpec, Field(description="How n_spec, the number of draft tokens per step, is found.")] = (
        TuningSpec()
    )
    serving: Annotated[ServingSpec, Field(description="How the model is served with the n_spec that was chosen.")] = (
        ServingSpec()
    )

    @property
    def stated_n_spec(self) -> int | None:
        """The n_spec that is served because the spec says so; None where the choice of a tuning is served."""
        pinned = self.speculation.n_spec
        return 0 if pinned is None and self.tuning.mode is not TuningMode.AUTO else pinned

    @property
    def is_measured(self) -> bool:
        """Whether a tuning chooses an n_spec, be it served or only reported."""
        mode = self.tuning.mode
        return mode is TuningMode.ADVISORY or (mode is TuningMode.AUTO and self.speculation.n_spec is None)

    def images_hash(self) -> str:
        """What the operator's default images are resolved for: the engine, and how often a new run was asked for.

        Whatever else is edited, images that are in use stay, so that no upgrade of the operator measures or restarts.
        """
        return canonical_hash(_ResolvedFor(engine=self.engine, request=self.tuning.retune_request))


class _ResolvedFor(Schema):
    """The parts of a spec that call for the operator's default images of the moment."""

    engine: EngineSpec
    request: int


class OwnerReference(Schema):
    """Whose child an object is."""

    uid: str


class ObjectMeta(Schema):
    """The metadata that decisions read."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str | None = None
    creation_timestamp: Timestamp
    deletion_timestamp: Timestamp | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class MTPModel(Schema):
    """An LLM that drafts tokens (Multi-Token Prediction), and the n_spec that was measured to be best where it runs."""

    metadata: ObjectMeta
    spec: MTPModelSpec
    status: MTPModelStatus = MTPModelStatus()

    @property
    def block_size(self) -> int | None:
        """Most tokens that a drafter of whole blocks drafts at once; None where another drafts, or nobody knows."""
        speculation, weights = self.spec.speculation, self.status.weights
        if speculation.method not in BLOCK_DRAFTERS or speculation.block_size is not None:
            return speculation.block_size
        drafts = speculation.drafter or self.spec.model
        fetched = weights.fetched if weights is not None and drafts.is_fetched else ()
        return fetched[-1].block_size if fetched else None

    @property
    def max_n_spec(self) -> int:
        """The largest n_spec that is tried."""
        return min(self.spec.tuning.max_n_spec, self.block_size or MAX_N_SPEC)

    @classmethod
    def from_wire(cls, body: dict[str, Any]) -> "MTPModel":
        """The model that the API server sent.

        Raises:
            pydantic.ValidationError: the object does not follow this version of the API.
        """
        return cls.model_validate(body)
