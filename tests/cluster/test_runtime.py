"""What the operator does to a real API server. Namespaces here have no models, so the installed operator stays away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.node import kubectl
from tests.e2e import harness

pytestmark = pytest.mark.usefixtures("operator")

WAIT_SECONDS = 600.0
SHORT_LEASE = {
    "MTP_OPERATOR_LEASE_DURATION_SECONDS": "8",
    "MTP_OPERATOR_LEASE_RENEW_DEADLINE_SECONDS": "5",
    "MTP_OPERATOR_LEASE_RETRY_SECONDS": "1",
}


# -- processes ---------------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """One operator process on this machine."""

    place: str
    name: str
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    running: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        settings = {
            "MTP_OPERATOR_NAMESPACES": self.place,
            "MTP_OPERATOR_POD_NAMESPACE": self.place,
            "MTP_OPERATOR_IDENTITY": self.name,
            "MTP_OPERATOR_HEALTH_ADDRESS": "127.0.0.1",
            "MTP_OPERATOR_HEALTH_PORT": "0",
            "MTP_OPERATOR_METRICS_PORT": "0",
            "MTP_OPERATOR_ENGINE_IMAGE_VLLM": "vllm:1",
            "MTP_OPERATOR_ENGINE_IMAGE_LLAMA_CPP": "llamacpp:1",
            "MTP_OPERATOR_BENCH_IMAGE": "operator:1",
            **SHORT_LEASE,
        }
        with self.log.open("wb") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-c", "from mtp_operator.cli.main import app; app(['operator'])"],
                env={**os.environ, **settings, **self.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def waits_until_said(self, words: str) -> None:
        harness.wait_until(lambda: self.said(words), f"{self.name}: {words}")

    def ends(self) -> int:
        return self.running.wait(WAIT_SECONDS)


@pytest.fixture
def start(place: str, tmp_path: Path) -> Iterator[Any]:
    """Starts operator processes that serve only the test's namespace, and ends what is left of them."""
    processes: list[Process] = []

    def start(name: str, **settings: str) -> Process:
        processes.append(Process(place, name, tmp_path / f"{name}.log", settings))
        return processes[-1]

    yield start
    for process in processes:
        process.running.kill()
        process.running.wait()


def holder(place: str) -> str:
    """Who holds the Lease."""
    lease = json.loads(kubectl("get", "lease", "mtp-operator", "-n", place, "-o", "json"))
    return str(lease["spec"]["holderIdentity"])


def requests(place: str, since: int) -> list[tuple[str, str]]:
    """Verb and resource of each request of operators for this namespace, from the audit log."""
    return [
        (line["verb"], line["objectRef"]["resource"])
        for line in harness.audit(since)
        if line.get("objectRef", {}).get("namespace") == place
        and line.get("userAgent", "").startswith(("mtp-operator", "kopf"))
    ]


def test_the_lease_passes_on_at_once_after_sigterm_and_in_time_after_sigkill(place: str, start: Any) -> None:
    first = start("first")
    first.waits_until_said("the lease is held")
    since = harness.audit_offset()
    second = start("second")
    second.waits_until_said("standing by")
    assert holder(place) == "first"

    first.running.terminate()
    assert first.ends() == 0
    assert first.said("the lease is released")
    second.waits_until_said("the lease is held")
    assert holder(place) == "second"

    third = start("third")
    third.waits_until_said("standing by")
    second.running.kill()
    third.waits_until_said("the lease is held")
    assert holder(place) == "third"
    assert ("watch", "jobs") in requests(place, since)


def test_a_stand_by_watches_nothing_and_a_leader_at_rest_asks_for_nothing_but_its_lease(place: str, start: Any) -> None:
    leader = start("leader")
    leader.waits_until_said("the lease is held")
    harness.wait_until(lambda: ("watch", "pods") in requests(place, 0), "the watches have begun")
    stand_by = start("stand-by")
    stand_by.waits_until_said("standing by")
    # The stand-by has made its own LISTs of one object each, to know whether it may; what follows is rest.
    since = harness.audit_offset()
    harness.wait_until(lambda: requests(place, since).count(("update", "leases")) >= 3, "three renewals")

    assert set(requests(place, since)) <= {("update", "leases"), ("get", "leases")}


def test_the_holder_ends_itself_when_another_has_taken_the_lease(place: str, start: Any) -> None:
    first = start("first")
    first.waits_until_said("the lease is held")

    kubectl("patch", "lease", "mtp-operator", "-n", place, "--type=merge", "-p", '{"spec":{"holderIdentity":"x"}}')

    assert first.ends() == 1
    assert first.said("the lease is now held by 'x'")
    assert holder(place) == "x"


def test_without_the_right_to_list_the_process_says_which_right_it_lacks(
    place: str, kubeconfig: Path, start: Any, tmp_path: Path
) -> None:
    kubectl("create", "serviceaccount", "nobody", "-n", place)
    credentials = yaml.safe_load(kubeconfig.read_text())
    credentials["users"] = [
        {"name": one["name"], "user": {"token": kubectl("create", "token", "nobody", "-n", place).strip()}}
        for one in credentials["users"]
    ]
    nobody = tmp_path / "kubeconfig"
    nobody.write_text(yaml.safe_dump(credentials))

    process = start("nobody", KUBECONFIG=str(nobody))

    assert process.ends() == 1
    assert process.said("the operator's role lacks a right")
    assert process.said(f"system:serviceaccount:{place}:nobody")
