"""Keys, certificates and kubeconfigs of the cluster: one authority, a client certificate for each who talks to it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tests.cluster import paths
from tests.cluster.host import command
from tests.cluster.tools import finished_folder

if TYPE_CHECKING:
    from pathlib import Path

API_SERVER_PORT = 6443
_VALID_DAYS = "3650"


@dataclass(frozen=True)
class Client:
    """Somebody whom the API server knows by certificate.

    Attributes:
        name: what its files are called.
        user: the user name that RBAC sees.
        group: the group that RBAC sees.
    """

    name: str
    user: str
    group: str


def _clients() -> tuple[Client, ...]:
    return (
        Client("administrator", "administrator", "system:masters"),
        Client("api-server-to-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
        Client("kube-controller-manager", "system:kube-controller-manager", "control-plane"),
        Client("kube-scheduler", "system:kube-scheduler", "control-plane"),
        Client("kubelet", f"system:node:{paths.node_name()}", "system:nodes"),
        Client("kube-proxy", "system:kube-proxy", "control-plane"),
        Client("coredns", "system:coredns", "system:masters"),
    )


def folder() -> Path:
    """Where keys, certificates and the components' kubeconfigs lie."""
    return paths.state_dir() / "credentials"


def create() -> None:
    """Makes all credentials, or none."""
    with finished_folder(folder()) as target:
        target.chmod(0o700)
        _create_in(target)


def write_kubeconfig() -> None:
    """Writes the administrator's kubeconfig to where people look for it.

    Raises:
        ValueError: if the cluster was made for another network than is set now.
    """
    administrator = (folder() / "administrator.kubeconfig").read_text()
    if server() not in administrator:
        message = (
            f"MTP_OPERATOR_CLUSTER_NETWORK: the cluster {paths.cluster_name()} was made for another network than"
            f" {paths.network()}; take it down first"
        )
        raise ValueError(message)
    paths.kubeconfig().touch(mode=0o600)
    paths.kubeconfig().write_text(administrator)


def server() -> str:
    """Where the API server listens."""
    return f"https://{paths.endpoint(paths.node_address(), API_SERVER_PORT)}"


def _create_in(target: Path) -> None:
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl_certificate(target / "authority", "/CN=mtp-operator test cluster", *authority)
    first_service = paths.service_network()[1]
    names = f"subjectAltName=IP:{paths.node_address()},IP:{first_service},DNS:kubernetes.default.svc"
    issuer = ("-CA", target / "authority.crt", "-CAkey", target / "authority.key")
    signed = (*issuer, "-addext", "basicConstraints=CA:FALSE")
    _openssl_certificate(
        target / "server", "/CN=server", *signed, "-addext", "extendedKeyUsage=serverAuth", "-addext", names
    )
    for client in _clients():
        subject = f"/O={client.group}/CN={client.user}"
        _openssl_certificate(target / client.name, subject, *signed, "-addext", "extendedKeyUsage=clientAuth")
        kubeconfig = target / f"{client.name}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(target, client)))
    command("openssl", "genrsa", "-out", target / "service-account.key", "2048")
    command("openssl", "rsa", "-in", target / "service-account.key", "-pubout", "-out", target / "service-account.pub")


def _openssl_certificate(stem: Path, subject: str, *extensions: object) -> None:
    """Writes STEM.key and STEM.crt."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", f"{stem}.key")
    empty_configuration = ("-config", "/dev/null")
    request = ("req", "-x509", *empty_configuration, *key, "-out", f"{stem}.crt", "-days", _VALID_DAYS)
    command("openssl", *request, "-subj", subject, *extensions)


def _kubeconfig(source: Path, client: Client) -> dict[str, object]:
    def data(name: str) -> str:
        return base64.b64encode((source / name).read_bytes()).decode()

    name = paths.cluster_name()
    user = {
        "client-certificate-data": data(f"{client.name}.crt"),
        "client-key-data": data(f"{client.name}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server(), "certificate-authority-data": data("authority.crt")}}
        ],
        "users": [{"name": client.name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": client.name}}],
        "current-context": name,
    }
