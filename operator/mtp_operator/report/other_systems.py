"""A measured engine in the objects of other ways of serving: LLMKube, KAITO, AIConfigurator.

Formats as of LLMKube 0.9.19 (inference.llmkube.dev/v1alpha1), KAITO 0.12 (kaito.sh/v1beta1), AIConfigurator 0.11.
"""

import sys
from typing import Any, Final

import yaml

from mtp_operator.api.engines.llamacpp_settings import METHODS, LlamaCppSpeculation
from mtp_operator.api.fetch import hub_parts
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import EngineType, SpeculationMethod
from mtp_operator.api.weights_source import CLAIM_SCHEME, WeightsSource
from mtp_operator.engines import engine_for

from .exported_engine import ExportError, exported_arguments, without_flag

_LLMKUBE_GPUS: Final = 8
"""Most GPUs of one of its pods."""

_LLMKUBE_WRITES: Final = ("--host", "--port", "--tensor-parallel-size", "--model", "--hf-repo", "--hf-file")
"""Flags that it writes by itself."""

_LLMKUBE_TYPED: Final = ("--spec-type", "--spec-draft-n-max", "--spec-draft-p-min", "--spec-draft-model")
"""Flags of llama-server that are fields of its speculativeDecoding."""

_KAITO_WRITES: Final = ("--host=", "--port=", "--served-model-name", "--revision=")
"""Flags that it writes by itself; it fetches the newest revision."""

_AICONFIGURATOR_SYSTEMS: Final = {
    "NVIDIA-A100-SXM4-40GB": "a100_sxm",
    "NVIDIA-A100-SXM4-80GB": "a100_sxm",
    "NVIDIA-A100-PCIE-40GB": "a100_pcie",
    "NVIDIA-A100-80GB-PCIe": "a100_pcie",
    "NVIDIA-A30": "a30",
    "NVIDIA-B200": "b200_sxm",
    "NVIDIA-B300": "b300_sxm",
    "NVIDIA-GB200": "gb200",
    "NVIDIA-GB300": "gb300",
    "NVIDIA-H100-80GB-HBM3": "h100_sxm",
    "NVIDIA-H100-PCIe": "h100_pcie",
    "NVIDIA-H200": "h200_sxm",
    "NVIDIA-L4": "l4",
    "NVIDIA-L40S": "l40s",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "rtx_pro_6000_server",
}
"""GPU product, as GPU Feature Discovery labels it -> the system whose data AIConfigurator has."""


def llmkube_objects(run: MTPTuningRun, n_spec: int) -> list[dict[str, Any]]:
    """A Model, one more for a drafter, and an InferenceService of LLMKube.

    Raises:
        ExportError: LLMKube has no place for it.
    """
    if run.spec.accelerator.count > _LLMKUBE_GPUS:
        raise ExportError(
            f"llmkube: a pod of LLMKube has at most {_LLMKUBE_GPUS} GPUs, not {run.spec.accelerator.count}"
        )
    if run.spec.engine.type is EngineType.SGLANG:
        raise ExportError("llmkube: the operator writes vLLM and llama.cpp for LLMKube, and the run measured SGLang")
    is_vllm = run.spec.engine.type is EngineType.VLLM
    drafter = run.spec.speculation.drafter if n_spec > 0 and not is_vllm else None
    name = run.spec.model_name
    service: dict[str, Any] = {
        "modelRef": name,
        "runtime": "vllm" if is_vllm else "llamacpp",
        "image": run.spec.engine.image,
        **(_llmkube_vllm(run, n_spec) if is_vllm else _llmkube_llama_cpp(run, n_spec, f"{name}-drafter")),
        "env": [{"name": one.name, "value": one.value} for one in run.spec.engine.env],
        "endpoint": {"port": engine_for(run.spec.engine.type).port},
        "resources": {"gpu": run.spec.accelerator.count},
    }
    return [
        _llmkube_object("Model", name, _llmkube_model(run, run.spec.model)),
        *([_llmkube_object("Model", f"{name}-drafter", _llmkube_model(run, drafter))] if drafter else []),
        _llmkube_object("InferenceService", name, service),
    ]


def _llmkube_object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "inference.llmkube.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _llmkube_model(run: MTPTuningRun, source: WeightsSource) -> dict[str, Any]:
    gpu = {
        "enabled": True,
        "count": run.spec.accelerator.count,
        "vendor": "nvidia",
        "resourceName": run.spec.accelerator.resource_name,
    }
    hardware = {"hardware": {"accelerator": "cuda", "gpu": gpu}}
    if run.spec.engine.type is EngineType.VLLM:
        # vLLM itself fetches a bare repository.
        return {"source": _hub_repository("llmkube", source), "format": "safetensors", **hardware}
    if source.uri.startswith(CLAIM_SCHEME):
        return {"source": source.uri, "format": "gguf", **hardware}
    repository, file = _hub_repository("llmkube", source), hub_parts(source.uri)[1]
    revision = f"@{source.revision}" if source.revision else ""
    projector = {"mmproj": run.spec.model.mmproj} if source is run.spec.model and run.spec.model.mmproj else {}
    return {"source": f"hf://{repository}{revision}", "files": [file], **projector, "format": "gguf", **hardware}


