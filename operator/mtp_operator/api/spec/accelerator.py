"""The GPU that an engine gets."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from mtp_operator.api.base import Schema, rule, validated


class Architecture(StrEnum):
    """GPU architecture."""

    BLACKWELL = "Blackwell"
    ANY = "Any"


class Allocation(StrEnum):
    """How a pod gets its GPUs."""

    DEVICE_PLUGIN = "DevicePlugin"
    DYNAMIC_RESOURCE_ALLOCATION = "DynamicResourceAllocation"


_WHOLE_GPU: Final = "nvidia.com/gpu"


class AcceleratorSpec(Schema):
    """The GPU that trials run on, chosen by node labels or by the attributes of the device."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "!has(self.allocation) || !has(self.resourceName) || self.allocation == 'DevicePlugin' || "
                f"self.resourceName == '{_WHOLE_GPU}'",
                "must be left out where allocation is DynamicResourceAllocation, which knows no extended resources",
                field_path=".resourceName",
            )
        )
    )

    architecture: Annotated[
        Architecture,
        Field(
            description="Blackwell asks for nodes with nvidia.com/gpu.family=blackwell, or with "
            "DynamicResourceAllocation for devices of that architecture; Any lifts the constraint."
        ),
    ] = Architecture.BLACKWELL
    products: Annotated[
        tuple[
            Annotated[
                str,
                Field(
                    max_length=63,
                    json_schema_extra=validated(
                        rule(
                            "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
                            "must be the value of a node label: letters, digits, '-', '_' and '.', "
                            "with a letter or digit at both ends",
                        )
                    ),
                ),
            ],
            ...,
        ],
        Field(
            max_length=16,
            description="Accepted values of nvidia.com/gpu.product, or product names of devices with '-' for each "
            "blank. Empty: any. An example is NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    compute_capabilities: Annotated[
        tuple[
            Annotated[
                str,
                Field(
                    max_length=8,
                    json_schema_extra=validated(
                        rule("self.matches('^[0-9]{1,2}[.][0-9]$')", "must be <major>.<minor>, for example 12.0")
                    ),
                ),
            ],
            ...,
        ],
        Field(
            max_length=8,
            description="Accepted compute capabilities. Empty: any. sm_100 (10.0) and sm_120 (12.0) are both Blackwell "
            "and need different kernels.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    count: Annotated[int, Field(ge=1, le=16, description="GPUs that one engine gets.")] = 1
    allocation: Annotated[
        Allocation,
        Field(
            description="DevicePlugin asks for resourceName; DynamicResourceAllocation requests devices of the class "
            "gpu.nvidia.com by a ResourceClaimTemplate (Kubernetes 1.34 and NVIDIA's DRA driver)."
        ),
    ] = Allocation.DEVICE_PLUGIN
    resource_name: Annotated[
        str,
        Field(
            max_length=253,
            description="The extended resource that stands for one GPU, for example nvidia.com/gpu or "
            "nvidia.com/mig-2g.48gb.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
                    "must be the name of an extended resource: <domain>/<name>, for example nvidia.com/gpu",
                )
            ),
        ),
    ] = _WHOLE_GPU
