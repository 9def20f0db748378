"""The programs that the cluster is made of: found, or built from the Go module proxy; and the Debian packages.

The folder `tools/` is one Go module, so that what several of them are made of is compiled once. Its go.mod decides on
the versions, and its go.sum pins every dependency by hash. containerd does not compile with the libraries of this
Kubernetes, so it is a module of its own, with the same versions of all else: then that is compiled once, too.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import venv
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from filelock import FileLock

from tests.cluster import paths
from tests.cluster.progress import Share, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: The Go module of most programs. Those that need other versions are modules of their own below it.
SOURCES = Path(__file__).parent / "tools"
CNI_PLUGINS = Path("/usr/lib/cni")
_LOG_LINES_SHOWN = 30
_START_POLICY = Path("/usr/sbin/policy-rc.d")
#: No debug information and no inlining: one third less to do for the compiler, for programs that are fast enough.
_BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false -l")
#: How many Go packages are compiled in a minute on two cores, by which a person is told how long it will be.
_PACKAGES_A_MINUTE = 450


@dataclass(frozen=True)
class Tool:
    """One or more commands of one version.

    Attributes:
        name: what it is called, also in the cache folder.
        module: the Go module that the commands come from, and whose version counts.
        commands: each command's name, and the arguments that make it print its version.
        stamps: variables that the build sets, because these programs do not take their version from their module;
            `{version}`, `{major}` and `{minor}` are filled in.
        package: the Go package of a command, with `{module}` and `{command}` to be filled in.
        sources: the folder of the go.mod that decides on the version.
        tags: Go build tags, by which a program is built without what is not needed.
    """

    name: str
    module: str
    commands: dict[str, tuple[str, ...]]
    stamps: tuple[str, ...] = ()
    package: str = "{module}/cmd/{command}"
    sources: Path = SOURCES
    tags: tuple[str, ...] = ()

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
    def packages(self) -> list[str]:
        """The Go packages of its commands."""
        return [self.package.format(module=self.module, command=command) for command in self.commands]

    @property
    def linker_flags(self) -> list[str]:
        """What the build tells the linker: the version stamps."""
        major, minor, _ = self.version.split(".")
        return [f"-X {stamp.format(version=self.version, major=major, minor=minor)}" for stamp in self.stamps]

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
    Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": ("--version",)}, package="./{command}"),
    Tool(
        "helm",
        "helm.sh/helm/v4",
        {"helm": ("version", "--short")},
        ("helm.sh/helm/v4/internal/version.version=v{version}",),
    ),
    Tool("coredns", "github.com/coredns/coredns", {"coredns": ("-version",)}, package="./{command}"),
    # Debian's is too old: image volumes need 2.1, and Kubernetes 1.36 and later expect 2.2.
    Tool(
        name="containerd",
        module="github.com/containerd/containerd/v2",
        commands={"containerd": ("--version",), "containerd-shim-runc-v2": ("-v",), "ctr": ("--version",)},
        stamps=("github.com/containerd/containerd/v2/version.Version=v{version}",),
        sources=SOURCES / "containerd",
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
    answer = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, timeout=300)
    return re.search(rf"\bv?{re.escape(version)}\b", answer.stdout) is not None


def install() -> None:
    """Brings everything about that the cluster needs; what is there already is left as it is."""
    install_packages()
    ensure(*TOOLS)


def ensure(*tools: Tool) -> None:
    """Builds those tools whose commands are not there, each Go module at once."""
    paths.bin_dir().mkdir(parents=True, exist_ok=True)
    with FileLock(paths.bin_dir().with_suffix(".lock")):
        missing = [tool for tool in tools if not _is_here(tool)]
        for sources in dict.fromkeys(tool.sources for tool in missing):
            _build(sources, [tool for tool in missing if tool.sources == sources])
    find.cache_clear()


def _is_here(tool: Tool) -> bool:
    return tool.folder.exists() or all(_on_machine(tool, command) for command in tool.commands)


def _build(sources: Path, tools: list[Tool]) -> None:
    names = ", ".join(f"{tool.name} {tool.version}" for tool in tools)
    packages = [package for tool in tools for package in tool.packages]
    tags = f"-tags={','.join(tag for tool in tools for tag in tool.tags)}"
    with step(f"Downloading the sources of {names} (up to two minutes)"):
        stale = _go(
            sources, "list", *_BUILD_FLAGS, tags, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", *packages
        )
        to_compile = {line for line in stale if " " not in line}
    minutes = round(len(to_compile) / _PACKAGES_A_MINUTE) or 1
    with (
        step(f"Compiling {names} (about {minutes} min on two cores)"),
        TemporaryDirectory(dir=paths.bin_dir()) as built,
    ):
        share = Share("Go packages compiled", to_compile)
        stamps = [flag for tool in tools for flag in tool.linker_flags]
        go_build(sources, f"{built}/", tags, *packages, linker_flags=stamps, on_package=share.advance)
        for tool in tools:
            with finished_folder(tool.folder) as folder:
                for command in tool.commands:
                    Path(built, command).rename(folder / command)


def go_build(
    sources: Path,
    target: str,
    *packages: str,
    linker_flags: Iterable[str] = (),
    on_package: Callable[[str], object] | None = None,
) -> None:
    """Builds static binaries from a Go module, exactly as its go.sum pins it; tells which package it turns to."""
    flags = " ".join(["-s -w", *linker_flags])
    for line in _go(sources, "build", "-v", *_BUILD_FLAGS, "-ldflags", flags, "-o", target, *packages):
        if on_package is not None:
            on_package(line)


def _go(sources: Path, *arguments: str) -> Iterator[str]:
    """Runs Go in the folder of a module and yields what it says, line by line."""
    if shutil.which("go") is None:
        message = f"go: not on PATH, and {sources.name} has to be built; install Go 1.26 or newer"
        raise FileNotFoundError(message)
    last: deque[str] = deque(maxlen=_LOG_LINES_SHOWN)
    with subprocess.Popen(
        ["go", *arguments],
        cwd=sources,
        env=os.environ | {"CGO_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line)
            yield line.rstrip()
    if process.returncode:
        message = f"go {arguments[0]} ended with {process.returncode}:\n{''.join(last)}"
        raise RuntimeError(message)


@contextmanager
def finished_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that gets its name only when it is complete, so that a break leaves nothing half-done."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(folder)


def python_tool(name: str, requirements: Path) -> Path:
    """The folder of programs of a Python tool in a virtual environment of its own; installed where it is missing.

    Args:
        name: what it is called in the cache folder.
        requirements: its requirements with their hashes, which decide on the version.
    """
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = paths.bin_dir() / f"{name}-{version}"
    marker = folder / "complete"
    paths.bin_dir().mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not marker.exists():
            with step(f"Installing {name}"):
                venv.create(folder, clear=True, with_pip=True)
                pip = (folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
                subprocess.run([*pip, "-r", requirements], check=True)
                marker.touch()
    return folder / "bin"


def install_packages() -> None:
    """Installs the Debian packages that the cluster and its images need, unless their programs are there."""
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
