"""How the operator copes with many models: from its start to all their first Jobs, then at rest, then beside silence.

    python -m tests.perf.operator_scale [--models N...] [--strangers N] [--silent N] [--against IMAGE [--chart FOLDER]]

The cluster's API server, controllers and the operator share this machine. Pods of trials are refused by a quota: what
is measured is the operator. All the time there are pods of strangers that carry the operator's labels; at the end there
are fetches that take connections and never answer. With a second image, which has to be in the cluster, figures are
compared, too, with those of that image: machines differ by more than versions do. Prints figures and asserts none.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mtp_operator.api.conditions import format_time
from mtp_operator.api.fetch import PROGRESS_PORT
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import child_labels
from tests.cluster import api_server, paths
from tests.cluster.lifecycle import ensure_cluster
from tests.e2e import harness

NAMESPACE = "scale"
STRANGERS = "scale-strangers"
SILENT = "scale-silent"
ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
CHUNK = 50
REST_SECONDS = 60
LATE_MODELS = 10
"""Models that are made one by one beside the silent fetches."""
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}


@dataclass(frozen=True)
class Usage:
    """CPU time of a process, and its resident memory at the most."""

    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Start:
    """From the operator's first request until every model has its Job."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    writes_per_model: float

    def over(self, other: Start) -> str:
        """This one in times the other one."""
        return (
            f"{self.seconds / other.seconds:.2f} of its time, {self.cpu_seconds / other.cpu_seconds:.2f} of its CPU, "
            f"{self.peak_mib / other.peak_mib:.2f} of its memory, "
            f"{self.writes_per_model / other.writes_per_model:.2f} of its writes"
        )

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} s of CPU, at most {self.peak_mib:.0f} MiB, "
            f"{self.writes_per_model:.2f} writes a model"
        )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--strangers", type=int, default=10_000, help="pods with the operator's labels")
    parser.add_argument("--silent", type=int, default=200, help="fetches that do not answer")
    parser.add_argument("--against", metavar="IMAGE", help="NAME:TAG of another operator's image")
    parser.add_argument("--chart", type=Path, default=harness.CHART, help="of the other image; default: this one")
    options = parser.parse_args()
    ensure_cluster()
    print(f"machine: {machine()}", flush=True)
    make_strangers(options.strangers)
    print(f"{options.strangers} pods of strangers are there all the time", flush=True)
    theirs = measured(options.against, options.chart, options.models) if options.against else {}
    ours = measured(f"{harness.OPERATOR_IMAGE}:dev", harness.CHART, options.models)
    beside_silence(options.silent)
    for namespace in (NAMESPACE, SILENT):
        remove(namespace)
    for count in theirs:
        print(f"{count} models, this image against {options.against}: {ours[count].over(theirs[count])}")
    remove(STRANGERS)


def measured(image: str, chart: Path, counts: Iterable[int]) -> dict[int, Start]:
    """What an image needs to start, by the number of models."""
    repository, _, tag = image.rpartition(":")
    harness.install_operator(chart=chart, image={"repository": repository, "tag": tag})
    starts = {}
    for count in counts:
        starts[count] = start(count)
        print(f"{image}, {count} models, from its first request to their Jobs: {starts[count]}", flush=True)
        rest(count)
        remove(NAMESPACE)
    few, many = min(starts), max(starts)
    if many > few:
        print(f"{many} models take {starts[many].seconds / starts[few].seconds:.2f} times the time of {few}")
    return starts


def start(count: int) -> Start:
    """The operator starts, and finds this many models."""
    harness.scale_operator(0)
    make_namespace()
    apply_models(range(count), speculation={"method": "MTP"})
    offset = harness.audit_offset()
    harness.scale_operator(1)
    harness.wait_until(partial(has_jobs, count), f"{count} Jobs")
    used, asked = usage(), requests(offset)
    seconds = (max(map(moment, created_jobs(asked))) - min(map(moment, asked))).total_seconds()
    writes = Counter((entry["verb"], entry["objectRef"]["resource"]) for entry in asked if is_write(entry))
    for (verb, resource), number in writes.most_common():
        print(f"  {number:6d} {verb} {resource}")
    return Start(seconds, used.cpu_seconds, used.peak_mib, writes.total() / count)


def rest(count: int) -> None:
    """What settled models cost."""
    apply_models(range(count), speculation={"method": "MTP", "nSpec": 1})
    harness.wait_until(lambda: number_of_jobs() == 0, "no Job left")
    time.sleep(10)
    offset, before = harness.audit_offset(), usage()
    time.sleep(REST_SECONDS)
    resting = Counter((entry["verb"], entry["objectRef"]["resource"]) for entry in requests(offset))
    cpu_seconds = usage().cpu_seconds - before.cpu_seconds
    print(f"  {REST_SECONDS} s at rest: {dict(resting) or 'no request'}, {cpu_seconds:.1f} s of CPU", flush=True)


def beside_silence(count: int) -> None:
    """How long new models wait for their Job while fetches are asked that do not answer."""
    address, began = paths.host_address(), []
    make_namespace()
    with socket.create_server((address, PROGRESS_PORT), backlog=4 * count):
        make_silent_fetches(count, address)
        offset = harness.audit_offset()
        for number in range(LATE_MODELS):
            body = model(f"model-{number}", speculation={"method": "MTP"})
            began.append(datetime.now(UTC))
            path = f"/{harness.API_OF['mtpmodels']}/namespaces/{NAMESPACE}/mtpmodels"
            harness.client().post(path, json=body).raise_for_status()
            harness.wait_until(partial(has_jobs, number + 1), "the Job of a new model")
    jobs = [one for one in created_jobs(requests(offset)) if one["objectRef"]["namespace"] == NAMESPACE]
    waits = [(moment(job) - then).total_seconds() for job, then in zip(jobs, began, strict=True)]
    print(
        f"  {len(waits)} models beside {count} silent fetches wait for their Job at most {max(waits):.1f} s", flush=True
    )


