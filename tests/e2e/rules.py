"""Rules that administrators set for pods, what they refuse, and a model that is tuned in half a minute all the same."""

from __future__ import annotations

from typing import Any

import httpx

from simulated_gpu.curve import read_curve
from tests.cluster import paths

from . import harness

NAME = "demo-simulated"
CURVE = "seed-gemma4-31b-fp8-vllm"
BEST_N_SPEC = 2
"""Of those that `quick_model` lets be tried."""

_TIMES_AS_FAST = 4


def quick_model(**template: Any) -> dict[str, Any]:
    """A model on the simulated GPU with few candidates, and with this template."""
    changes = {"spec__tuning__maxNSpec": BEST_N_SPEC, "spec__tuning__budget": {"maxTrials": 6}}
    document = harness.simulated(_TIMES_AS_FAST, **changes)
    document["spec"]["template"].update(template)
    return document


def assert_tuned_and_served(model: dict[str, Any]) -> None:
    """The recorded best is chosen, faster by as much as was recorded, and its server answers at its Service."""
    run = harness.run_of(model)
    harness.assert_unsuspected(run)
    verdict = run["status"]["verdict"]
    assert (verdict["type"], verdict["nSpec"]) == ("Selected", BEST_N_SPEC), verdict
    recorded = read_curve(harness.REPOSITORY / "docs" / "data", CURVE)
    truth = recorded.tokens_per_second(BEST_N_SPEC, 1) / recorded.tokens_per_second(0, 1)
    assert float(verdict["speedupLow"]) <= truth <= float(verdict["speedupHigh"]), (truth, verdict)
    assert model["status"]["servedNSpec"] == BEST_N_SPEC
    assert completion(model["metadata"]["namespace"])["usage"]["completion_tokens"] == 4


def completion(namespace: str) -> dict[str, Any]:
    """What the server answers, asked at the address of its Service, once the node's proxy knows it."""
    service = harness.get("services", namespace, NAME)
    assert service is not None
    address = paths.endpoint(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])
    question = {"model": NAME, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 4}

    def answer() -> dict[str, Any]:
        try:
            response = httpx.post(f"http://{address}/v1/chat/completions", json=question, timeout=60, trust_env=False)
        except httpx.ConnectError:
            return {}
        body: dict[str, Any] = response.raise_for_status().json()
        return body

    return harness.wait_until(answer, f"an answer at {address}")


def pod_policy(name: str, namespace: str, expression: str, message: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ValidatingAdmissionPolicy for the pods of a namespace, and its binding."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": message}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        },
    }
    return policy, binding


def refusal_of_a_pod(namespace: str) -> str:
    """What the API server has against a pod that Pod Security would let in, and that wants 64 CPUs; empty: nothing."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "probe", "image": "probe", "resources": {"limits": {"cpu": "64"}}, "securityContext": security}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [container]},
    }
    try:
        harness.kubectl("create", "--dry-run=server", "-f", "-", document=pod)
    except RuntimeError as error:
        # A new namespace has no ServiceAccount for a moment, and no pods either.
        return "" if "service account" in str(error) else str(error)
    return ""
