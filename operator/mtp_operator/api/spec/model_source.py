"""Which model, and what clients call it."""

from typing import Annotated, Final

from pydantic import Field

from mtp_operator.api.base import rule, validated
from mtp_operator.api.weights_source import SecretKey, WeightsSource

_NAME: Final = validated(
    rule(
        "self.matches('^[A-Za-z0-9][-A-Za-z0-9._/:]*$')",
        "must be letters, digits, '-', '.', '_', '/' and ':', starting with a letter or digit",
    )
)


class ModelSource(WeightsSource):
    """The target model."""

    served_name: Annotated[
        str | None,
        Field(
            max_length=128,
            description="The name that clients put into `model` of a request. Default: metadata.name.",
            json_schema_extra=_NAME,
        ),
    ] = None
    aliases: Annotated[
        tuple[Annotated[str, Field(max_length=128, json_schema_extra=_NAME)], ...],
        Field(
            max_length=8,
            description="Further names that clients may put into `model` of a request.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    mmproj: Annotated[
        str | None,
        Field(
            max_length=255,
            description="llama.cpp's multimodal projector: a .gguf file of the repository that uri names, fetched and "
            "verified with it, for example mmproj-F16.gguf.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9][-A-Za-z0-9._]*)*[.]gguf$')",
                    "must be the path of a .gguf file in the repository: folders and file of letters, digits, '-', '_' "
                    "and '.'",
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
