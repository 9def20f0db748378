"""An API server with nothing behind it: no controller and no operator acts on its objects.

It is for what reads objects. Beside a cluster it takes half a gigabyte of memory and starts within seconds.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster import tools
from tests.cluster.host import command

ADMINISTRATOR = "administrator"
VISITOR = "jane"
"""May do what an object of RBAC allows, and nothing else."""

_API_PORT, _ETCD_PORT, _PEER_PORT = 6443, 2379, 2380
_START_SECONDS = 600.0
"""A start that takes longer has hung, on any machine."""
_POLL_SECONDS = 0.1
_END_SECONDS = 60.0
_LOG_LINES = 20


@dataclass(frozen=True)
class LoneApiServer:
    """A server that runs.

    Attributes:
        folder: its files, the kubeconfigs of both users among them.
        client: asks it as the administrator.
    """

    folder: Path
    client: httpx.Client

    def kubeconfig(self, user: str = ADMINISTRATOR) -> Path:
        """The kubeconfig of a user."""
        return self.folder / f"{user}.kubeconfig"

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """What the server answers.

        Raises:
            AssertionError: it refuses; the message says why.
        """
        answer = self.client.request(method, path, json=body, headers={"Content-Type": content_type})
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json()


@contextmanager
def lone_api_server(folder: Path) -> Iterator[LoneApiServer]:
    """Starts etcd and an API server, and ends both.

    Args:
        folder: an empty one, for its files.

    Raises:
        RuntimeError: one of them does not start, with the end of its log.
    """
    tools.install()
    # An address of its own on the loopback device: its ports are free, whatever else runs on this machine.
    address = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
    tokens = {user: secrets.token_hex(16) for user in (ADMINISTRATOR, VISITOR)}
    groups = {ADMINISTRATOR: "system:masters", VISITOR: "visitors"}
    known = "".join(f'{token},{user},{user},"{groups[user]}"\n' for user, token in tokens.items())
    (folder / "tokens.csv").write_text(known)
    command("openssl", "genrsa", "-out", folder / "service-account.key", "2048")
    with ExitStack() as stack:
        for name, flags in (("etcd", _etcd(folder, address)), ("kube-apiserver", _api_server(folder, address))):
            stack.enter_context(_daemon(name, flags, folder / f"{name}.log"))
        certificate = folder / "certificates" / "apiserver.crt"
        url = f"https://{address}:{_API_PORT}"
        client = _connected(url, certificate, tokens[ADMINISTRATOR], folder / "kube-apiserver.log")
        stack.callback(client.close)
        for user, token in tokens.items():
            (folder / f"{user}.kubeconfig").write_text(yaml.safe_dump(_kubeconfig(url, certificate, user, token)))
        yield LoneApiServer(folder, client)


def _etcd(folder: Path, address: str) -> dict[str, object]:
    client, peer = f"http://{address}:{_ETCD_PORT}", f"http://{address}:{_PEER_PORT}"
    return {
        "data-dir": folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",
    }


def _api_server(folder: Path, address: str) -> dict[str, object]:
    return {
        "etcd-servers": f"http://{address}:{_ETCD_PORT}",
        "bind-address": address,
        "advertise-address": address,
        # No Endpoints of the Service kubernetes: they may not be on the loopback device.
        "endpoint-reconciler-type": "none",
        "secure-port": _API_PORT,
        "cert-dir": folder / "certificates",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "service-account.key",
        "service-account-signing-key-file": folder / "service-account.key",
        "service-cluster-ip-range": "10.0.0.0/24",
        # There is no controller that would make the ServiceAccount of a pod.
        "disable-admission-plugins": "ServiceAccount",
    }


@contextmanager
def _daemon(name: str, flags: dict[str, object], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        argv = [str(tools.find(name)), *(f"--{flag}={value}" for flag, value in flags.items())]
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _connected(url: str, certificate: Path, token: str, log: Path) -> httpx.Client:
    begun = time.monotonic()
    while time.monotonic() - begun < _START_SECONDS:
        if certificate.exists():
            client = httpx.Client(
                base_url=url,
                verify=ssl.create_default_context(cafile=certificate),
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
                timeout=_START_SECONDS,
            )
            try:
                if client.get("/readyz").is_success:
                    return client
            except httpx.TransportError:
                pass
            client.close()
        time.sleep(_POLL_SECONDS)
    last = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    raise RuntimeError("\n".join([f"the API server does not get ready; the end of {log}:", *last]))


def _kubeconfig(url: str, certificate: Path, user: str, token: str) -> dict[str, object]:
    authority = base64.b64encode(certificate.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lone", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lone", "context": {"cluster": "lone", "user": user, "namespace": "team"}}],
        "current-context": "lone",
    }
