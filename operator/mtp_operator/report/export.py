"""What a run found, for who serves elsewhere: the engine as it was measured, with the n that was chosen."""

import json
import shlex
from enum import StrEnum
from typing import Any, Final

import yaml

from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for

from .data import Candidate, ReportData
from .exported_engine import ExportError, exported_arguments
from .extract import report_data
from .other_systems import aiconfigurator_experiment, kaito_objects, llmkube_objects


class Format(StrEnum):
    """What an engine is described as."""

    ARGS = "args"
    COMPOSE = "compose"
    KSERVE = "kserve"
    LLMKUBE = "llmkube"
    KAITO = "kaito"
    AICONFIGURATOR = "aiconfigurator"
    VLLM_RECIPE = "vllm-recipe"


_NOTES: Final = {
    Format.KAITO: (
        "KAITO runs the vLLM of its own image and the newest revision of the weights, not those that were measured",
        "where KAITO provisions nodes, add spec.template.resource.instanceType",
    ),
    Format.AICONFIGURATOR: ("for aiconfigurator cli exp --yaml-path; add isl, the input tokens of your requests",),
}
"""What has to be known of a form beside the figures."""


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
    comment = "".join(f"# {line}\n" for line in (*_figures(run, data, candidate), *_NOTES.get(form, ())))
    match form:
        case Format.ARGS:
            return f"{comment}{_command_line(run, n_spec)}\n"
        case Format.COMPOSE:
            return comment + _yaml(_compose(run, n_spec))
        case Format.KSERVE:
            return comment + _yaml(_inference_service(run, n_spec))
        case Format.LLMKUBE:
            return comment + _yaml(*llmkube_objects(run, n_spec))
        case Format.KAITO:
            return comment + _yaml(*kaito_objects(run, n_spec))
        case Format.AICONFIGURATOR:
            return comment + _yaml(aiconfigurator_experiment(run, n_spec, candidate.acceptance_length))
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


def _command_line(run: MTPTuningRun, n_spec: int) -> str:
    variables = [f"{one.name}={shlex.quote(one.value)}" for one in run.spec.engine.env]
    command = engine_for(run.spec.engine.type).command
    return " ".join((*variables, *command, shlex.join(exported_arguments(run, n_spec))))


def _compose(run: MTPTuningRun, n_spec: int) -> dict[str, Any]:
    engine = engine_for(run.spec.engine.type)
    words = [*engine.container_command, *exported_arguments(run, n_spec)]
    device = {"driver": "nvidia", "count": run.spec.accelerator.count, "capabilities": ["gpu"]}
    return {
        "services": {
            run.spec.model_name: {
                "image": run.spec.engine.image,
                # Compose would replace a single dollar.
                "command": [word.replace("$", "$$") for word in words],
                "environment": {one.name: one.value.replace("$", "$$") for one in run.spec.engine.env},
                "ports": [f"{engine.port}:{engine.port}"],
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
        **({"command": list(engine.container_command)} if engine.container_command else {}),
        "args": exported_arguments(run, n_spec),
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
    model, *words = exported_arguments(run, n_spec)
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


class _Dumper(yaml.SafeDumper):
    """A file inside a ConfigMap stands in lines of its own."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(*documents: dict[str, Any]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
