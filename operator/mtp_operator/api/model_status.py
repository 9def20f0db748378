"""The status of an MTPModel: the choice in short, and how it stands."""

from typing import Annotated

from pydantic import Field

from .base import DecimalString, Schema
from .conditions import Condition
from .weights_source import WeightsStatus


class ResolvedImages(Schema):
    """Defaults of the operator, fixed when the spec was first seen: an upgrade of the operator restarts nothing."""

    spec_hash: Annotated[
        str,
        Field(
            max_length=71,
            description="Hash of engine and tuning.retuneRequest: the images are resolved again when it changes.",
        ),
    ]
    engine_image: Annotated[str, Field(max_length=512, description="Image of the engine.")]
    bench_image: Annotated[str, Field(max_length=512, description="Image of the bench container.")]


class RunReference(Schema):
    """An MTPTuningRun of the same namespace."""

    name: Annotated[str, Field(max_length=63, description="Name of the MTPTuningRun.")]


class MTPModelStatus(Schema):
    """What is known. Only the operator writes here."""

    observed_generation: Annotated[
        int | None, Field(ge=-1, description="The generation of the spec that this status describes.")
    ] = None
    summary: Annotated[
        str | None,
        Field(
            max_length=80,
            description="State of the model in a word or two: Fetching 41%, Tuning 3/24, Serving, Off, Not proven, "
            "Blocked: NoNodeFits.",
        ),
    ] = None
    n_spec: Annotated[
        int | None, Field(ge=0, description="The chosen n_spec: draft tokens per step; 0 = speculation off.")
    ] = None
    served_n_spec: Annotated[
        int | None,
        Field(
            alias="servedNSpec",
            ge=0,
            description="The n_spec of the servers that are ready; the old one until the last of them is replaced.",
        ),
    ] = None
    url: Annotated[
        str | None, Field(max_length=256, description="Base URL of the OpenAI API, for clients in the cluster.")
    ] = None
    replicas: Annotated[int | None, Field(ge=0, description="Servers that exist; for autoscalers.")] = None
    selector: Annotated[
        str | None, Field(max_length=256, description="Label selector of the servers' pods; for autoscalers.")
    ] = None
    speedup: Annotated[
        DecimalString | None,
        Field(description="The objective at nSpec over that without speculation (n_spec=0), as measured."),
    ] = None
    speedup_low: Annotated[DecimalString | None, Field(description="Lower end of the 95% interval of speedup.")] = None
    speedup_high: Annotated[DecimalString | None, Field(description="Upper end of the 95% interval of speedup.")] = None
    output_tokens_per_second: Annotated[
        int | None, Field(ge=0, description="Output throughput at nSpec over all levels, in tokens per second.")
    ] = None
    acceptance_length: Annotated[
        DecimalString | None,
        Field(description="Acceptance length at nSpec: tokens per step of the target model, 1 + accepted / drafts."),
    ] = None
    gpu_product: Annotated[
        str | None,
        Field(
            max_length=253,
            description="Product name of the GPU that was measured; Unknown without the right to read nodes.",
        ),
    ] = None
    fingerprint: Annotated[
        str | None,
        Field(max_length=80, description="What the choice is valid for: everything asked for and everything observed."),
    ] = None
    resolved: Annotated[ResolvedImages | None, Field(description="Defaults of the operator that are in use.")] = None
    weights: Annotated[
        WeightsStatus | None, Field(description="Progress of the download; absent where nothing is downloaded.")
    ] = None
    tuning_run_ref: Annotated[
        RunReference | None, Field(description="The MTPTuningRun that chose nSpec, with its evidence.")
    ] = None
    active_tuning_run_ref: Annotated[
        RunReference | None, Field(description="The MTPTuningRun of this spec that is under way or has failed.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            description="Ready, WeightsReady, Tuned, Serving; while they are true, Reconciling or Stalled.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
