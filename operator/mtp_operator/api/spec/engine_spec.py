"""The inference engine: its type, image, settings, flags and variables."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated
from mtp_operator.api.engines import FLAGS, VARIABLES, llamacpp_settings, vllm_settings
from mtp_operator.api.engines.llamacpp_settings import LlamaCppSettings
from mtp_operator.api.engines.vllm_settings import VLLMSettings

FLOORS: Final = {"VLLM": vllm_settings.FLOOR, "LlamaCpp": llamacpp_settings.FLOOR}
"""The oldest versions of engines that work, by `engine.type`."""


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
            stated = (self.vllm or VLLMSettings()).max_model_len
            return stated if stated is not None and stated > 0 else None
        return (self.llama_cpp or LlamaCppSettings()).context_size

    @property
    def decoded_together(self) -> int | None:
        """Requests that are decoded together; None where that is left to the engine."""
        if self.type is EngineType.VLLM:
            vllm = self.vllm or VLLMSettings()
            return vllm.max_num_seqs and vllm.max_num_seqs * vllm.data_parallel_size
        return (self.llama_cpp or LlamaCppSettings()).parallel
