"""The test cluster keeps its promises: one cluster, a real node, pods as in production, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import components, images, lifecycle, node, paths, pause
from tests.e2e.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
OPERATOR_IMAGE = images.IMAGES["operator"].reference
CNI_RESULTS = Path("/var/lib/cni/results")
CLAIM = "models"
GPU_PRODUCT = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"

#: A container that Pod Security "restricted" admits.
RESTRICTED: dict[str, Any] = {
    "image": OPERATOR_IMAGE,
    "imagePullPolicy": "Never",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
}
#: And the rest of its pod.
RESTRICTED_POD: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 1,
}

SERVER = """
import http.server

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"drafted")

http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Answer).serve_forever()
"""

WAIT_FOR_SIDECAR = """
import pathlib, time, urllib.request

while True:
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:8000", timeout=2).read()
        break
    except OSError:
        time.sleep(0.1)
pathlib.Path("/dev/termination-log").write_bytes(answer)
"""

LOOK_AROUND = """
import errno, json, os, pathlib, socket, time, urllib.request

def service():
    while True:
        try:
            return urllib.request.urlopen("http://server:8000", timeout=2).read().decode()
        except OSError:
            time.sleep(0.1)

def connect(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "connected"

seen = {
    "service": service(),
    "api": connect(os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])),
    "outside": connect("198.51.100.1", 443),
}
pathlib.Path("/dev/termination-log").write_text(json.dumps(seen))
"""


@pytest.fixture
def namespace(kubeconfig: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    assert kubeconfig.exists()
    name = request.node.name.replace("_", "-")[:50]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    node.kubectl("delete", "namespace", name, "--ignore-not-found")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    node.kubectl("create", "--filename=-", document=namespace)
    wait_until(lambda: get(name, "serviceaccount") != [], "the namespace has its service account")
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")
    node.kubectl("delete", "persistentvolume", f"{name}-{CLAIM}", "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def operator_image(kubeconfig: Path) -> None:
    assert kubeconfig.exists()
    images.load(images.IMAGES["operator"])


def get(namespace: str, kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(node.kubectl("get", kind, f"-n{namespace}", "-ojson"))["items"]
    return items


def termination_message(namespace: str, pod_prefix: str) -> str:
    """Waits for a pod's main container to end well, and returns what it left."""

    def terminated() -> dict[str, Any]:
        pods = [pod for pod in get(namespace, "pods") if pod["metadata"]["name"].startswith(pod_prefix)]
        statuses = pods[0]["status"].get("containerStatuses", []) if pods else []
        state: dict[str, Any] = statuses[0]["state"].get("terminated", {}) if statuses else {}
        return state

    wait_until(lambda: terminated() != {}, f"the main container of {pod_prefix} ends")
    assert terminated()["exitCode"] == 0
    message: str = terminated()["message"]
    return message


def test_up_twice_is_one_cluster(kubeconfig: Path) -> None:
    before = {component.name: component.process() for component in components.all_components().values()}

    assert lifecycle.ensure_cluster() == kubeconfig

    after = {component.name: component.process() for component in components.all_components().values()}
    assert None not in before.values()
    assert after == before


@pytest.mark.alone
def test_up_starts_what_has_died(kubeconfig: Path) -> None:
    scheduler = components.all_components()["kube-scheduler"]
    before = scheduler.process()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: scheduler.process() is None, "the scheduler is gone")

    assert lifecycle.ensure_cluster() == kubeconfig

    assert scheduler.is_healthy()
    assert scheduler.process() != before


@pytest.mark.usefixtures("kubeconfig")
def test_the_node_offers_gpus_and_says_which() -> None:
    registered = node.get()

    assert registered is not None
    assert node.is_ready(registered)
    assert registered["status"]["capacity"]["nvidia.com/gpu"] == str(lifecycle.DEFAULT_GPUS)
    assert registered["status"]["allocatable"]["nvidia.com/gpu"] == str(lifecycle.DEFAULT_GPUS)
    labels = registered["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == GPU_PRODUCT
    assert labels["nvidia.com/gpu.family"] == "blackwell"
    assert (labels["nvidia.com/gpu.compute.major"], labels["nvidia.com/gpu.compute.minor"]) == ("12", "0")
    assert labels["nvidia.com/gpu.sharing-strategy"] == "none"


@pytest.mark.usefixtures("operator_image")
def test_a_job_with_a_native_sidecar_runs_under_restricted(namespace: str) -> None:
    sidecar = {
        "name": "engine",
        "restartPolicy": "Always",
        "command": ["python3", "-c", SERVER],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    main = {"name": "bench", "command": ["python3", "-c", WAIT_FOR_SIDECAR]}
    pod = RESTRICTED_POD | {"initContainers": [RESTRICTED | sidecar], "containers": [RESTRICTED | main]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "trial", "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }

    node.kubectl("create", "--filename=-", document=job)

    assert termination_message(namespace, "trial-") == "drafted"
    wait_until(lambda: get(namespace, "jobs")[0]["status"].get("succeeded") == 1, "the Job is complete")


@pytest.mark.usefixtures("operator_image")
def test_a_pod_reaches_services_and_the_api_server_but_nothing_outside(namespace: str) -> None:
    def pod(name: str, script: str) -> dict[str, Any]:
        container = RESTRICTED | {"name": "main", "command": ["python3", "-c", script]}
        metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": RESTRICTED_POD | {"containers": [container]},
        }

    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 8000}]},
    }
    node.kubectl("create", "--filename=-", document=service)
    node.kubectl("create", "--filename=-", document=pod("server", SERVER))
    node.kubectl("create", "--filename=-", document=pod("client", LOOK_AROUND))

    seen = json.loads(termination_message(namespace, "client"))

    # The kernel drops the answer "no route" where it comes while the socket is still busy connecting.
    assert seen.pop("outside") in ("ENETUNREACH", "timed out")
    assert seen == {"service": "drafted", "api": "connected"}


