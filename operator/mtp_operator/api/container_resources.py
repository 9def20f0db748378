"""CPU and memory of the containers of a pod. GPUs are spec.accelerator."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .affinity import Sparse
from .base import rule, validated

Quantity = Annotated[str, Field(max_length=16)]

CPU: Final = validated(
    rule(
        "self.matches('^([1-9][0-9]*m|[0-9]+([.][0-9]{1,3})?)$')", "must be a number of cores, for example 8, 1.5, 500m"
    )
)
BYTES: Final = validated(
    rule("self.matches('^[1-9][0-9]*(Mi|Gi|Ti|M|G|T)$')", "must be a size in Mi, Gi, Ti, M, G or T, for example 64Gi")
)


class ResourceAmounts(Sparse):
    """CPU and memory. GPUs are spec.accelerator.count."""

    cpu: Annotated[Quantity | None, Field(description="Cores, for example 8 or 500m.", json_schema_extra=CPU)] = None
    memory: Annotated[
        Quantity | None, Field(description="Memory of the node, for example 64Gi.", json_schema_extra=BYTES)
    ] = None


def _at_most_the_limit(name: str) -> dict[str, str]:
    request, limit = f"self.requests.{name}", f"self.limits.{name}"
    return rule(
        f"!has(self.requests) || !has({request}) || !has(self.limits) || !has({limit}) || !isQuantity({request}) || "
        f"!isQuantity({limit}) || quantity({request}).compareTo(quantity({limit})) <= 0",
        f"must be at most limits.{name}",
        field_path=f".requests.{name}",
    )


_AT_MOST_THE_LIMITS: Final = validated(_at_most_the_limit("cpu"), _at_most_the_limit("memory"))


class EngineResources(Sparse):
    """CPU and memory of the engine's container."""

    model_config = ConfigDict(json_schema_extra=_AT_MOST_THE_LIMITS)

    requests: Annotated[
        ResourceAmounts | None,
        Field(
            description="What the node must have to spare. Default for cpu: 500m; for memory: nothing, so that the "
            "engine is among the first to be evicted where the node runs out of it."
        ),
    ] = None
    limits: Annotated[
        ResourceAmounts | None,
        Field(
            description="What the engine may take at most. Default: no limit. A CPU limit slows the engine "
            "down between steps; shared memory counts as memory."
        ),
    ] = None


class HelperResources(Sparse):
    """CPU and memory of each container that the operator adds to a pod."""

    model_config = ConfigDict(json_schema_extra=_AT_MOST_THE_LIMITS)

    requests: Annotated[
        ResourceAmounts | None,
        Field(
            description="What the node must have to spare. Without a request, a limit is the request as well, as "
            "Kubernetes has it."
        ),
    ] = None
    limits: Annotated[
        ResourceAmounts | None,
        Field(
            description="What each may take at most. A bench with less than two CPUs may be too slow for many clients "
            "at a time; with less than 512Mi of memory, a bench or a fetch may be killed."
        ),
    ] = None
