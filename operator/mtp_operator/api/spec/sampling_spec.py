"""How the engine chooses each token of the bench's requests."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated


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
            "(llama.cpp: what the GGUF file or llama-server says). Greedy always takes the most likely token. Custom "
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
            description="Only this many of the most likely tokens are drawn from, where mode is Custom. Default: all.",
        ),
    ] = None
