"""The objects of an MTPModel without a cluster, by the same builders as in one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.model import MTPModel, MTPModelSpec, WhileTuning
from mtp_operator.api.run import ArmState, ArmStatus, MTPTuningRun, RunSettings, job_name
from mtp_operator.api.serving import Served, ServingRecord, Surroundings
from mtp_operator.api.spec import Allocation, EngineType
from mtp_operator.api.structural import structural_schema
from mtp_operator.api.weights import FetchedSource
from mtp_operator.reconcile.intent import Intent, Refused, Tune, fixed_n_spec, intent
from mtp_operator.reconcile.records import OperatorSettings
from mtp_operator.resources.claim_template import claim_template
from mtp_operator.resources.disruption_budget import FEWEST_REPLICAS, disruption_budget
from mtp_operator.resources.fetch_job import fetch_job, fetched_sources
from mtp_operator.resources.network_policy import network_policy
from mtp_operator.resources.server import deployment
from mtp_operator.resources.service import service
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.tuning_run import run_settings, tuning_run
from mtp_operator.resources.weights import new_claim

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
        engine = model.spec.engine
        return (
            engine.image or {EngineType.VLLM: self.vllm_image, EngineType.LLAMA_CPP: self.llama_cpp_image}[engine.type]
        )


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
    for number, document in _documents(text, source):
        if not isinstance(document, Mapping) or document.get("kind") != MTPModel.__name__:
            continue
        found = True
        yield _model(document, f"{source}: document {number}", namespace)
    if not found:
        raise RenderError(f"{source}: holds no {MTPModel.__name__} (apiVersion {API_VERSION})")


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
    run = MTPTuningRun.from_wire({**body, "metadata": _UNKNOWN_TO_FILES | body["metadata"]})
    yield from (
        trial_job(
            run,
            ArmStatus(
                n_spec=n_spec, boot=0, job_name=job_name(run.metadata.name, n_spec, 0, 0), state=ArmState.PLANNED
            ),
            None,
            ready_seconds=installation.ready_seconds,
            level_seconds=installation.level_seconds,
        )
        for n_spec in range(settings.max_n_spec + 1)
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
    surroundings = Surroundings(probe_image=installation.bench_image, ready_seconds=installation.ready_seconds)
    yield deployment(model, ServingRecord(served=Served.of(settings, n_spec), surroundings=surroundings), replicas)


def to_yaml(objects: list[Json]) -> str:
    """A YAML stream with one document for each object."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, explicit_start=True)


class _Dumper(yaml.SafeDumper):
    """Writes out what is in two places twice: people read this, and not every tool knows aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _documents(text: str, source: str) -> Iterator[tuple[int, Any]]:
    documents = yaml.safe_load_all(text)
    number = 1
    while True:
        try:
            yield number, next(documents)
        except StopIteration:
            return
        except yaml.YAMLError as error:
            raise RenderError(f"{source}: document {number}: is no YAML: {error}") from None
        number += 1


def _model(document: Mapping[str, Any], where: str, namespace: str) -> MTPModel:
    if document.get("apiVersion") != API_VERSION:
        raise RenderError(f"{where}: apiVersion must be {API_VERSION}, not {document.get('apiVersion')}")
    metadata = {"namespace": namespace, **_UNKNOWN_TO_FILES, **(document.get("metadata") or {})}
    schema = structural_schema(MTPModelSpec, with_defaults=False)
    unknown = sorted(_unknown_fields(document.get("spec"), schema, "spec"))
    if unknown:
        raise RenderError("\n".join(f"{where}: {path}: is no field of an {MTPModel.__name__}" for path in unknown))
    try:
        return MTPModel.from_wire({"metadata": metadata, "spec": document.get("spec")})
    except ValidationError as error:
        raise RenderError("\n".join(f"{where}: {_path(one['loc'])}: {one['msg']}" for one in error.errors())) from None


def _unknown_fields(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths that the API server would not know; a wrong type is left to the models."""
    if isinstance(value, Mapping) and "properties" in schema:
        for name, part in value.items():
            if name in schema["properties"]:
                yield from _unknown_fields(part, schema["properties"][name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, list) and "items" in schema:
        for index, part in enumerate(value):
            yield from _unknown_fields(part, schema["items"], f"{path}[{index}]")


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _without_owners(body: Json) -> Json:
    """Owners are uids, which no file has: Kubernetes would collect an object whose owner it does not find."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "ownerReferences"}
    return {**body, "metadata": metadata}