@pytest.mark.usefixtures("operator_image")
def test_a_volume_shows_a_folder_of_this_machine(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("a model")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    node.create_volume(namespace, CLAIM, tmp_path)
    read = "import pathlib; pathlib.Path('/dev/termination-log').write_text(pathlib.Path('/m/config.json').read_text())"
    container = {
        "name": "main",
        "command": ["python3", "-c", read],
        "volumeMounts": [{"name": "models", "mountPath": "/m", "readOnly": True}],
    }
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}]
    spec = RESTRICTED_POD | {"containers": [RESTRICTED | container], "volumes": volumes}
    metadata = {"name": "reader", "namespace": namespace}

    node.kubectl(
        "create", "--filename=-", document={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    )

    assert termination_message(namespace, "reader") == "a model"


# --- Down, tried on a second cluster beside the first


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER", "mtp-second")
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER_NETWORK", "172.29.0.0/16")
    yield
    lifecycle.down()
    shutil.rmtree(paths.state_dir())


def traces() -> dict[str, set[str]]:
    """All that shows of the cluster on this machine, by what it is."""
    name, state = paths.cluster_name(), str(paths.state_dir())
    subnet = str(paths.network().network_address).removesuffix("0.0")

    def lines(*argv: str) -> set[str]:
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        return {line for line in output if name in line or subnet in line}

    sandboxes = {result.name.split("-")[-2] for result in CNI_RESULTS.glob("*-eth0")}
    loopbacks = {result for result in CNI_RESULTS.glob("cni-loopback-*") if result.name.split("-")[-2] not in sandboxes}
    kept = {paths.image_store(), paths.logs_dir()}
    return {
        "processes": {
            process.name
            for process in Path("/proc").glob("[0-9]*")
            if f"/{name}/" in read(process / "cgroup") or state in read(process / "cmdline")
        },
        "mounts": lines("cat", "/proc/self/mountinfo"),
        "links": lines("ip", "-brief", "link"),
        "addresses": lines("ip", "-brief", "address"),
        "routes": lines("ip", "route"),
        "rules": lines("nft", "list", "ruleset"),
        "cgroups": {str(cgroup) for cgroup in Path("/sys/fs/cgroup").glob("**/" + name)},
        "network results": {str(result) for result in {*CNI_RESULTS.glob(f"{name}-*"), *loopbacks}},
        "dead sockets": {
            str(socket)
            for socket in (
                *Path("/run/containerd/s").glob("*"),
                *Path("/var/lib/kubelet/device-plugins").glob("*.sock"),
            )
            if not components.takes_connections(socket)
        },
        "log links": {str(link) for link in Path("/var/log/containers").glob("*") if state in str(link.readlink())},
        "files": {str(path) for path in paths.state_dir().glob("*") if path not in kept},
    }


def read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # A process that has ended meanwhile.
        return ""


def found(seen: dict[str, set[str]]) -> set[str]:
    return {what for what, which in seen.items() if which}


def run_a_pod() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "idle"}}
    container = {"name": "idle", "image": pause.IMAGE, "imagePullPolicy": "Never"}
    node.kubectl("create", "--filename=-", document=pod | {"spec": {"containers": [container]}})
    node.kubectl("wait", "pod/idle", "--for=condition=Ready", "--timeout=10m")


@pytest.mark.alone
@pytest.mark.usefixtures("second")
def test_down_leaves_nothing_behind() -> None:
    lifecycle.up()
    run_a_pod()
    # Rules are in the cluster's own network namespace, and a socket is dead only when its owner is.
    assert found(traces()) == set(traces()) - {"rules", "dead sockets"}

    lifecycle.down()

    assert found(traces()) == set()


@pytest.mark.alone
@pytest.mark.usefixtures("second")
def test_down_leaves_nothing_behind_when_everything_was_killed() -> None:
    lifecycle.up()
    run_a_pod()
    for component in components.all_components().values():
        process = component.process()
        assert process is not None
        os.kill(process, signal.SIGKILL)

    lifecycle.down()

    assert found(traces()) == set()


@pytest.mark.alone
@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("last_started", ["etcd", "kube-apiserver", "kubelet"])
def test_down_leaves_nothing_behind_when_up_was_killed(last_started: str) -> None:
    component = components.all_components()[last_started]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "up"], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    ) as up:
        wait_until(lambda: component.process() is not None, f"{last_started} runs")
        up.kill()
    assert "processes" in found(traces())

    lifecycle.down()

    assert found(traces()) == set()
