"""The replica that holds the Lease is killed again and again in the middle of a run: one writer at a time."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from typing import Any

import pytest

from . import harness

pytestmark = pytest.mark.alone

NAME = "demo-llamacpp"
KILLS = 10
LONGEST_HANDOVER_SECONDS = 20
ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
WRITES = {"create", "patch", "update", "delete"}


def holder() -> str:
    lease = harness.get("leases", harness.OPERATOR_NAMESPACE, harness.RELEASE)
    assert lease is not None
    return str(lease["spec"].get("holderIdentity") or "")


def other_holder(than: str) -> str:
    """Who holds the Lease once that is somebody else."""
    return harness.wait_until(
        lambda: found if (found := holder()) not in ("", than) else "", "another holder of the Lease"
    )


def writers(since: int) -> list[str]:
    """The pods that wrote anything but the Lease, in order of their requests."""
    entries: list[dict[str, Any]] = [
        one
        for one in harness.audit(since)
        if one["user"]["username"] == ACCOUNT
        and one["verb"] in WRITES
        and one.get("objectRef", {}).get("resource") not in (None, "leases")
        and one["stage"] == "ResponseComplete"
    ]
    entries.sort(key=lambda one: datetime.fromisoformat(one["requestReceivedTimestamp"]))
    return [one["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] for one in entries]


def test_the_leader_is_killed_ten_times_during_a_run(namespace: str) -> None:
    harness.scale_operator(2)
    offset = harness.audit_offset()
    try:
        harness.apply(
            harness.sample(
                NAME, spec__serving={"replicas": 0}, spec__tuning__maxNSpec=4, spec__tuning__budget__maxTrials=8
            ),
            namespace,
        )
        for _ in range(KILLS):
            killed = holder()
            assert killed
            harness.kubectl(
                "delete", "pod", killed.split("_")[0], "-n", harness.OPERATOR_NAMESPACE, "--force", "--grace-period=0"
            )
            begun = time.monotonic()
            other_holder(killed)
            assert time.monotonic() - begun < LONGEST_HANDOVER_SECONDS
        model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
        run = harness.run_of(model)
    finally:
        harness.scale_operator(1)

    turns = [pod for pod, _ in itertools.groupby(writers(offset))]
    assert len(turns) == len(set(turns)), "a pod wrote again after another one had written"
    assert run["status"]["counters"]["failed"] == 0
