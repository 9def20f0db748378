"""The model that is tuned and served by an operator that was just installed."""

from __future__ import annotations

from typing import Any

from tests.e2e import harness

NAME = "demo-simulated"
TIMES_AS_FAST = 8


def begin(namespace: str, **changes: Any) -> None:
    """A model in a namespace of its own starts to be tuned, or is changed."""
    harness.ensure_namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_simulated_claim(namespace)
    # A choice of two: how it is found is for other tests.
    document = harness.simulated(
        TIMES_AS_FAST,
        **{
            "spec__serving": {"replicas": 1},
            "spec__tuning__maxNSpec": 1,
            "spec__tuning__budget": {"maxTrials": 3},
            **changes,
        },
    )
    harness.apply(document, namespace)


def wait_until_served(namespace: str) -> dict[str, Any]:
    """The model, once the operator has seen it as it is now and serves it."""

    def has_seen() -> bool:
        model = harness.get("mtpmodels", namespace, NAME)
        return model is not None and model["status"]["observedGeneration"] == model["metadata"]["generation"]

    harness.wait_until(has_seen, "the newest generation is observed")
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
    assert model["status"]["servedNSpec"] == model["status"]["nSpec"]
    return model


def servers(namespace: str) -> set[str]:
    """The servers' pods, by uid."""
    pods = harness.items("pods", namespace, "app.kubernetes.io/component=server")
    return {pod["metadata"]["uid"] for pod in pods}
