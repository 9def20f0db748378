"""A client in a pod of its own, which asks a model for completions by the name of its Service until it is ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from mtp_operator.bench.draft_counters import read_counters
from mtp_operator.engines import Engine

from . import harness

METRICS_PORT = 8081
SERVERS = "app.kubernetes.io/component=server"

CLIENT = """
import json, sys, threading, time, urllib.request

url, model, clients = sys.argv[1], sys.argv[2], int(sys.argv[3])
body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 4}).encode()
lock = threading.Lock()

def ask():
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    try:
        # A connection of its own for each request, as behind a gateway without keep-alive.
        with urllib.request.urlopen(request, timeout=60) as response:
            return "" if json.load(response)["usage"]["completion_tokens"] > 0 else "no tokens"
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def ask_on():
    while True:
        began_at = time.time()
        error = ask()
        with lock:
            print(json.dumps({"began_at": began_at, "ended_at": time.time(), "error": error}), flush=True)
        # Nodes remember a connection for two minutes by its ports, and where it went. At this pace no port comes again
        # sooner, and none leads to a server that is no more.
        time.sleep(0.15)

threads = [threading.Thread(target=ask_on) for _ in range(clients)]
for thread in threads:
    thread.start()
"""


@dataclass(frozen=True)
class Answer:
    """One request: when it began and ended, in seconds since the epoch, and what went wrong, if anything did."""

    began_at: float
    ended_at: float
    error: str


@dataclass(frozen=True)
class Traffic:
    """A running client."""

    namespace: str
    name: str = "client"

    def answers(self) -> list[Answer]:
        """All requests so far."""
        lines = harness.pod_log(self.namespace, self.name).splitlines()
        return [Answer(**json.loads(line)) for line in lines if line.endswith("}")]

    def failures(self) -> list[Answer]:
        """Those that failed."""
        return [answer for answer in self.answers() if answer.error]

    def goes_on_for(self, requests: int) -> None:
        """Waits for so many requests more."""
        wanted = len(self.answers()) + requests
        harness.wait_until(lambda: len(self.answers()) >= wanted, f"{wanted} requests")

    def stop(self) -> None:
        """Ends the client."""
        harness.kubectl("delete", "pod", self.name, "-n", self.namespace, "--grace-period=0", "--force")


def start(namespace: str, url: str, model: str, clients: int = 2) -> Traffic:
    """Starts a client in the namespace and waits for its first good answer."""
    traffic = Traffic(namespace)
    harness.apply(_pod(traffic.name, url, model, clients), namespace)
    harness.wait_until(lambda: is_running(namespace, traffic.name), "the client runs")
    harness.wait_until(
        lambda: any(not answer.error for answer in traffic.answers()),
        "a first answer",
        lambda: str(traffic.answers()[-3:]),
    )
    return traffic


def is_running(namespace: str, name: str) -> bool:
    """Whether a pod's containers have started."""
    pod = harness.get("pods", namespace, name)
    return pod is not None and pod["status"]["phase"] == "Running"


def metrics(namespace: str, engine: Engine) -> str:
    """What the only server says of itself, as Prometheus reads it."""
    (pod,) = harness.items("pods", namespace, SERVERS)
    return httpx.get(f"http://{pod['status']['podIP']}:{engine.port}{engine.metrics_path}", trust_env=False).text


def operator_metrics() -> str:
    """What the only operator says of itself and of all models."""
    (pod,) = harness.operator_pods()
    return httpx.get(f"http://{pod['status']['podIP']}:{METRICS_PORT}/metrics", trust_env=False).text


def drafted_per_step(namespace: str, engine: Engine) -> float:
    """Draft tokens per drafting step, by the counters of the only server; 0 where it counts none."""
    counters = read_counters(metrics(namespace, engine), engine.metrics)
    if counters.drafting is None:
        return 0.0
    assert counters.drafting.draft_tokens is not None
    return counters.drafting.draft_tokens / counters.drafting.drafts


def _pod(name: str, url: str, model: str, clients: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "client",
                    "image": f"{harness.OPERATOR_IMAGE}:dev",
                    "command": ["python3", "-c", CLIENT, url, model, str(clients)],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
