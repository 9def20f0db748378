"""Where the test cluster keeps its things, and under which names and addresses it runs.

Everything is decided by three environment variables, so that a second cluster can live beside the first:

- `MTP_OPERATOR_CACHE`: the cache folder (default `~/.cache/mtp-operator`);
- `MTP_OPERATOR_CLUSTER`: the cluster's name (default `mtp-operator`);
- `MTP_OPERATOR_CLUSTER_NETWORK`: a private IPv4 /16 from which all its addresses come (default `172.30.0.0/16`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

#: The name of the host's end of the veth pair is the cluster's name and two characters; Linux allows 15.
_LONGEST_NAME = 12


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


def network() -> ipaddress.IPv4Network:
    """The /16 that the node (x.y.0.1), the Services (x.y.16.0/20) and the pods (x.y.128.0/17) get addresses from.

    Raises:
        ValueError: if `MTP_OPERATOR_CLUSTER_NETWORK` is not a private IPv4 /16.
    """
    text = os.environ.get("MTP_OPERATOR_CLUSTER_NETWORK") or "172.30.0.0/16"
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError as error:
        message = f"MTP_OPERATOR_CLUSTER_NETWORK: {error}; allowed is a private IPv4 /16 such as 172.30.0.0/16"
        raise ValueError(message) from None
    if block.prefixlen != 16 or not block.is_private:
        message = f"MTP_OPERATOR_CLUSTER_NETWORK: {text} is not a private IPv4 /16 such as 172.30.0.0/16"
        raise ValueError(message)
    return block


def node_address() -> str:
    """The node's address: the API server, the kubelet and every health endpoint listen there."""
    return str(network()[1])


def host_address() -> str:
    """The address of this machine's end of the veth pair."""
    return str(network()[254])


def service_network() -> ipaddress.IPv4Network:
    """The range of ClusterIPs; its first address is the `kubernetes` Service."""
    return ipaddress.IPv4Network((int(network().network_address) + (16 << 8), 20))


def pod_network() -> ipaddress.IPv4Network:
    """The range of pod addresses."""
    return ipaddress.IPv4Network((int(network().network_address) + (128 << 8), 17))


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
