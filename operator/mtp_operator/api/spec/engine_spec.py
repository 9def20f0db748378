"""The inference engine: its type, image, settings, flags and variables."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated
from mtp_operator.api.engines import FLAGS, VARIABLES, llamacpp_settings, sglang_settings, vllm_settings
from mtp_operator.api.engines.llamacpp_settings import LlamaCppSettings
from mtp_operator.api.engines.sglang_settings import SGLangSettings
from mtp_operator.api.engines.vllm_settings import VLLMSettings

FLOORS: Final = {
    "VLLM": vllm_settings.FLOOR,
    "LlamaCpp": llamacpp_settings.FLOOR,
    "SGLang": sglang_settings.FLOOR,
}
"""The oldest versions of engines that work, by `engine.type`."""


MEMBERS: Final = {"VLLM": "vllm", "LlamaCpp": "llamaCpp", "SGLang": "sglang"}
"""The fields with an engine's own settings, in `engine` and in `speculation`, by `engine.type`."""


class EngineType(StrEnum):
    """Which inference engine serves the model."""

    VLLM = "VLLM"
    LLAMA_CPP = "LlamaCpp"
    SGLANG = "SGLang"


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
            *(
                rule(
                    f"self.type == '{engine}' || !has(self.{member})",
                    f"may be set only where type is {engine}",
                    field_path=f".{member}",
                )
                for engine, member in MEMBERS.items()
            ),
            rule(
                "self.type != 'SGLang' || has(self.image)",
                "must be set where type is SGLang: the operator has no default image of it",
                field_path=".image",
            ),
        )
    )

    type: Annotated[
        EngineType,
        Field(description="VLLM is vLLM; LlamaCpp is llama.cpp's llama-server; SGLang is SGLang's own server."),
    ]
    image: Annotated[
        str | None,
        Field(
            max_length=512,
            description="The engine's image. Its entry point must be the engine's server (`vllm serve`, "
            "`llama-server`); one of SGLang has to hold the command `sglang`. Default: the operator's pinned image "
            "of this type, resolved once into status.resolved; there is none of SGLang.",
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
    sglang: Annotated[SGLangSettings | None, Field(description="Settings of SGLang, where type is SGLang.")] = None
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
    def settings(self) -> VLLMSettings | LlamaCppSettings | SGLangSettings:
        """Those of the type, with their defaults."""
        match self.type:
            case EngineType.VLLM:
                return self.vllm or VLLMSettings()
            case EngineType.LLAMA_CPP:
                return self.llama_cpp or LlamaCppSettings()
            case EngineType.SGLANG:
                return self.sglang or SGLangSettings()

    @property
    def context_tokens(self) -> int | None:
        """Longest prompt plus output of one request; None where that is left to the engine."""
        return self.settings.context_tokens

    @property
    def decoded_together(self) -> int | None:
        """Requests that are decoded together; None where that is left to the engine."""
        return self.settings.decoded_together
