"""The daemons of the cluster: how each is started, and how one knows that it works."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import configuration, credentials, host, paths, tools

_CLIENT_URL = "http://127.0.0.1:2379"
_PEER_URL = "http://127.0.0.1:2380"
_HEALTH_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True)
class Component:
    """A daemon of the cluster.

    Attributes:
        name: its name, also that of its log and of its cgroup.
        binary: the program.
        arguments: what it is started with.
        health_url: answers 200 when it works; None: its socket takes a connection.
    """

    name: str
    binary: Path
    arguments: tuple[str, ...]
    health_url: str | None

    @property
    def log(self) -> Path:
        """The file of its output."""
        return paths.logs_dir() / f"{self.name}.log"

    def start(self) -> None:
        """Starts it, without waiting until it works."""
        host.start(self.name, (self.binary, *self.arguments), self.log)

    def process(self) -> int | None:
        """Its process id, if it runs."""
        return host.daemon(self.name, self.binary)

    def is_healthy(self) -> bool:
        """Whether it says that it works."""
        return _answers(self.health_url) if self.health_url else takes_connections(paths.containerd_socket())


def all_components() -> dict[str, Component]:
    """All daemons by name, in the order in which they start."""
    daemons = (
        _etcd(),
        _containerd(),
        _kube_apiserver(),
        _kube_controller_manager(),
        _kube_scheduler(),
        _kubelet(),
        _kube_proxy(),
        _coredns(),
    )
    return {component.name: component for component in daemons}


def _etcd() -> Component:
    metrics_url = f"http://{paths.endpoint(paths.node_address(), 2381)}"
    flags = _flags(
        {
            "data-dir": paths.state_dir() / "etcd",
            "listen-client-urls": _CLIENT_URL,
            "advertise-client-urls": _CLIENT_URL,
            "listen-peer-urls": _PEER_URL,
            "initial-advertise-peer-urls": _PEER_URL,
            "initial-cluster": f"default={_PEER_URL}",
            "listen-metrics-urls": metrics_url,
            # Nothing here has to survive a power cut.
            "unsafe-no-fsync": "true",
        }
    )
    return Component("etcd", tools.find("etcd"), flags, f"{metrics_url}/readyz")


def _containerd() -> Component:
    flags = _flags({"config": configuration.folder() / "containerd.toml"})
    return Component("containerd", tools.find("containerd"), flags, None)


def _kube_apiserver() -> Component:
    keys = credentials.folder()
    flags = _flags(
        {
            "etcd-servers": _CLIENT_URL,
            "bind-address": paths.node_address(),
            "advertise-address": paths.node_address(),
            "secure-port": credentials.API_SERVER_PORT,
            **_serving_certificate(),
            "client-ca-file": keys / "authority.crt",
            "kubelet-certificate-authority": keys / "authority.crt",
            "kubelet-client-certificate": keys / "api-server-to-kubelet.crt",
            "kubelet-client-key": keys / "api-server-to-kubelet.key",
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": keys / "service-account.pub",
            "service-account-signing-key-file": keys / "service-account.key",
            "service-cluster-ip-range": paths.service_network(),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "audit-policy-file": configuration.folder() / "audit-policy.yaml",
            "audit-log-path": paths.audit_log(),
            # Whoever reads the log reads one file, so it had better not be rotated away.
            "audit-log-maxsize": 4096,
        }
    )
    return _kubernetes("kube-apiserver", flags, f"{credentials.server()}/readyz")


def _kube_controller_manager() -> Component:
    keys = credentials.folder()
    flags = _flags(
        {
            "kubeconfig": keys / "kube-controller-manager.kubeconfig",
            "bind-address": paths.node_address(),
            **_serving_certificate(),
            "service-account-private-key-file": keys / "service-account.key",
            "root-ca-file": keys / "authority.crt",
            "use-service-account-credentials": "true",
            "cluster-cidr": paths.pod_network(),
            "flex-volume-plugin-dir": configuration.kubelet_root() / "volume-plugins",
            "leader-elect": "false",
            # It makes an account for each of its controllers before it starts them: four seconds at the default rate.
            "kube-api-qps": "200",
            "kube-api-burst": "300",
        }
    )
    return _kubernetes("kube-controller-manager", flags, _url("https", 10257, "healthz"))


def _kube_scheduler() -> Component:
    flags = _flags(
        {
            "kubeconfig": credentials.folder() / "kube-scheduler.kubeconfig",
            "bind-address": paths.node_address(),
            **_serving_certificate(),
            "leader-elect": "false",
        }
    )
    return _kubernetes("kube-scheduler", flags, _url("https", 10259, "readyz"))


def _kubelet() -> Component:
    flags = _flags(
        {
            "config": configuration.folder() / "kubelet.yaml",
            "kubeconfig": credentials.folder() / "kubelet.kubeconfig",
            "root-dir": configuration.kubelet_root(),
            "hostname-override": paths.node_name(),
            "node-ip": paths.node_address(),
        }
    )
    return _kubernetes("kubelet", flags, _url("http", 10248, "healthz"))


def _kube_proxy() -> Component:
    flags = _flags(
        {"config": configuration.folder() / "kube-proxy.yaml", "hostname-override": paths.node_name()},
    )
    return _kubernetes("kube-proxy", flags, _url("http", 10256, "livez"))


def _coredns() -> Component:
    """The cluster's DNS, on the node itself: nothing has to run before the first pod can look up a Service."""
    flags = ("-conf", str(configuration.folder() / "Corefile"), "-quiet")
    return Component("coredns", tools.find("coredns"), flags, configuration.dns_ready_url())


def _url(scheme: str, port: int, path: str) -> str:
    return f"{scheme}://{paths.endpoint(paths.node_address(), port)}/{path}"


def _kubernetes(name: str, flags: tuple[str, ...], health_url: str) -> Component:
    return Component(name, tools.find(name), flags, health_url)


def _serving_certificate() -> dict[str, object]:
    keys = credentials.folder()
    return {"tls-cert-file": keys / "server.crt", "tls-private-key-file": keys / "server.key"}


def _flags(values: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())


def _answers(url: str) -> bool:
    # Never through the proxy that the environment may name: the address is on this machine.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(credentials.folder() / "authority.crt"))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=_HEALTH_TIMEOUT_SECONDS) as response:
            return bool(response.status == http.client.OK)
    except (urllib.error.URLError, OSError):
        return False


def takes_connections(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_HEALTH_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
