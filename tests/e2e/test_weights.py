"""Weights that nobody has put there: fetched from a hub, through a pod's death, then measured and shared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import Hub

from . import harness

NAME = "demo-llamacpp"
CLAIM = f"{NAME}-weights"


@pytest.fixture
def volume(tmp_path: Path, namespace: str) -> Iterator[Path]:
    """A volume that waits for a claim, as a StorageClass would make one."""
    folder = tmp_path / "volume"
    with harness.waiting_volume(f"{namespace}-volume", folder, namespace, CLAIM):
        yield folder


def fetching(**changes: Any) -> dict[str, Any]:
    """The sample with weights of the hub, measured no longer than it takes to see that they can be loaded."""
    return harness.sample(
        NAME,
        **{
            "spec__model__uri": f"hf://{harness.HUB_REPOSITORY_GGUF}/*Q8_0.gguf",
            "spec__storage": {"newClaim": {"size": "1Gi"}},
            "spec__tuning__maxNSpec": 1,
            "spec__tuning__budget__maxTrials": 2,
            "spec__tuning__workload__outputTokens": 16,
            **changes,
        },
    )


def test_weights_are_fetched_measured_and_shared(namespace: str, hub: Hub, volume: Path) -> None:
    size = (hub.repositories[harness.HUB_REPOSITORY_GGUF].folder / "tiny-Q8_0.gguf").stat().st_size
    harness.apply(fetching(), namespace)
    stalled = harness.wait_for_condition(namespace, NAME, "Stalled", "True", "GatedRepository")
    assert "spec.model.tokenSecretRef" in harness.condition(stalled, "WeightsReady")["message"]

    # In the middle the pod is deleted, once; the other half comes when it is gone.
    once = threading.Lock()
    commit = hub.repositories[harness.HUB_REPOSITORY_GGUF].commit
    kept = volume / "fetching" / harness.HUB_REPOSITORY_GGUF / commit / "tiny-Q8_0.gguf"
    kept_bytes: list[int] = []

    def delete_pod(sent: int) -> None:
        if sent > size // 2 and once.acquire(blocking=False):
            (pod,) = (pod for pod in harness.items("pods", namespace) if pod["status"]["phase"] == "Running")
            name = pod["metadata"]["name"]
            kept_bytes.append(kept.stat().st_size)
            harness.kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
            harness.wait_until(lambda: harness.get("pods", namespace, name) is None, "the pod's end")

    hub.watch = delete_pod
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub"},
        "stringData": {"token": harness.HUB_TOKEN},
    }
    harness.apply(secret, namespace)
    harness.apply(fetching(spec__model__tokenSecretRef={"name": "hub"}), namespace)
    cached = harness.wait_for_condition(namespace, NAME, "WeightsReady", "True", "Fetched")
    # How much is under way and lost with the pod is the network's affair; what was on the claim is not asked for again.
    ranges = [headers["Range"] for path, headers in hub.requests if path.startswith("/lfs/")]
    begun, *_, resumed = (int(one.removeprefix("bytes=").removesuffix("-")) for one in ranges)
    assert begun == 0
    assert max(1, *kept_bytes) <= resumed < size
    uri = f"hf://{harness.HUB_REPOSITORY_GGUF}/tiny-Q8_0.gguf"
    assert cached["status"]["weights"]["fetched"] == [{"uri": uri, "revision": commit}]
    assert (volume / "models" / harness.HUB_REPOSITORY_GGUF / commit / "tiny-Q8_0.gguf").stat().st_size == size

    # Which n it is, other tests say.
    run = harness.run_of(harness.wait_for_condition(namespace, NAME, "Ready", "True", ""))
    assert run["status"]["counters"]["measured"] >= 1
    assert (run["spec"]["model"]["uri"], run["spec"]["model"]["revision"]) == (uri, commit)
    assert harness.items("jobs", namespace) == []

    # A second model finds everything on the first one's claim.
    before = hub.bytes_sent
    second = fetching(
        metadata__name="second",
        spec__model__tokenSecretRef={"name": "hub"},
        spec__storage={"existingClaim": CLAIM},
        spec__speculation={"nSpec": 1},
    )
    harness.apply(second, namespace)
    harness.wait_for_condition(namespace, "second", "WeightsReady", "True", "Fetched")
    assert hub.bytes_sent == before

    # So does the first after a restart of the operator, without asking anybody.
    asked = len(hub.requests)
    harness.restart_operator()
    harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
    assert len(hub.requests) == asked

    harness.kubectl("delete", "mtpmodels", "--all", "-n", namespace)
    harness.wait_until(
        lambda: CLAIM not in [one["metadata"]["name"] for one in harness.items("persistentvolumeclaims", namespace)],
        "the operator's claim goes with its model",
    )


def test_a_fetch_ends_with_its_model(namespace: str, hub: Hub, volume: Path) -> None:
    del volume
    deleted = threading.Event()
    hub.watch = lambda _: _hold(deleted)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub"},
        "stringData": {"token": harness.HUB_TOKEN},
    }
    harness.apply(secret, namespace)
    harness.apply(fetching(spec__model__tokenSecretRef={"name": "hub"}), namespace)
    harness.wait_until(lambda: hub.bytes_sent, "the first bytes")

    harness.kubectl("delete", "mtpmodel", NAME, "-n", namespace)
    deleted.set()

    for kind in ("jobs", "pods"):
        harness.wait_until(lambda kind=kind: harness.items(kind, namespace) == [], f"no {kind} left")  # type: ignore[misc]


def _hold(event: threading.Event) -> None:
    event.wait(60)