def _llmkube_vllm(run: MTPTuningRun, n_spec: int) -> dict[str, Any]:
    _, *words = exported_arguments(run, n_spec)
    vllm = run.spec.engine.vllm
    return {
        "skipModelInit": True,
        "vllmConfig": {"tensorParallelSize": vllm.tensor_parallel_size if vllm else 1},
        "extraArgs": _except(words, _LLMKUBE_WRITES),
    }


def _llmkube_llama_cpp(run: MTPTuningRun, n_spec: int, drafter: str) -> dict[str, Any]:
    arguments = {"extraArgs": _except(exported_arguments(run, n_spec), (*_LLMKUBE_WRITES, *_LLMKUBE_TYPED))}
    if n_spec == 0:
        return arguments
    method = run.spec.speculation.method
    p_min = (run.spec.speculation.llama_cpp or LlamaCppSpeculation()).p_min_milli
    speculative: dict[str, Any] = {"type": METHODS[method]}
    if method is not SpeculationMethod.N_GRAM:
        # What n-grams draft stands in flags of their own, among the arguments.
        speculative["nDraftMax"] = n_spec
        if p_min is not None:
            speculative["pMin"] = p_min / 1000
    if run.spec.speculation.drafter is not None:
        speculative["draftModelRef"] = drafter
    return {"speculativeDecoding": speculative, **arguments}


def kaito_objects(run: MTPTuningRun, n_spec: int) -> list[dict[str, Any]]:
    """A ConfigMap with vLLM's settings and an InferenceSet of KAITO.

    Raises:
        ExportError: KAITO has no place for it.
    """
    if run.spec.engine.type is not EngineType.VLLM:
        raise ExportError("kaito: KAITO serves with vLLM, and the run measured another engine")
    if run.spec.engine.env:
        names = ", ".join(one.name for one in run.spec.engine.env)
        raise ExportError(f"kaito: an InferenceSet has no place for environment variables ({names})")
    # Further names of the model are words of their own.
    words = [
        word for word in exported_arguments(run, n_spec) if word.startswith("--") and not word.startswith(_KAITO_WRITES)
    ]
    switches = [word for word in words if "=" not in word]
    if switches:
        raise ExportError(f"kaito: its inference_config.yaml has no place for a flag without a value ({switches[0]})")
    # Every value is text: a map as the value of one flag is refused by KAITO.
    settings = dict(word.removeprefix("--").split("=", 1) for word in words)
    name = run.spec.model_name
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-vllm"},
            "data": {"inference_config.yaml": yaml.safe_dump({"vllm": settings}, sort_keys=False, width=sys.maxsize)},
        },
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "InferenceSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "labelSelector": {"matchLabels": {"apps": name}},
                "template": {
                    "inference": {
                        "preset": {"name": _hub_repository("kaito", run.spec.model)},
                        "config": f"{name}-vllm",
                    }
                },
            },
        },
    ]


def aiconfigurator_experiment(run: MTPTuningRun, n_spec: int, acceptance_length: float | None) -> dict[str, Any]:
    """What `aiconfigurator cli exp` reads: the system that was measured, and how many drafts were accepted on it.

    Raises:
        ExportError: AIConfigurator does not model it.
    """
    backends = {
        EngineType.VLLM: ("vllm", run.spec.engine.vllm),
        EngineType.SGLANG: ("sglang", run.spec.engine.sglang),
    }
    if run.spec.engine.type not in backends:
        raise ExportError(
            "aiconfigurator: it models vLLM, SGLang and TensorRT-LLM, and the run measured another engine"
        )
    backend, settings = backends[run.spec.engine.type]
    if n_spec > 0 and (run.spec.speculation.method is not SpeculationMethod.MTP or run.spec.speculation.drafter):
        raise ExportError("aiconfigurator: it models no drafter but MTP heads inside the model")
    product = run.status.observed.gpu_product if run.status.observed else "Unknown"
    if product not in _AICONFIGURATOR_SYSTEMS:
        raise ExportError(f"aiconfigurator: it has no figures of the GPU {product}")
    if n_spec > 0 and acceptance_length is None:
        raise ExportError(f"aiconfigurator: it needs the acceptance length, and that of n_spec {n_spec} is unknown")
    experiment: dict[str, Any] = {
        "serving_mode": "agg",
        "model_path": _hub_repository("aiconfigurator", run.spec.model),
        "system_name": _AICONFIGURATOR_SYSTEMS[product],
        "total_gpus": run.spec.accelerator.count,
        "backend_name": backend,
        "osl": run.spec.workload.output_tokens,
        "agg_tp_candidates": [settings.tensor_parallel_size if settings else 1],
    }
    if acceptance_length is not None and n_spec > 0:
        # Its figure is without the token that every step yields.
        experiment |= {"nextn": n_spec, "nextn_accepted": round(acceptance_length - 1, 3)}
    return {"exps": ["measured"], "measured": experiment}


def _hub_repository(form: str, source: WeightsSource) -> str:
    if not source.is_fetched:
        raise ExportError(f"{form}: it takes weights from the hub, not {source.uri}")
    return hub_parts(source.uri)[0]


def _except(words: list[str], flags: tuple[str, ...]) -> list[str]:
    """Without flags that the other system writes, in either spelling of their values."""
    for flag in flags:
        words = [word for word in without_flag(words, flag) if not word.startswith(f"{flag}=")]
    return words
