"""What boots an engine, the same for a trial and for a server; and what trials have in common that are comparable."""

from typing import Annotated

from pydantic import Field

from .base import Schema
from .container_resources import EngineResources
from .files import EngineFiles
from .hashing import canonical_hash
from .spec import AcceleratorSpec, EngineSpec, Level, ModelSource, SpeculationMethodSpec, Workload


class EngineSettings(Schema):
    """Everything that an engine's arguments, environment, volumes and GPUs follow from, but for n_spec."""

    model: Annotated[
        ModelSource, Field(description="The target model; where it was fetched, with the commit that is on the PVC.")
    ]
    weights_claim: Annotated[
        str | None, Field(max_length=253, description="The PVC with the fetched weights; absent where none are.")
    ] = None
    cache_claim: Annotated[
        str | None,
        Field(max_length=253, description="The PVC with compile caches, where no weights are fetched onto it."),
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


class Measurement(EngineSettings):
    """What is measured: an engine under a load. Trials that measured the same on one node are evidence together."""

    bench_image: Annotated[str, Field(max_length=512, description="Image of the bench container.")]
    workload: Annotated[Workload, Field(description="The load that every n_spec is measured under.")]

    def measurement_hash(self) -> str:
        """sha256 over what a trial's figures depend on, as `sha256:<64 hex>`.

        What clients call the model, where weights and caches are stored, how much a level weighs and which version of
        the bench measures are no part of it.
        """
        levels = tuple(Level(concurrency=level.concurrency) for level in self.workload.levels)
        measured = self.part(
            Measurement,
            model=self.model.replace(served_name=None, aliases=()),
            workload=self.workload.replace(levels=levels),
        )
        return canonical_hash(measured, exclude={"weights_claim", "cache_claim", "bench_image"})
