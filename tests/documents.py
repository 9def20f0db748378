"""Objects of the API that are in order, to change one thing in."""

from __future__ import annotations

from typing import Any


def model(*changes: tuple[str, Any], engine: str = "VLLM") -> dict[str, Any]:
    """A small MTPModel that is in order, with changes: dotted path -> value, None to remove it."""
    uri = "pvc://weights/model.gguf" if engine == "LlamaCpp" else "pvc://weights/model"
    image = {"image": "docker.io/lmsysorg/sglang:v0.5.23"} if engine == "SGLang" else {}
    document: dict[str, Any] = {
        "apiVersion": "mtp-operator.dev/v1alpha1",
        "kind": "MTPModel",
        "metadata": {"name": "model", "namespace": "default"},
        "spec": {"model": {"uri": uri}, "engine": {"type": engine, **image}},
    }
    for path, value in changes:
        *parents, last = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    return document


TTFT = "TimeToFirstToken"


def limit(**changes: Any) -> dict[str, Any]:
    """A limit on a latency that is in order, with changes."""
    return {"metric": f"P95{TTFT}", "concurrency": 1, "maxMilliseconds": 800, **changes}


def hub_model(uri: str, *changes: tuple[str, Any], engine: str = "VLLM") -> dict[str, Any]:
    """The same with weights that are fetched."""
    return model(("spec.model.uri", uri), ("spec.storage", {"existingClaim": "weights"}), *changes, engine=engine)


def run(name: str = "model-0123456789") -> dict[str, Any]:
    """An MTPTuningRun as the operator makes it."""
    return {
        "apiVersion": "mtp-operator.dev/v1alpha1",
        "kind": "MTPTuningRun",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"uri": "pvc://weights/model", "servedName": "model"},
            "engine": {"type": "VLLM", "image": "vllm:1"},
            "benchImage": "operator:1",
            "accelerator": {},
            "speculation": {},
            "maxNSpec": 2,
            "workload": {"levels": [{"concurrency": 1}]},
            "budget": {},
            "modelName": "model",
            "retuneRequest": 0,
            "requestHash": f"sha256:{'0' * 64}",
        },
    }
