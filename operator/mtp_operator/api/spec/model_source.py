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
    token_secret_ref: Annotated[
        SecretKey | None,
        Field(
            description="The hub's token, for a gated or private repository; a drafter of its own is fetched with it "
            "too. Only the fetching pod sees it, as a file."
        ),
    ] = None
