"""Bringing the cluster up, seeing how it is, and taking it down without a trace."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import components, configuration, credentials, host, node, paths, pause, tools
from tests.cluster.progress import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.components import Component

DEFAULT_GPUS = 4

_START_TIMEOUT_SECONDS = 600.0
#: A daemon that is not seen for so long has ended, and is not just about to appear.
_GONE_SECONDS = 15.0
_FORGET_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.1
_TOLD_LOG_LINES = 20
#: A path that is bound to a Unix socket has 108 bytes, and the longest suffix here takes 40 of them.
_LONGEST_STATE_DIR = 68

#: How long each may take to end when asked to, in the order in which they are asked.
_CONTROL_PLANE_GRACE_SECONDS = {
    "kube-controller-manager": 3.0,
    "kube-scheduler": 3.0,
    "kube-apiserver": 15.0,
    "etcd": 5.0,
}

# Folders that containerd, CNI and kubelet write to whatever they are told.
_SHIM_SOCKETS = Path("/run/containerd/s")
_CNI_RESULTS = Path("/var/lib/cni/results")
_CONTAINER_LOG_LINKS = Path("/var/log/containers")
_DEVICE_PLUGIN_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")


def ensure_cluster() -> Path:
    """Brings the cluster up unless it is, and returns the path of its kubeconfig."""
    up()
    return paths.kubeconfig()


def up(gpus: int = DEFAULT_GPUS) -> None:
    """Starts whatever of the cluster does not run; returns when a pod can be scheduled on its node.

    Raises:
        RuntimeError: if something does not start, with the end of its log.
        ValueError: if a setting cannot work here.
    """
    _require_root_on_linux()
    tools.install()
    with _lock():
        if not (paths.state_dir() / "etcd").exists():
            shutil.rmtree(paths.logs_dir(), ignore_errors=True)
        paths.logs_dir().mkdir(parents=True, exist_ok=True)
        if not credentials.folder().exists():
            with step("Making keys and certificates"):
                credentials.create()
        credentials.write_kubeconfig()
        configuration.write()
        host.create_cgroups()
        host.create_network()
        daemons = components.all_components()
        _ensure(daemons["etcd"], daemons["containerd"])
        _import_pause_image()
        _ensure(daemons["kube-apiserver"])
        _ensure(daemons["kube-controller-manager"], daemons["kube-scheduler"], daemons["kubelet"])
        _ensure_node(gpus, daemons)
    print(f"The cluster {paths.cluster_name()} is up: export KUBECONFIG={paths.kubeconfig()}")


def status() -> bool:
    """Prints each component's process id and health, and the node; returns whether all is well."""
    healthy = []
    for component in components.all_components().values():
        process = component.process()
        healthy.append(process is not None and component.is_healthy())
        state = "healthy" if healthy[-1] else "not healthy" if process else "not running"
        print(f"{component.name:<24} {process or '-':>8}  {state}")
    if not all(healthy):
        return False
    registered = node.get()
    ready = registered is not None and node.is_ready(registered)
    gpus = registered["status"]["allocatable"].get("nvidia.com/gpu", "0") if registered else "0"
    print(f"{paths.node_name():<24} {'':>8}  {'Ready' if ready else 'not Ready'}, {gpus} GPUs")
    return ready


def down() -> None:
    """Ends the cluster, whatever state it is in, and removes all it took from this machine but images and logs.

    The order matters: containers before containerd, which would leave them running; etcd last, without which the
    API server does not end.
    """
    _require_root_on_linux()
    with _lock():
        with step("Stopping the node"):
            _stop_node()
        with step("Stopping the control plane"):
            for name, seconds in _CONTROL_PLANE_GRACE_SECONDS.items():
                host.stop(name, seconds)
        with step("Removing mounts, network, cgroups and files"):
            host.stop("")
            _remove_traces()
    print(f"The cluster {paths.cluster_name()} is down; its images and logs are kept in {paths.state_dir()}")


def _require_root_on_linux() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        message = "the test cluster runs real containers and needs root on Linux; or point KUBECONFIG at a cluster"
        raise RuntimeError(message)
    if len(str(paths.state_dir())) > _LONGEST_STATE_DIR:
        message = (
            f"MTP_OPERATOR_CACHE: {paths.state_dir()} is longer than {_LONGEST_STATE_DIR} characters,"
            " and Unix sockets below it would not fit the kernel's limit; choose a shorter folder"
        )
        raise ValueError(message)


