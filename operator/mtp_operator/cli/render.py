"""The objects of an MTPModel without a cluster, by the same builders as in one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.model import MTPModel, WhileTuning
from mtp_operator.api.run import MTPTuningRun, RunSettings, TrialStatus
from mtp_operator.api.serving_record import Served, ServingRecord, Surroundings
from mtp_operator.api.spec import Allocation, EngineType
from mtp_operator.api.validation import with_defaults
from mtp_operator.api.weights_source import FetchedSource
from mtp_operator.reconcile.intent import Intent, Refused, Tune, fixed_n_spec, intent
from mtp_operator.reconcile.observed import OperatorSettings
from mtp_operator.reconcile.run import planned
from mtp_operator.resources.claim_template import claim_template
from mtp_operator.resources.disruption_budget import FEWEST_REPLICAS, disruption_budget
from mtp_operator.resources.fetch_job import fetch_job, fetched_sources
from mtp_operator.resources.network_policy import network_policy, trials_network_policy
from mtp_operator.resources.server_deployment import deployment
from mtp_operator.resources.service import service
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.tuning_run import run_settings, tuning_run
from mtp_operator.resources.weights_volumes import new_claim

from .manifests import ManifestError
from .validate import judged

Json = dict[str, Any]

_UNKNOWN_TO_FILES: Final = {"uid": "", "creationTimestamp": "1970-01-01T00:00:00Z"}
"""Metadata that only a cluster gives, where the builders want some."""


UNKNOWN_COMMIT: Final = "0" * 40
"""Stands for the commit of a repository where the model states none."""


class RenderError(ValueError):
    """A document cannot be rendered; the message says which, and which field is wrong."""


@dataclass(frozen=True)
class Installation:
    """What the operator's installation would say; the defaults are the chart's."""

    vllm_image: str = "docker.io/vllm/vllm-openai:v0.33.0"
    llama_cpp_image: str = "ghcr.io/ggml-org/llama.cpp:server-cuda13-v0.7.0"
    bench_image: str = "ghcr.io/mtp-operator/operator:0.1.0"
    ready_seconds: int = OperatorSettings.ready_seconds
    level_seconds: int = OperatorSettings.level_seconds

    def engine_image(self, model: MTPModel) -> str:
        """The image that the model's engine runs in."""
        defaults = {EngineType.VLLM: self.vllm_image, EngineType.LLAMA_CPP: self.llama_cpp_image}
        return model.spec.engine.image or defaults.get(model.spec.engine.type, "")


def models_in(text: str, source: str, namespace: str) -> Iterator[MTPModel]:
    """The MTPModels of a YAML stream, in its order; documents of other kinds are passed over.

    Args:
        text: the stream.
        source: what messages call it.
        namespace: for models that state none.

    Raises:
        RenderError: it is no YAML, holds no MTPModel, or one that does not follow the API.
    """
    found = False
    try:
        for one in judged(text, source):
            if one.problems:
                raise RenderError("\n".join(one.problems))
            found = True
            yield model_of(one.manifest.content, namespace)
    except ManifestError as error:
        raise RenderError(str(error)) from None
    if not found:
        raise RenderError(f"{source}: holds no {MTPModel.__name__} (apiVersion {API_VERSION})")


def model_of(document: Mapping[str, Any], namespace: str) -> MTPModel:
    """The model in a document that is in order, in this namespace if it states none."""
    metadata = {"namespace": namespace, **_UNKNOWN_TO_FILES, **document["metadata"]}
    return MTPModel.from_wire({"metadata": metadata, "spec": with_defaults(document)["spec"]})


def rendered_objects(model: MTPModel, installation: Installation) -> list[Json]:
    """Everything that the operator would make for a model, in the order in which it would.

    Raises:
        RenderError: the engine could not work with these settings.
    """
    fetched = [
        FetchedSource(uri=source.uri, revision=source.revision or UNKNOWN_COMMIT) for source in fetched_sources(model)
    ]
    settings = run_settings(model, installation.engine_image(model), installation.bench_image, fetched)
    wanted = intent(model, settings)
    if isinstance(wanted, Refused):
        raise RenderError(f"MTPModel {model.metadata.name}: {wanted.why}")
    objects = [
        *_fetch(model, installation),
        *_gpu_claims(model, settings),
        *_tuning(model, settings, wanted, installation),
        *_serving(model, settings, wanted, installation),
    ]
    return [_without_owners(one) for one in objects]


def _fetch(model: MTPModel, installation: Installation) -> Iterator[Json]:
    if fetched_sources(model):
        if model.spec.storage is not None and model.spec.storage.new_claim is not None:
            yield new_claim(model, model.spec.storage.new_claim)
        yield fetch_job(model, installation.bench_image, {})


def _gpu_claims(model: MTPModel, settings: RunSettings) -> Iterator[Json]:
    if settings.accelerator.allocation is Allocation.DYNAMIC_RESOURCE_ALLOCATION:
        yield claim_template(model.metadata.namespace, model.metadata.name, "", settings.accelerator)


def _tuning(model: MTPModel, settings: RunSettings, wanted: Intent, installation: Installation) -> Iterator[Json]:
    if not isinstance(wanted, Tune):
        return
    body = tuning_run(model, settings, wanted.epoch)
    yield body
    yield trials_network_policy(model)
    run = MTPTuningRun.from_wire({**body, "metadata": _UNKNOWN_TO_FILES | body["metadata"]})
    trials: list[TrialStatus] = []
    for n_spec in range(settings.max_n_spec + 1):
        trials.append(planned(run, trials, n_spec, None))
        yield trial_job(
            run,
            trials[-1],
            None,
            ready_seconds=model.spec.template.ready_seconds or installation.ready_seconds,
            level_seconds=installation.level_seconds,
        )


def _serving(model: MTPModel, settings: RunSettings, wanted: Intent, installation: Installation) -> Iterator[Json]:
    n_spec, replicas = fixed_n_spec(wanted), model.spec.serving.replicas
    if n_spec is None and model.spec.serving.while_tuning is WhileTuning.BASELINE:
        n_spec = 0
    # Else the first server waits for the choice.
    if n_spec is None or replicas == 0:
        return
    yield network_policy(model)
    yield service(model)
    if replicas >= FEWEST_REPLICAS:
        yield disruption_budget(model)
    ready_seconds = model.spec.template.ready_seconds or installation.ready_seconds
    surroundings = Surroundings(probe_image=installation.bench_image, ready_seconds=ready_seconds)
    served = Served.of(settings, n_spec, model.spec.template.pod)
    yield deployment(model, ServingRecord(served=served, surroundings=surroundings), replicas)


def to_yaml(objects: list[Json]) -> str:
    """A YAML stream with one document for each object."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, explicit_start=True)


class _Dumper(yaml.SafeDumper):
    """Writes out what is in two places twice: people read this, and not every tool knows aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _without_owners(body: Json) -> Json:
    """Owners are uids, which no file has: Kubernetes would collect an object whose owner it does not find."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "ownerReferences"}
    return {**body, "metadata": metadata}
