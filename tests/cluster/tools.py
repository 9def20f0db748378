"""The programs that the cluster is made of: found, or built from the Go module proxy; and the Debian packages.

Each folder below `tools/` is a Go module whose go.mod names the commands to build (`tool`) and whose go.sum pins
every dependency by hash.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import paths
from tests.cluster.progress import step

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The folder with one Go module for each tool.
SOURCES = Path(__file__).parent / "tools"
CNI_PLUGINS = Path("/usr/lib/cni")
_START_POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Tool:
    """A Go module that yields one or more commands.

    Attributes:
        name: the folder below `tools/`.
        module: the Go module that the commands come from.
        commands: each command's name, and the arguments that make it print its version.
        stamps: variables that the build sets, because these programs do not take their version from their module;
            `{version}`, `{major}` and `{minor}` are filled in.
    """

    name: str
    module: str
    commands: dict[str, tuple[str, ...]]
    stamps: tuple[str, ...] = ()

    @property
    def sources(self) -> Path:
        """The folder of its go.mod."""
        return SOURCES / self.name

    @property
    def version(self) -> str:
        """The version that its go.mod asks for, without the `v`."""
        required = re.search(rf"^(?:require |\t){re.escape(self.module)} v(\S+)", self._go_mod(), re.MULTILINE)
        if required is None:
            message = f"{self.sources / 'go.mod'}: requires no {self.module}"
            raise ValueError(message)
        return required.group(1)

    @property
    def folder(self) -> Path:
        """Where the built binaries lie."""
        return paths.bin_dir() / f"{self.name}-{self.version}"

    @property
    def linker_flags(self) -> str:
        """What the build tells the linker: no symbols, and the version stamps."""
        major, minor, _ = self.version.split(".")
        stamps = (stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps)
        return " ".join(["-s -w", *(f"-X {stamp}" for stamp in stamps)])

    def _go_mod(self) -> str:
        return (self.sources / "go.mod").read_text()


_KUBERNETES_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

TOOLS = (
    Tool(
        name="kubernetes",
        module="k8s.io/kubernetes",
        commands=dict.fromkeys(_KUBERNETES_SERVERS, ("--version",)) | {"kubectl": ("version", "--client")},
        stamps=(
            "k8s.io/component-base/version.gitVersion=v{version}",
            "k8s.io/component-base/version.gitMajor={major}",
            "k8s.io/component-base/version.gitMinor={minor}",
        ),
    ),
    Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": ("--version",)}),
    Tool(
        "helm",
        "helm.sh/helm/v4",
        {"helm": ("version", "--short")},
        ("helm.sh/helm/v4/internal/version.version=v{version}",),
    ),
    Tool("coredns", "github.com/coredns/coredns", {"coredns": ("-version",)}),
    # Debian's is too old: image volumes need 2.1, and Kubernetes 1.36 and later expect 2.2.
    Tool(
        name="containerd",
        module="github.com/containerd/containerd/v2",
        commands={"containerd": ("--version",), "containerd-shim-runc-v2": ("-v",), "ctr": ("--version",)},
        stamps=("github.com/containerd/containerd/v2/version.Version=v{version}",),
    ),
)

#: Debian package for each program or file that has to be there.
_PACKAGES = {
    "buildah": "buildah",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    str(CNI_PLUGINS / "host-local"): "containernetworking-plugins",
    str(CNI_PLUGINS / "ptp"): "containernetworking-plugins",
}


@functools.cache
def find(command: str) -> Path:
    """Path of a command of the cluster: from MTP_OPERATOR_BIN, from PATH or from the cache, in that order.

    Raises:
        FileNotFoundError: if it is nowhere in the right version; `install` gets it.
    """
    return program(next(tool for tool in TOOLS if command in tool.commands), command)


def program(tool: Tool, command: str) -> Path:
    """The same for a tool that the cluster does not need; `ensure` gets it."""
    found = _on_machine(tool, command) or tool.folder / command
    if not found.exists():
        message = f"{command} {tool.version} is not here yet: run `python -m tests.cluster tools`"
        raise FileNotFoundError(message)
    return found


def _on_machine(tool: Tool, command: str) -> Path | None:
    """A binary that this project did not build, if one has the right version."""
    arguments = tool.commands[command]
    folders = [os.environ.get("MTP_OPERATOR_BIN"), os.environ.get("PATH")]
    for found in (shutil.which(command, path=folder) for folder in folders if folder):
        if found and arguments and _prints_version(found, arguments, tool.version):
            return Path(found)
    return None


def _prints_version(binary: str, arguments: tuple[str, ...], version: str) -> bool:
    answer = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, timeout=30)
    return re.search(rf"\bv?{re.escape(version)}\b", answer.stdout) is not None


def install() -> None:
    """Brings everything about that the cluster needs; what is there already is left as it is."""
    _install_packages()
    for tool in TOOLS:
        ensure(tool)


def ensure(tool: Tool) -> None:
    """Builds a tool unless its commands are there."""
    missing = [command for command in tool.commands if _on_machine(tool, command) is None]
    if missing and not tool.folder.exists():
        _build(tool)
    find.cache_clear()


def _build(tool: Tool) -> None:
    hint = " (about ten minutes on two cores)" if tool.name == "kubernetes" else ""
    with step(f"Building {tool.name} {tool.version}{hint}"), finished_folder(tool.folder) as folder:
        go_build(tool.sources, "-ldflags", tool.linker_flags, "-o", f"{folder}/", "tool")
        if tool.name == "etcd":
            # Its package is called `server`, and so is the binary that Go makes of it.
            (folder / "server").rename(folder / "etcd")


def go_build(sources: Path, *arguments: str) -> None:
    """Builds static binaries from a Go module, exactly as its go.sum pins it."""
    if shutil.which("go") is None:
        message = f"go: not on PATH, and {sources.name} has to be built; install Go 1.26 or newer"
        raise FileNotFoundError(message)
    environment = os.environ | {"CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-mod=readonly", "-trimpath", *arguments], cwd=sources, env=environment, check=True)


@contextmanager
def finished_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that gets its name only when it is complete, so that a break leaves nothing half-done."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(folder)


def _install_packages() -> None:
    packages = sorted({package for program, package in _PACKAGES.items() if shutil.which(program) is None})
    if not packages:
        return
    if shutil.which("apt-get") is None:
        message = f"apt-get: not on PATH; install what these Debian packages hold by hand: {' '.join(packages)}"
        raise FileNotFoundError(message)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Installing Debian packages {' '.join(packages)}"), _no_service_starts():
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keeps packages from starting their services, by Debian's own means: a start policy that says no."""
    if _START_POLICY.exists():
        yield
        return
    _START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    _START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        _START_POLICY.unlink()