@contextmanager
def _lock() -> Iterator[None]:
    """One command at a time."""
    file = paths.state_dir().with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure(*wanted: Component) -> None:
    """Starts those that do not run, and waits until all of them work."""
    missing = [component for component in wanted if component.process() is None]
    if not missing and all(component.is_healthy() for component in wanted):
        return
    with step(f"Starting {', '.join(component.name for component in missing or wanted)}"):
        for component in missing:
            component.start()
        for component in wanted:
            _wait_until(component.is_healthy, component)


def _wait_until(holds: Callable[[], bool], component: Component) -> None:
    """Waits for something that a component brings about.

    Raises:
        RuntimeError: if the component ends or takes too long, with the end of its log.
    """
    begin = last_seen = time.monotonic()
    while not holds():
        now = time.monotonic()
        running = component.process() is not None
        if running:
            last_seen = now
        if now - begin > _START_TIMEOUT_SECONDS or now - last_seen > _GONE_SECONDS:
            lines = component.log.read_text(errors="replace").splitlines()[-_TOLD_LOG_LINES:]
            problem = "does not get ready" if running else "has ended"
            message = "\n".join([f"{component.name} {problem}; the end of {component.log}:", *lines])
            raise RuntimeError(message)
        time.sleep(_POLL_SECONDS)


def _import_pause_image() -> None:
    if pause.IMAGE not in _ctr("images", "list", "--quiet").split():
        with step("Importing the pause image"):
            _ctr("images", "import", pause.archive())


def _ctr(*arguments: object) -> str:
    program = tools.find("ctr")
    return host.command(program, "--namespace=k8s.io", f"--address={paths.containerd_socket()}", *arguments)


def _ensure_node(gpus: int, daemons: dict[str, Component]) -> None:
    registered = node.get()
    if registered is None:
        with step("Registering the node"):
            _wait_until(lambda: node.get() is not None, daemons["kubelet"])
    # kube-proxy ends when it first learns the node's address, so the node has to be there before it.
    _ensure(daemons["kube-proxy"], daemons["coredns"])
    if registered is None or not node.is_ready(registered):
        with step("Waiting for the node to be ready"):
            _wait_until(lambda: node.is_ready(node.get() or {}), daemons["kubelet"])
            _wait_until(_has_service_account, daemons["kube-controller-manager"])
    if not node.has_gpus(node.get() or {"metadata": {}}, gpus):
        with step(f"Giving the node {gpus} GPUs"):
            node.set_gpus(gpus)


def _has_service_account() -> bool:
    return bool(node.kubectl("get", "serviceaccount", "default", "--ignore-not-found", "--output=name"))


def _stop_node() -> None:
    host.stop("coredns")
    host.stop("kube-proxy")
    host.stop("kubelet")
    host.stop_containers()
    if components.takes_connections(paths.containerd_socket()):
        _forget_containers()
    host.stop("containerd", 2.0)


def _forget_containers() -> None:
    """Has containerd drop the containers, which have ended, and their snapshots from the store that is kept.

    Where containerd itself has crashed, the next cluster's kubelet collects them, as after the crash of any node.
    """
    deadline = time.monotonic() + _FORGET_TIMEOUT_SECONDS
    while (containers := _ctr("containers", "list", "--quiet").split()) and time.monotonic() < deadline:
        # containerd tidies up after the same containers just now and may be first, so look again instead of failing.
        with suppress(RuntimeError):
            _ctr("containers", "delete", *containers)


def _remove_traces() -> None:
    state = paths.state_dir()
    _remove_outside_files(state)
    host.remove_network()
    host.unmount_below(state)
    host.remove_cgroups()
    if mounted := host.mounts_below(state):
        message = f"still mounted, so nothing is deleted: {', '.join(map(str, mounted))}"
        raise RuntimeError(message)
    for path in state.iterdir() if state.exists() else ():
        if path in (paths.image_store(), paths.logs_dir()):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _remove_outside_files(state: Path) -> None:
    for shim in state.glob("containerd/io.containerd.runtime.v2.task/*/*/bootstrap.json"):
        socket = Path(json.loads(shim.read_text())["address"].removeprefix("unix://"))
        if socket.is_relative_to(_SHIM_SOCKETS):
            socket.unlink(missing_ok=True)
    for result in _CNI_RESULTS.glob(f"{paths.cluster_name()}-*-eth0"):
        sandbox = result.name.removeprefix(f"{paths.cluster_name()}-").removesuffix("-eth0")
        if re.fullmatch("[0-9a-f]{64}", sandbox):
            result.unlink()
            (_CNI_RESULTS / f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)
    for link in _CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(configuration.pod_logs()):
            link.unlink()
    if _DEVICE_PLUGIN_SOCKET.exists() and not components.takes_connections(_DEVICE_PLUGIN_SOCKET):
        _DEVICE_PLUGIN_SOCKET.unlink()
