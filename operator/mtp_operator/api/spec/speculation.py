"""How tokens are drafted, and how many."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import MAX_BLOCK_SIZE, MAX_N_SPEC, N_GRAM_LOOKUP_TOKENS, Schema, rule, validated
from mtp_operator.api.engines.llamacpp_settings import LlamaCppSpeculation
from mtp_operator.api.engines.sglang_settings import SGLangSpeculation
from mtp_operator.api.engines.vllm_settings import VLLMSpeculation
from mtp_operator.api.weights_source import WeightsSource


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


BLOCK_DRAFTERS: Final = (SpeculationMethod.DFLASH, SpeculationMethod.DSPARK)
"""Methods that draft a whole block at once: it has a size, and what is accepted at one n says little of another."""


class Drafter(WeightsSource):
    """A model of its own that drafts."""


_METHOD_RULES: Final = (
    rule(
        # The API server holds the rule against the default {} before it fills in the method.
        f"!has(self.method) || !(self.method in {NEED_DRAFTER!r}) || has(self.drafter)",
        "must be set where method is DraftModel, Eagle, Eagle3 or DFlash: drafter.uri names the model that drafts",
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


class SpeculationMethodSpec(Schema):
    """How tokens are drafted."""

    model_config = ConfigDict(json_schema_extra=validated(*_METHOD_RULES))

    method: Annotated[
        SpeculationMethod,
        Field(
            description="MTP drafts with heads trained into the model, or with an assistant (drafter) that shares its "
            "KV cache; DraftModel drafts with a small model of its own (drafter); Eagle, Eagle3 and DFlash with a head "
            "trained for the model (drafter); DSpark likewise, or with the one inside the model's checkpoint. NGram "
            "repeats what followed the last tokens earlier in the request; Suffix the longest match of any length. "
            "llama.cpp has neither Eagle nor Suffix; with SGLang there are MTP, DraftModel, Eagle and Eagle3."
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
    sglang: Annotated[
        SGLangSpeculation | None,
        Field(description="Further settings of SGLang's speculation, where engine.type is SGLang."),
    ] = None


class SpeculationSpec(SpeculationMethodSpec):
    """How tokens are drafted, and how many if a person has decided."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            *_METHOD_RULES,
            rule(
                # As above.
                f"!has(self.blockSize) || has(self.method) && self.method in {[str(one) for one in BLOCK_DRAFTERS]!r}",
                "may be set only where method is DFlash or DSpark, which draft whole blocks",
                field_path=".blockSize",
            ),
            rule(
                "!has(self.blockSize) || !has(self.nSpec) || self.nSpec <= self.blockSize",
                "must be at most blockSize: the drafter drafts no more tokens at once",
                field_path=".nSpec",
            ),
        )
    )

    n_spec: Annotated[
        int | None,
        Field(
            ge=0, le=MAX_N_SPEC, description="Pins n_spec: nothing is measured unless tuning.mode is Advisory. 0: off."
        ),
    ] = None
    block_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_BLOCK_SIZE,
            description="Tokens of one block of a DFlash or DSpark drafter; no larger n_spec is tried. Default: what "
            "config.json of the fetched checkpoint says (block_size, dspark_block_size).",
        ),
    ] = None
