"""The MTPTuningRun of a model."""

from collections.abc import Sequence
from typing import Any

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRunSpec, RunSettings, run_name
from mtp_operator.api.weights_source import FetchedSource, WeightsSource

from .labels import MEASUREMENT_LABEL, child_labels, measurement_label, owned_by
from .weights_volumes import claim_name


def run_settings(
    model: MTPModel, engine_image: str, bench_image: str, fetched: Sequence[FetchedSource] = ()
) -> RunSettings:
    """Everything that a tuning of this model depends on, with the images and weights that are in use.

    Args:
        model: the model.
        engine_image: the engine's image.
        bench_image: the bench container's.
        fetched: what has been fetched of the model and its drafter, in this order.
    """
    spec = model.spec
    weights = iter(fetched)

    def source(stated: WeightsSource) -> dict[str, Any]:
        used = next(weights, stated) if stated.is_fetched else stated
        return {"uri": used.uri, "revision": used.revision}

    target, first = source(spec.model), spec.tuning.first_n_spec
    speculation = spec.speculation.to_wire()
    for decides_nothing_that_boots in ("nSpec", "blockSize"):
        speculation.pop(decides_nothing_that_boots, None)
    if spec.speculation.drafter is not None:
        speculation["drafter"] |= source(spec.speculation.drafter)
    return RunSettings.model_validate(
        {
            "model": {
                **target,
                "servedName": spec.model.served_name or model.metadata.name,
                "aliases": spec.model.aliases,
                "mmproj": spec.model.mmproj,
            },
            "weightsClaim": claim_name(model),
            "cacheClaim": spec.storage and spec.storage.cache_claim,
            "engine": {**spec.engine.to_wire(), "image": engine_image},
            "benchImage": bench_image,
            "accelerator": spec.accelerator.to_wire(),
            "speculation": speculation,
            "files": [one.to_wire() for one in spec.files],
            "resources": spec.template.resources.to_wire(),
            "maxNSpec": model.max_n_spec,
            "firstNSpec": first and min(first, model.max_n_spec),
            "workload": spec.tuning.workload.of(spec.engine).to_wire(),
            "objective": spec.tuning.objective.to_wire(),
            "budget": spec.tuning.budget.to_wire(),
        }
    )


def tuning_run(model: MTPModel, settings: RunSettings, epoch: int = 0) -> dict[str, Any]:
    """The run of these settings, owned by the model until it has a verdict.

    Args:
        model: the model.
        settings: what is measured and searched for.
        epoch: how many runs of the same were given up.
    """
    settings_hash = settings.request_hash()
    spec = MTPTuningRunSpec(
        **dict(settings),
        model_name=model.metadata.name,
        retune_request=model.spec.tuning.retune_request,
        epoch=epoch,
        settings_hash=settings_hash,
        template=model.spec.template.pod,
        queue_name=model.spec.tuning.queue_name,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "MTPTuningRun",
        "metadata": {
            "name": run_name(model.metadata.name, settings_hash, spec.retune_request, epoch),
            "namespace": model.metadata.namespace,
            "labels": {
                **child_labels(model.metadata.name),
                MEASUREMENT_LABEL: measurement_label(settings.measurement_hash()),
            },
            "ownerReferences": owned_by(model),
        },
        "spec": spec.to_wire(),
    }
