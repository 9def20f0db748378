"""What the cluster takes from this machine: cgroups with processes in them, a network namespace, mounts.

Each thing is found again by asking the kernel, never by a note that a crash could have left unwritten: whatever runs
in the cluster's cgroup is the cluster's, whatever is mounted below its folder is the cluster's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import paths

if TYPE_CHECKING:
    from collections.abc import Iterable

_POLL_SECONDS = 0.05
_KILL_TIMEOUT_SECONDS = 120.0
_PODS = "kubepods"
#: What kubelet uses to hold pods to their limits.
_POD_CONTROLLERS = frozenset({"cpu", "cpuset", "hugetlb", "memory", "pids"})


def command(*argv: object, timeout_seconds: float = 300) -> str:
    """Runs a program to its end and returns what it printed.

    Raises:
        RuntimeError: if it fails; the message has its arguments and what it complained about.
    """
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout_seconds)
    if done.returncode:
        message = f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}"
        raise RuntimeError(message)
    return done.stdout


# --- Processes


def _own_cgroups() -> list[Path]:
    """The cluster's cgroup in every hierarchy: one for version 2, one for each controller of version 1, or both."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    hierarchies = [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
    return [hierarchy / paths.cluster_name() for hierarchy in hierarchies]


def _tracking_cgroup() -> Path:
    """The one of the cluster's cgroups in which its processes are looked up."""
    own = _own_cgroups()
    return next((cgroup for cgroup in own if cgroup.parent.name == "pids"), own[0])


def create_cgroups() -> None:
    """Makes the cluster's cgroup in every hierarchy, able to limit what is in it; kubelet wants its root there."""
    for cgroup in _own_cgroups():
        hierarchy = cgroup.parent
        # Version 2 hands a controller down only when asked to.
        if (hierarchy / "cgroup.controllers").exists():
            available = (hierarchy / "cgroup.controllers").read_text().split()
            for controller in _POD_CONTROLLERS.intersection(available):
                (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
        cgroup.mkdir(exist_ok=True)
        # A new cpuset of version 1 is empty, and no process can join it before it has processors and memory.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / setting).exists() and not (cgroup / setting).read_text().strip():
                (cgroup / setting).write_text((hierarchy / setting).read_text())


def start(name: str, argv: Iterable[str | Path], log: Path) -> None:
    """Starts a daemon in the cluster's network namespace and in a cgroup of its own."""
    cgroup = _tracking_cgroup() / name
    cgroup.mkdir(parents=True, exist_ok=True)
    enter = ["nsenter", f"--net={paths.network_namespace()}", "--", *(str(word) for word in argv)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # The shell puts itself into the cgroup before it turns into the daemon: no moment in which nobody knows it.
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup / "cgroup.procs"), *enter],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )


def processes(cgroup: str = "") -> list[int]:
    """Ids of all processes in one of the cluster's cgroups, or in all of them."""
    found = []
    for members in (_tracking_cgroup() / cgroup).rglob("cgroup.procs"):
        try:
            found += [int(pid) for pid in members.read_text().split()]
        except OSError:  # The cgroup went away while we were looking.
            continue
    return found


def daemon(name: str, binary: Path) -> int | None:
    """Id of a running daemon: of the one process in its cgroup that runs its binary and is not its own child."""
    running = {pid for pid in processes(name) if _runs(pid, binary)}
    return next((pid for pid in sorted(running) if _parent(pid) not in running), None)


def _runs(pid: int, binary: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink() == binary.resolve()
    except OSError:
        return False


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def stop(cgroup: str, grace_seconds: float = 0.0) -> None:
    """Ends every process of a cgroup: asks them, and kills what is left after the grace."""
    begin = time.monotonic()
    if grace_seconds:
        _signal_all(cgroup, signal.SIGTERM)
    while processes(cgroup):
        waited = time.monotonic() - begin
        if waited > grace_seconds + _KILL_TIMEOUT_SECONDS:
            message = f"processes {processes(cgroup)} do not end"
            raise RuntimeError(message)
        if waited >= grace_seconds:
            _signal_all(cgroup, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def stop_containers() -> None:
    """Kills whatever runs in a pod of the cluster."""
    stop(_PODS)


def _signal_all(cgroup: str, number: signal.Signals) -> None:
    for pid in processes(cgroup):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def remove_cgroups() -> None:
    """Removes the cluster's cgroups, which hold no process any more."""
    for own in _own_cgroups():
        folders = sorted((path for path in [own, *own.rglob("*")] if path.is_dir()), reverse=True)
        for folder in folders:
            folder.rmdir()


# --- Network


def create_network() -> None:
    """Makes the network namespace, the veth pair into it, and this machine's route to nodes, pods and Services.

    The namespace has no default route: nothing in a pod can leave the machine.
    """
    namespace = paths.network_namespace()
    if namespace not in mounts_below(paths.state_dir()):
        _refuse_taken_network()
        namespace.touch()
        command("unshare", f"--net={namespace}", "ip", "link", "set", "lo", "up")
    host_end, node_end = _veth()
    inside = ("nsenter", f"--net={namespace}", "ip")
    if not Path("/sys/class/net", host_end).exists():
        command("ip", "link", "add", host_end, "type", "veth", "peer", "name", node_end, "netns", namespace)
    # Without it an IPv6 address cannot be listened at for a second, in which duplicates of it are looked for.
    at_once = ("nodad",) if paths.network().version == 6 else ()
    prefix = paths.link_prefix()
    command("ip", "address", "replace", f"{paths.host_address()}/{prefix}", "dev", host_end, *at_once)
    command("ip", "link", "set", host_end, "up")
    command(*inside, "address", "replace", f"{paths.node_address()}/{prefix}", "dev", node_end, *at_once)
    command(*inside, "link", "set", node_end, "up")
    command("ip", "route", "replace", paths.network(), "via", paths.node_address(), "dev", host_end)


def _refuse_taken_network() -> None:
    """Raises if this machine already has a route into the cluster's network.

    Raises:
        ValueError: with what to set instead.
    """
    routes = command("ip", f"-{paths.network().version}", "route", "show", "root", paths.network()).splitlines()
    foreign = [route.strip() for route in routes if f"dev {_veth()[0]} " not in f"{route} "]
    if foreign:
        message = (
            f"MTP_OPERATOR_CLUSTER_NETWORK: this machine already routes a part of {paths.network()}"
            f" ({foreign[0]}); set another one"
        )
        raise ValueError(message)


def remove_network() -> None:
    """Removes the veth pair, and with it the routes."""
    host_end, _ = _veth()
    if Path("/sys/class/net", host_end).exists():
        command("ip", "link", "delete", host_end)


def _veth() -> tuple[str, str]:
    return f"{paths.cluster_name()}-h", f"{paths.cluster_name()}-n"


# --- Mounts


def mounts_below(folder: Path) -> list[Path]:
    """Mount points in a folder, in the order in which they were mounted."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    decoded = (Path(point.encode().decode("unicode_escape")) for point in points)
    return [point for point in decoded if point.is_relative_to(folder)]


def unmount_below(folder: Path) -> None:
    """Unmounts everything in a folder, last mounted first."""
    for point in reversed(mounts_below(folder)):
        command("umount", "--lazy", point)
