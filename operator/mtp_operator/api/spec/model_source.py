"""Which model, and what clients call it."""

from typing import Annotated

from pydantic import Field

from mtp_operator.api.base import rule, validated
from mtp_operator.api.weights import SecretKey, WeightsSource


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
