"""What decisions are tested with: a model, a node, the installation, and what trials leave."""

from __future__ import annotations

from typing import Any, TypeVar

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.spec import EngineType, SpeculationMethod
from mtp_operator.api.trial_documents import LevelResult, TrialFailure, TrialResult
from mtp_operator.reconcile.observed import (
    OperatorSettings,
)
from mtp_operator.reconcile.plan import (
    Action,
    Plan,
)

A = TypeVar("A", bound=Action)

NAMESPACE = "team"
NODE = {
    "metadata": {
        "name": "node-a",
        "labels": {
            "nvidia.com/gpu.product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
            "nvidia.com/cuda.driver-version.full": "580.95.05",
        },
    }
}
SETTINGS = OperatorSettings(
    engine_images={EngineType.VLLM: "vllm:1", EngineType.LLAMA_CPP: "llama:1"}, bench_image="operator:1"
)
SPEEDS = {0: 57.0, 1: 60.0, 2: 67.0, 3: 125.0, 4: 89.0, 5: 71.0, 6: 61.0, 7: 55.0, 8: 50.0}
UNSCHEDULABLE = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "


def model_body(name: str = "gemma", **spec: Any) -> dict[str, Any]:
    """An MTPModel as the API server stores it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MTPModel",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": "2026-11-01T08:00:00Z",
        },
        "spec": {
            "model": {"uri": "pvc://weights/gemma"},
            # It decodes one request at a time, so that one level is measured.
            "engine": {"type": "VLLM", "vllm": {"maxNumSeqs": 1}},
            "tuning": {"maxNSpec": 6},
            "serving": {"replicas": 0},
            **spec,
        },
        "status": {"observedGeneration": -1},
    }


def result(n_spec: int, speed: float) -> TrialResult:
    """What a healthy trial leaves."""
    windows = tuple(speed * factor for factor in (0.995, 1.0, 1.005, 0.998, 1.002, 1.0))
    drafts = 500
    accepted = tuple(round(drafts * share) for share in (0.91, 0.85, 0.76, 0.0, 0.0, 0.0, 0.0, 0.0)[:n_spec])
    counters: dict[str, Any] = {}
    if n_spec:
        counters = {
            "drafts": drafts,
            "draft_tokens": drafts * n_spec,
            "accepted_tokens": sum(accepted),
            "accepted_per_position": accepted,
        }
    level = LevelResult(concurrency=1, windows=windows, requests=24, output_tokens=3000, **counters)
    return TrialResult(candidate=candidate_id(SpeculationMethod.MTP, n_spec), n_spec=n_spec, levels=(level,))


def disqualified(n_spec: int, reason: str, message: str) -> TrialResult:
    """What a trial leaves that failed a gate."""
    return result(n_spec, 1.0).replace(levels=(), failure=TrialFailure(reason=reason, message=message))


def planned(plan: Plan, type_: type[A]) -> list[A]:
    """What the plan does of one type."""
    return [action for action in plan.actions if isinstance(action, type_)]