# -- what is there -----------------------------------------------------------------------------------------------------


def make_namespace() -> None:
    """The models', whose trials get no pods."""
    harness.ensure_namespace(NAMESPACE)
    harness.apply(QUOTA, NAMESPACE)


def remove(namespace: str) -> None:
    """Deletes a namespace, and waits until nothing of it is left to do for the cluster."""
    harness.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
    path = f"/api/v1/namespaces/{namespace}"
    harness.wait_until(lambda: harness.client().get(path).status_code == 404, f"namespace {namespace} gone")


def apply_models(numbers: Iterable[int], **spec: Any) -> None:
    """Applies the models of these numbers, a chunk at a time."""
    models = [model(f"model-{number}", **spec) for number in numbers]
    for first in range(0, len(models), CHUNK):
        harness.apply({"apiVersion": "v1", "kind": "List", "items": models[first : first + CHUNK]}, NAMESPACE)


def model(name: str, **spec: Any) -> dict[str, Any]:
    """A model that is only tuned, as every version of the API has it."""
    stated = {
        "model": {"uri": "pvc://mtp-demo-model/model.gguf"},
        "engine": {"type": "LlamaCpp"},
        "serving": {"replicas": 0},
        **spec,
    }
    return {
        "apiVersion": "mtp-operator.dev/v1alpha1",
        "kind": "MTPModel",
        "metadata": {"name": name},
        "spec": stated,
    }


def make_strangers(count: int) -> None:
    """Pods that look like the operator's, and that nothing schedules."""
    harness.ensure_namespace(STRANGERS)
    spec = {"schedulerName": "nobody", "containers": [{"name": "one", "image": "none:1"}]}

    def make(number: int) -> None:
        labels = child_labels(f"stranger-{number}")
        body = {"metadata": {"name": f"stranger-{number}", "labels": labels}, "spec": spec}
        answer = client.post(f"/api/v1/namespaces/{STRANGERS}/pods", json=body, timeout=60)
        if answer.status_code != 409:
            answer.raise_for_status()

    with api_server.connect() as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(count)))


def make_silent_fetches(count: int, address: str) -> None:
    """Fetches whose pods run, as far as the API server knows, at an address that takes connections and says nothing."""
    harness.ensure_namespace(SILENT)
    fetched = {
        "model": {"uri": f"hf://{harness.HUB_REPOSITORY_GGUF}/*Q8_0.gguf"},
        "storage": {"newClaim": {"size": "1Gi", "storageClassName": "none"}},
    }
    models = [model(f"silent-{number}", **fetched) for number in range(count)]
    for first in range(0, count, CHUNK):
        harness.apply({"apiVersion": "v1", "kind": "List", "items": models[first : first + CHUNK]}, SILENT)
    pods = harness.wait_until(lambda: all_pods(SILENT, count), f"{count} pods of fetches")
    now = format_time(datetime.now(UTC))
    running = {"name": FETCH_CONTAINER, "image": "none", "imageID": "none", "ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": [{**running, "state": {"running": {"startedAt": now}}}],
    }
    for pod in pods:
        harness.client().patch(
            f"/api/v1/namespaces/{SILENT}/pods/{pod['metadata']['name']}/status",
            json={"status": status},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()


def all_pods(namespace: str, count: int) -> list[dict[str, Any]]:
    """The pods of a namespace, once there are so many."""
    pods = harness.items("pods", namespace)
    return pods if len(pods) >= count else []


def number_of_jobs() -> int:
    """Jobs of the models, counted by the API server: to read thousands again and again would be measured too."""
    path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    listed = harness.client().get(path, params={"limit": 1}).raise_for_status().json()
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def has_jobs(count: int) -> bool:
    """Whether the models have so many Jobs."""
    return number_of_jobs() >= count


# -- what was asked ----------------------------------------------------------------------------------------------------


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


def created_jobs(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The requests that made a Job."""
    return [
        entry
        for entry in entries
        if (entry["verb"], entry["objectRef"]["resource"]) == ("create", "jobs")
        and entry["responseStatus"]["code"] == 201
    ]


def moment(entry: dict[str, Any]) -> datetime:
    """When a request came."""
    return datetime.fromisoformat(entry["requestReceivedTimestamp"])


def usage() -> Usage:
    """Of the operator's process since its start; other clusters of this machine may have operators of their own.

    Raises:
        RuntimeError: it does not run on this machine.
    """
    pods = {f"HOSTNAME={pod['metadata']['name']}" for pod in harness.operator_pods()}
    for process in Path("/proc").glob("[0-9]*"):
        command = _read(process / "cmdline").split("\0")
        is_operator = len(command) > 2 and command[1].endswith("/mtp") and command[2] == "operator"
        if is_operator and pods & set(_read(process / "environ").split("\0")):
            ticks = _read(process / "stat").rsplit(")", 1)[1].split()
            cpu_seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
            status = dict(line.split(":\t", 1) for line in _read(process / "status").splitlines() if ":\t" in line)
            return Usage(cpu_seconds, int(status["VmHWM"].split()[0]) / 1024)
    raise RuntimeError("the operator's process is not on this machine")


def machine() -> str:
    """Its name, and what it has."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{platform.node()}, {os.cpu_count()} x {processor}, {memory_gib:.0f} GiB"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
