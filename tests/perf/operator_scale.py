"""How the operator copes with many models: from its start to all their first Jobs, then a minute at rest.

    python -m tests.perf.operator_scale [MODELS]

The cluster's API server, controllers and the operator share this machine. Pods are refused by a quota: what is measured
is the operator. Prints figures and asserts none.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster.lifecycle import ensure_cluster
from tests.e2e import harness

NAMESPACE = "scale"
ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
CHUNK = 50
REST_SECONDS = 60


@dataclass(frozen=True)
class Usage:
    """CPU time and resident memory of a process."""

    cpu_seconds: float
    resident_mib: float

    def __str__(self) -> str:
        return f"{self.cpu_seconds:.1f} s of CPU, {self.resident_mib:.0f} MiB resident"


def main(count: int) -> None:
    """Runs the benchmark with this many models."""
    ensure_cluster()
    harness.install_operator()
    harness.scale_operator(0)
    harness.ensure_namespace(NAMESPACE)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    harness.apply(quota, NAMESPACE)
    apply_models(count, {"method": "MTP"})
    print(f"{count} models exist; starting the operator", flush=True)

    offset = harness.audit_offset()
    harness.scale_operator(1)
    harness.wait_until(lambda: len(created_jobs(offset)) >= count, f"{count} Jobs", 300)
    begin = min(moment(entry) for entry in requests(offset))
    seconds = (max(moment(entry) for entry in created_jobs(offset)) - begin).total_seconds()
    print(f"from its first request to {count} Jobs: {seconds:.1f} s; {usage()} since its start")
    writes = Counter((entry["verb"], entry["objectRef"]["resource"]) for entry in requests(offset) if is_write(entry))
    for (verb, resource), number in writes.most_common():
        print(f"  {number:6d} {verb} {resource}")

    apply_models(count, {"method": "MTP", "nSpec": 1})
    harness.wait_until(lambda: harness.items("jobs", NAMESPACE) == [], "no Job left", 300)
    time.sleep(10)
    offset = harness.audit_offset()
    before = usage()
    time.sleep(REST_SECONDS)
    after = usage()
    resting = Counter((entry["verb"], entry["objectRef"]["resource"]) for entry in requests(offset))
    rest = Usage(after.cpu_seconds - before.cpu_seconds, after.resident_mib)
    print(f"{REST_SECONDS} s at rest with {count} settled models: {dict(resting) or 'no request'}; {rest}")
    harness.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def apply_models(count: int, speculation: dict[str, Any]) -> None:
    """Applies the models, a chunk at a time."""
    for first in range(0, count, CHUNK):
        models = [
            harness.sample(
                "demo-llamacpp",
                metadata__name=f"model-{number}",
                spec__speculation=speculation,
                spec__serving={"replicas": 0},
            )
            for number in range(first, min(first + CHUNK, count))
        ]
        harness.apply({"apiVersion": "v1", "kind": "List", "items": models}, NAMESPACE)


def requests(offset: int) -> list[dict[str, Any]]:
    """What the operator asked of the API server since, watches left out."""
    return [
        entry
        for entry in harness.audit(offset)
        if entry["user"]["username"] == ACCOUNT and entry["verb"] != "watch" and "objectRef" in entry
    ]


def is_write(entry: dict[str, Any]) -> bool:
    """Whether a request was meant to change something."""
    return entry["verb"] not in ("get", "list", "watch")


def created_jobs(offset: int) -> list[dict[str, Any]]:
    """The operator's Jobs since."""
    return [
        entry
        for entry in requests(offset)
        if entry["verb"] == "create"
        and entry["objectRef"]["resource"] == "jobs"
        and entry["responseStatus"]["code"] == 201
    ]


def moment(entry: dict[str, Any]) -> datetime:
    """When a request came."""
    return datetime.fromisoformat(entry["requestReceivedTimestamp"])


def usage() -> Usage:
    """Of the operator's process since its start.

    Raises:
        RuntimeError: it does not run on this machine.
    """
    for process in Path("/proc").glob("[0-9]*"):
        command = _read(process / "cmdline").split("\0")
        if len(command) > 2 and command[1].endswith("/mtp") and command[2] == "operator":
            ticks = _read(process / "stat").rsplit(")", 1)[1].split()
            cpu_seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
            status = dict(line.split(":\t", 1) for line in _read(process / "status").splitlines() if ":\t" in line)
            return Usage(cpu_seconds, int(status["VmRSS"].split()[0]) / 1024)
    raise RuntimeError("the operator's process is not on this machine")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
