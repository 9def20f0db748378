"""What boots an engine: the same for a trial, which measures it, and for a server, which serves it."""

from typing import Annotated

from pydantic import Field

from .base import Schema
from .files import EngineFiles
from .spec import AcceleratorSpec, EngineSpec, ModelSource, SpeculationMethodSpec
from .template import EngineResources


class EngineSettings(Schema):
    """Everything that an engine's arguments, environment, volumes and GPUs follow from, but for n_spec."""

    model: Annotated[
        ModelSource, Field(description="The target model; where it was fetched, with the commit that is on the claim.")
    ]
    weights_claim: Annotated[
        str | None, Field(max_length=253, description="The claim with the fetched weights; absent where none are.")
    ] = None
    cache_claim: Annotated[
        str | None,
        Field(max_length=253, description="The claim with compile caches, where no fetched weights lie beside them."),
    ] = None
    engine: Annotated[EngineSpec, Field(description="The engine, with the image that is in use.")]
    accelerator: Annotated[
        AcceleratorSpec,
        Field(description="The GPU that trials run on, chosen by node labels or by the attributes of the device."),
    ]
    speculation: Annotated[SpeculationMethodSpec, Field(description="How tokens are drafted.")]
    files: EngineFiles = ()
    resources: Annotated[EngineResources, Field(description="CPU and memory of the engine's container.")] = (
        EngineResources()
    )
