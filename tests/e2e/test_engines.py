"""The engines' own parsers judge what we hand them: in their own images, as pods."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtp_operator.api.engines.llamacpp_settings import LlamaCppSettings
from mtp_operator.api.engines.vllm_settings import VLLMSettings
from mtp_operator.api.spec import EngineType, SpeculationMethod
from tests.cluster.images import IMAGES

from . import harness
from .engine_cases import DRAFTED_BY_ANOTHER, DRAFTED_BY_ITSELF, VALUES, Case, cases

IMAGE = {EngineType.VLLM: IMAGES["vllm-cpu"].reference, EngineType.LLAMA_CPP: IMAGES["llamacpp-cpu"].reference}
MODEL = f"/models/{harness.MODEL_CLAIM}"

CONTAINER: dict[str, Any] = {
    "imagePullPolicy": "Never",
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
    "volumeMounts": [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "scratch", "mountPath": "/var/log/engine"},
        {"name": "model", "mountPath": MODEL, "readOnly": True},
    ],
}


def pod(name: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod that only looks: no GPU, our model, a place to write."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [copy.deepcopy(CONTAINER) | container for container in containers],
            "volumes": [
                {"name": "scratch", "emptyDir": {}},
                {"name": "model", "persistentVolumeClaim": {"claimName": harness.MODEL_CLAIM}},
            ],
        },
    }


@contextmanager
def finished(namespace: str, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod once its containers have ended; it goes at the end."""
    name = document["metadata"]["name"]
    harness.apply(document, namespace)
    try:

        def ended() -> dict[str, Any] | None:
            found = harness.get("pods", namespace, name)
            return found if found and found["status"]["phase"] in ("Succeeded", "Failed") else None

        def story() -> str:
            return harness.kubectl("describe", "pod", name, "-n", namespace)

        answer = harness.wait_until(ended, f"the end of pod {name}", story)
        assert answer is not None
        yield answer
    finally:
        harness.kubectl("delete", "pod", name, "-n", namespace, "--grace-period=1", "--wait=false")


def log(namespace: str, name: str, *options: str) -> str:
    return harness.kubectl("logs", name, "-n", namespace, "--tail=-1", *options)


def test_the_cases_name_every_setting_and_method() -> None:
    # SGLang has no image here: its argv are judged in tests/unit/engines, by what its sources take.
    assert VALUES.keys() == set(EngineType) - {EngineType.SGLANG}
    for engine_type, settings in ((EngineType.VLLM, VLLMSettings), (EngineType.LLAMA_CPP, LlamaCppSettings)):
        fields = {field.alias for field in settings.model_fields.values()}
        assert VALUES[engine_type].keys() == fields
    assert {*DRAFTED_BY_ANOTHER, *DRAFTED_BY_ITSELF} == set(SpeculationMethod)


def test_vllm_takes_every_argv(namespace: str) -> None:
    nonsense = [
        Case("unknown flag", (MODEL, "--no-such-flag=1")),
        Case("unknown method", (MODEL, '--speculative-config={"method":"x","num_speculative_tokens":1}')),
        Case(
            "no draft tokens", (MODEL, '--speculative-config={"method":"mtp","num_speculative_tokens":0}'), loads=True
        ),
    ]
    judged = [*cases(EngineType.VLLM, MODEL, "/models/drafter"), *nonsense]
    container = {
        "name": "judge",
        "image": IMAGE[EngineType.VLLM],
        "command": ["python3", "-c", (Path(__file__).parent / "judge_vllm.py").read_text()],
        "env": [{"name": "CASES", "value": json.dumps([vars(case) for case in judged])}],
    }

    with finished(namespace, pod("judge-vllm", [container])) as ended:
        assert ended["status"]["phase"] == "Succeeded", log(namespace, "judge-vllm")
        complaints = json.loads(log(namespace, "judge-vllm").splitlines()[-1])

    assert complaints.keys() == {case.name for case in nonsense}, complaints


def test_llamacpp_takes_every_argv(namespace: str) -> None:
    nonsense = Case("unknown flag", ("--model", "x", "--no-such-flag"))
    by_argv = {case.argv: case for case in cases(EngineType.LLAMA_CPP, f"{MODEL}/model.gguf", "/models/drafter.gguf")}
    judged = {f"case-{number}": case for number, case in enumerate((*by_argv.values(), nonsense))}
    containers = [
        # It reads all of its arguments before it prints its version.
        {"name": name, "image": IMAGE[EngineType.LLAMA_CPP], "args": [*case.argv, "--version"]}
        for name, case in judged.items()
    ]

    with finished(namespace, pod("judge-llamacpp", containers)) as ended:
        ends = {one["name"]: one["state"]["terminated"] for one in ended["status"]["containerStatuses"]}
        printed = log(namespace, "judge-llamacpp", "--all-containers", "--prefix", "--max-log-requests=100")

    refused = {judged[name].name: end.get("message", "") for name, end in ends.items() if end["exitCode"]}
    assert refused.keys() == {nonsense.name}, refused
    assert "invalid argument: --no-such-flag" in refused[nonsense.name]
    assert "DEPRECATED" not in printed
    assert printed.count("version: ") == len(by_argv)
