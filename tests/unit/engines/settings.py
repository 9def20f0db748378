"""Settings of a run, as the tests of engines and of what is built from them start from."""

from typing import Any

from mtp_operator.api.run import RunSettings


def run_settings(**changes: Any) -> RunSettings:
    """A small run on vLLM; `changes` replaces top-level fields by their camelCase documents."""
    document: dict[str, Any] = {
        "model": {"uri": "pvc://weights/qwen", "servedName": "qwen"},
        "engine": {"type": "VLLM", "image": "engine:1"},
        "benchImage": "bench:1",
        "accelerator": {},
        "speculation": {},
        "maxNSpec": 8,
        "workload": {"outputTokens": 128, "levels": [{"concurrency": 1}]},
        "budget": {},
    }
    return RunSettings.model_validate({**document, **changes})
