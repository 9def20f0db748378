"""The load that every n_spec is measured under."""

from typing import Annotated, Final

from pydantic import Field

from mtp_operator.api.base import MAX_LEVELS, Schema
from mtp_operator.measures import quantities

from .engine_spec import EngineSpec
from .prompts_spec import PromptCategory, Prompts
from .sampling_spec import Sampling

PROMPT_RESERVE_TOKENS: Final = 512
"""Context that the workload leaves to the prompt beside its output tokens."""


class Level(Schema, quantities.Level):
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
            description="Concurrencies, each measured in the same trial. The objective is the weighted "
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
