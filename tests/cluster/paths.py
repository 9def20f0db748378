"""Where the test cluster keeps its things, and under which names and addresses it runs.

Everything is decided by three environment variables, so that a second cluster can live beside the first:

- `MTP_OPERATOR_CACHE`: the cache folder (default `~/.cache/mtp-operator`);
- `MTP_OPERATOR_CLUSTER`: the cluster's name (default `mtp-operator`);
- `MTP_OPERATOR_CLUSTER_NETWORK`: a private IPv4 /16 or IPv6 /48 from which all its addresses come (default
  `172.30.0.0/16`). With an IPv6 network the cluster has IPv6 only: no node, pod or Service has an IPv4 address.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TypeAlias

#: The name of the host's end of the veth pair is the cluster's name and two characters; Linux allows 15.
_LONGEST_NAME = 12

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: IP version -> prefix length of the whole network and of the link between this machine and the node, and number of the
#: first address and prefix length of the ranges of Services and of pods.
_LAYOUT = {
    4: (16, 24, (16 << 8, 20), (128 << 8, 17)),
    6: (48, 64, (1 << 64, 112), (2 << 64, 64)),
}
_ALLOWED = "a private IPv4 /16 such as 172.30.0.0/16, or a private IPv6 /48 such as fd30:6d74:7000::/48"


def cache_dir() -> Path:
    """The project's cache folder: all that is built or downloaded, keyed by version."""
    return Path(os.environ.get("MTP_OPERATOR_CACHE") or Path.home() / ".cache" / "mtp-operator").absolute()


def bin_dir() -> Path:
    """The folder of built binaries, with one folder `<tool>-<version>` for each tool."""
    return cache_dir() / "bin"


def cluster_name() -> str:
    """The cluster's name; also the name of its CNI network and of its cgroup.

    Raises:
        ValueError: if `MTP_OPERATOR_CLUSTER` is not a short DNS label.
    """
    name = os.environ.get("MTP_OPERATOR_CLUSTER") or "mtp-operator"
    if not re.fullmatch(rf"[a-z][a-z0-9-]{{0,{_LONGEST_NAME - 2}}}[a-z0-9]", name):
        message = f"MTP_OPERATOR_CLUSTER: {name!r} must be a lower-case DNS label of 2 to {_LONGEST_NAME} characters"
        raise ValueError(message)
    return name


def node_name() -> str:
    """The name of the cluster's only node."""
    return f"{cluster_name()}-node"


def network() -> Network:
    """The network that the node, the Services and the pods get addresses from; see `_LAYOUT`.

    Raises:
        ValueError: if `MTP_OPERATOR_CLUSTER_NETWORK` is neither a private IPv4 /16 nor a private IPv6 /48.
    """
    text = os.environ.get("MTP_OPERATOR_CLUSTER_NETWORK") or "172.30.0.0/16"
    try:
        block = ipaddress.ip_network(text)
    except ValueError as error:
        message = f"MTP_OPERATOR_CLUSTER_NETWORK: {error}; allowed is {_ALLOWED}"
        raise ValueError(message) from None
    if block.prefixlen != _LAYOUT[block.version][0] or not block.is_private:
        message = f"MTP_OPERATOR_CLUSTER_NETWORK: {text} is not {_ALLOWED}"
        raise ValueError(message)
    return block


def node_address() -> str:
    """The node's address: the API server, the kubelet and every health endpoint listen there."""
    return str(network()[1])


def host_address() -> str:
    """The address of this machine's end of the veth pair."""
    return str(network()[254])


def link_prefix() -> int:
    """The prefix length of the link between this machine and the node."""
    return _LAYOUT[network().version][1]


def endpoint(address: str, port: int) -> str:
    """Address and port as a URL has them: an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def service_network() -> Network:
    """The range of ClusterIPs; its first address is the `kubernetes` Service."""
    return _range(*_LAYOUT[network().version][2])


def pod_network() -> Network:
    """The range of pod addresses."""
    return _range(*_LAYOUT[network().version][3])


def _range(first: int, prefix: int) -> Network:
    return ipaddress.ip_network(f"{network()[first]}/{prefix}")


def state_dir() -> Path:
    """The cluster's folder; `down` empties it, except for the image store and the logs."""
    return cache_dir() / "cluster" / cluster_name()


def network_namespace() -> Path:
    """The file that holds the cluster's network namespace, for `nsenter --net=FILE`."""
    return state_dir() / "network-namespace"


def logs_dir() -> Path:
    """The folder of the components' logs, `<component>.log`; kept until the next cluster starts."""
    return state_dir() / "logs"


def audit_log() -> Path:
    """The API server's audit log: one JSON document a line, at metadata level."""
    return logs_dir() / "audit.log"


def image_store() -> Path:
    """containerd's root folder (content and snapshots); kept by `down`, because importing images is slow."""
    return state_dir() / "image-store"


def containerd_socket() -> Path:
    """The socket of the cluster's containerd: `ctr --namespace k8s.io --address SOCKET images import FILE`."""
    return state_dir() / "containerd" / "containerd.sock"


def kubeconfig() -> Path:
    """The kubeconfig of a cluster administrator, usable from this machine."""
    return state_dir() / "kubeconfig"
