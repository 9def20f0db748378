"""The files that configure the components of the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.cluster import credentials, paths, pause, tools
from tests.cluster.tools import CNI_PLUGINS

if TYPE_CHECKING:
    from pathlib import Path


CLUSTER_DOMAIN = "cluster.local"


def folder() -> Path:
    """Where the configuration files lie."""
    return paths.state_dir() / "configuration"


def kubelet_root() -> Path:
    """kubelet's folder: volumes and what it remembers."""
    return paths.state_dir() / "kubelet"


def pod_logs() -> Path:
    """The folder of the pods' logs."""
    return paths.state_dir() / "pod-logs"


def write() -> None:
    """Writes all of them; a file that has the right content already is left alone, for kube-proxy ends on a write."""
    files = {
        "containerd.toml": _containerd(),
        "cni/network.conflist": json.dumps(_container_network(), indent=2),
        "audit-policy.yaml": yaml.safe_dump(_audit_policy()),
        "kubelet.yaml": yaml.safe_dump(_kubelet()),
        "kube-proxy.yaml": yaml.safe_dump(_kube_proxy()),
        "Corefile": _coredns(),
    }
    (folder() / "cni").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = folder() / name
        if not file.exists() or file.read_text() != content:
            file.write_text(content)


def _audit_policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def _containerd() -> str:
    """A containerd beside any other: every path is its own.

    `restrict_oom_score_adj` is for machines without CAP_SYS_RESOURCE, where a container that asks for less than its
    parent has would not start.
    """
    state = paths.containerd_socket().parent
    return f"""version = 3
root = "{paths.image_store()}"
state = "{state}"
oom_score = 0

[grpc]
  address = "{paths.containerd_socket()}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause.IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{CNI_PLUGINS}"]
    conf_dir = "{folder() / "cni"}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "{tools.find("containerd-shim-runc-v2")}"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "{state / "runc"}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state / "opt"}"

[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""


def _container_network() -> dict[str, Any]:
    """A veth pair for each pod, routed by the node.

    Not a bridge: between two pods on one bridge, an answer would take the short way and skip the translation of the
    Service's address, unless the kernel happens to have br_netfilter.
    """
    addresses = {
        "type": "host-local",
        "dataDir": str(paths.state_dir() / "pod-addresses"),
        "ranges": [[{"subnet": str(paths.pod_network())}]],
        "routes": [{"dst": "0.0.0.0/0" if paths.network().version == 4 else "::/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": paths.cluster_name(),
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}],
    }


def _kubelet() -> dict[str, Any]:
    keys = credentials.folder()
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": paths.node_address(),
        "healthzBindAddress": paths.node_address(),
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(keys / "authority.crt")}},
        "tlsCertFile": str(keys / "server.crt"),
        "tlsPrivateKeyFile": str(keys / "server.key"),
        "containerRuntimeEndpoint": f"unix://{paths.containerd_socket()}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{paths.cluster_name()}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {},
        # The images were imported by hand, and nothing would bring them back.
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(pod_logs()),
        # The machine's resolver cannot be reached from a pod: the cluster's own is the only one.
        "resolvConf": "",
        "clusterDNS": [paths.node_address()],
        "clusterDomain": CLUSTER_DOMAIN,
        "volumePluginDir": str(kubelet_root() / "volume-plugins"),
    }


def dns_ready_url() -> str:
    """Answers 200 once CoreDNS knows the cluster's Services."""
    return f"http://{_dns_ready_address()}/ready"


def _dns_ready_address() -> str:
    return paths.endpoint(paths.node_address(), 8180)


def _coredns() -> str:
    """Answers for Services and for nothing else: no query leaves the cluster."""
    return f"""{CLUSTER_DOMAIN}:53 {{
  bind {paths.node_address()}
  errors
  ready {_dns_ready_address()}
  kubernetes {CLUSTER_DOMAIN} {{
    kubeconfig {credentials.folder() / "coredns.kubeconfig"}
  }}
}}
"""


def _kube_proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": str(paths.pod_network()),
        "bindAddress": paths.node_address(),
        "healthzBindAddress": paths.endpoint(paths.node_address(), 10256),
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": str(credentials.folder() / "kube-proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0},
    }
