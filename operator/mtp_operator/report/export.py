"""What a run found, for who serves elsewhere: the engine as it was measured, with the n that was chosen."""

import json
import shlex
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import yaml

from mtp_operator.api.fetch import hub_parts
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import EngineType
from mtp_operator.api.weights_source import WeightsSource
from mtp_operator.engines import NO_LOG_FILE, engine_for
from mtp_operator.resources.trial_job import served_name
from mtp_operator.resources.weights_volumes import sources

from .data import Candidate, ReportData
from .extract import report_data

_ENTRY: Final = {EngineType.VLLM: ("vllm", "serve"), EngineType.LLAMA_CPP: ("llama-server",)}

_BELONG_TO_A_POD: Final = frozenset({"--offline", "--no-ui"})
"""Switches that make sense only where everything lies on a volume, behind a Service."""


class ExportError(ValueError):
    """There is nothing to export; the message says why."""


class Format(StrEnum):
    """What an engine is described as."""

    ARGS = "args"
    COMPOSE = "compose"
    KSERVE = "kserve"
    VLLM_RECIPE = "vllm-recipe"


def exported(run: MTPTuningRun, form: Format, n_spec: int | None = None) -> str:
    """The engine of a run in some form, after comments with the figures.

    Args:
        run: with its verdict.
        form: what to write.
        n_spec: one of those that were measured; None is the chosen one.

    Raises:
        ExportError: nothing was chosen, that n was not measured, or the form has no place for the engine.
    """
    data = report_data(run)
    n_spec = _chosen(data) if n_spec is None else n_spec
    candidate = next((one for one in data.candidates if one.n_spec == n_spec), None)
    if candidate is None or candidate.output_tokens_per_second is None:
        raise ExportError(f"n_spec {n_spec} was not measured; measured are {_measured(data)}")
    comment = "".join(f"# {line}\n" for line in _figures(run, data, candidate))
    match form:
        case Format.ARGS:
            return f"{comment}{_command_line(run, n_spec)}\n"
        case Format.COMPOSE:
            return comment + _yaml(_compose(run, n_spec))
        case Format.KSERVE:
            return comment + _yaml(_inference_service(run, n_spec))
        case Format.VLLM_RECIPE:
            return comment + _yaml(_recipe(run, n_spec))


def _chosen(data: ReportData) -> int:
    verdict = data.verdict
    if verdict.n_spec is None:
        raise ExportError(f"the run has chosen nothing ({verdict.type}); --n-spec exports one that was measured")
    return verdict.n_spec


def _measured(data: ReportData) -> str:
    return ", ".join(str(one.n_spec) for one in data.candidates if one.output_tokens_per_second is not None) or "none"


def _figures(run: MTPTuningRun, data: ReportData, candidate: Candidate) -> list[str]:
    observed, speedup = run.status.observed, candidate.speedup
    lines = [
        f"n_spec {candidate.n_spec}, measured by mtp-operator: MTPTuningRun {run.metadata.name}, {data.verdict.type}"
    ]
    if speedup is not None and candidate.n_spec > 0:
        lines.append(f"speed over n_spec 0: {speedup.estimate:g} (95% interval {speedup.low:g} to {speedup.high:g})")
    lines.append(f"output tokens per second: {candidate.output_tokens_per_second:g}")
    if candidate.acceptance_length is not None:
        lines.append(f"acceptance length: {candidate.acceptance_length:g}")
    if observed is not None:
        lines.append(f"on {run.spec.accelerator.count} x {observed.gpu_product}, driver {observed.driver_version}")
    lines.append(f"engine image: {run.spec.engine.image}")
    levels = ", ".join(str(level.concurrency) for level in run.spec.workload.levels)
    lines.append(f"holds for this GPU, image and concurrency ({levels}): measure again where they differ")
    return lines


def _arguments(run: MTPTuningRun, n_spec: int) -> list[str]:
    """As measured, but with repositories by their names: nothing of the operator's volumes is there elsewhere."""
    engine = engine_for(run.spec.engine.type, NO_LOG_FILE)
    stated = [run.spec.model, *([run.spec.speculation.drafter] if run.spec.speculation.drafter else [])]
    places = [_place(source, path.container_path) for source, path in zip(stated, sources(run.spec), strict=True)]
    words = list(
        engine.arguments(run.spec, n_spec, served_name(run), places[0], places[1] if len(places) > 1 else None)
    )
    if run.spec.engine.type is not EngineType.LLAMA_CPP:
        revision = run.spec.model.revision
        return [*words, *([f"--revision={revision}"] if revision and run.spec.model.is_fetched else [])]
    return _of_the_hub(run.spec.model, [word for word in _without(words, "--log-file") if word not in _BELONG_TO_A_POD])


def _place(source: WeightsSource, path: str) -> str:
    return hub_parts(source.uri)[0] if source.is_fetched and not hub_parts(source.uri)[1] else path


def _of_the_hub(model: WeightsSource, words: list[str]) -> list[str]:
    if not model.is_fetched:
        return words
    repository, file = hub_parts(model.uri)
    return ["--hf-repo", repository, "--hf-file", file, *_without(words, "--model")]


def _without(words: list[str], flag: str) -> list[str]:
    """Without a flag and the value that follows it."""
    dropped = {index for index, (one, _) in enumerate(pairwise(words)) if one == flag}
    return [word for index, word in enumerate(words) if index not in dropped and index - 1 not in dropped]


def _command_line(run: MTPTuningRun, n_spec: int) -> str:
    variables = [f"{one.name}={shlex.quote(one.value)}" for one in run.spec.engine.env]
    return " ".join((*variables, *_ENTRY[run.spec.engine.type], shlex.join(_arguments(run, n_spec))))


def _compose(run: MTPTuningRun, n_spec: int) -> dict[str, Any]:
    port = engine_for(run.spec.engine.type).port
    device = {"driver": "nvidia", "count": run.spec.accelerator.count, "capabilities": ["gpu"]}
    return {
        "services": {
            run.spec.model_name: {
                "image": run.spec.engine.image,
                # Compose would replace a single dollar.
                "command": [word.replace("$", "$$") for word in _arguments(run, n_spec)],
                "environment": {one.name: one.value.replace("$", "$$") for one in run.spec.engine.env},
                "ports": [f"{port}:{port}"],
                "shm_size": "16g",
                "deploy": {"resources": {"reservations": {"devices": [device]}}},
            }
        }
    }


def _inference_service(run: MTPTuningRun, n_spec: int) -> dict[str, Any]:
    engine = engine_for(run.spec.engine.type)
    gpus = {run.spec.accelerator.resource_name: str(run.spec.accelerator.count)}
    container = {
        "name": "kserve-container",
        "image": run.spec.engine.image,
        "args": _arguments(run, n_spec),
        "env": [{"name": one.name, "value": one.value} for one in run.spec.engine.env],
        "ports": [{"containerPort": engine.port, "protocol": "TCP"}],
        "resources": {"limits": gpus, "requests": gpus},
        "readinessProbe": {"httpGet": {"path": engine.health_path, "port": engine.port}},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": run.spec.model_name},
        "spec": {"predictor": {"containers": [container]}},
    }


def _recipe(run: MTPTuningRun, n_spec: int) -> dict[str, Any]:
    """The configuration file that `vllm serve --config` reads."""
    if run.spec.engine.type is not EngineType.VLLM:
        raise ExportError("vllm-recipe is a configuration file of vLLM, and the run measured another engine")
    model, *words = _arguments(run, n_spec)
    recipe: dict[str, Any] = {"model": model}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        recipe[name] = _plain(value) if equals else True
    return recipe


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
