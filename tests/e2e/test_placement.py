"""Trials find the GPU that was asked for, by the real scheduler; where none is, the condition says what there is.

The nodes here are objects without a kubelet: pods are assigned to them, and nothing more. Each test has nodes of its
own name, for the node controller takes a new node for a dead one that it knew, where both have the same name.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.lifecycle import DEFAULT_GPUS

from . import harness

pytestmark = pytest.mark.alone

SAMPLE = "demo-llamacpp"
DRIVER = "gpu.nvidia.com"
MIG = "nvidia.com/mig-2g.48gb"
REAL_PRODUCT = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"


def labels(family: str, capability: str, product: str, count: int, sharing: str = "none") -> dict[str, str]:
    """What GPU Feature Discovery writes, as far as placement reads it."""
    major, minor = capability.split(".")
    found = {
        "gpu.family": family,
        "gpu.compute.major": major,
        "gpu.compute.minor": minor,
        "gpu.product": product,
        "gpu.count": str(count),
        "gpu.sharing-strategy": sharing,
    }
    return {f"nvidia.com/{name}": value for name, value in found.items()}


#: Node -> its labels, and the resources that it offers.
NODES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "fake-l4": (labels("ada-lovelace", "8.9", "NVIDIA-L4", 2), {"nvidia.com/gpu": "2"}),
    "fake-b200": (labels("blackwell", "10.0", "NVIDIA-B200", 8), {"nvidia.com/gpu": "8"}),
    "fake-shared": (labels("blackwell", "10.3", "NVIDIA-B300", 8, "time-slicing"), {"nvidia.com/gpu": "8"}),
    "fake-mig": (labels("blackwell", "12.0", REAL_PRODUCT, 1), {MIG: "2"}),
}

DEVICES: dict[str, list[dict[str, Any]]] = {
    "fake-l4": [{"architecture": "Ada Lovelace", "productName": "NVIDIA L4", "cudaComputeCapability": "8.9.0"}] * 2,
    "fake-b200": [{"architecture": "Blackwell", "productName": "NVIDIA B200", "cudaComputeCapability": "10.0.0"}] * 8,
}


def node(name: str, suffix: str) -> dict[str, Any]:
    """A node that is ready, taints its GPUs as is usual, and runs nothing."""
    node_labels, resources = NODES[name]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"{name}-{suffix}", "labels": node_labels},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"cpu": "8", "memory": "64Gi", "pods": "16", **resources},
            "capacity": {"cpu": "8", "memory": "64Gi", "pods": "16", **resources},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "there is no kubelet"}],
        },
    }


def resource_slice(name: str, suffix: str) -> dict[str, Any]:
    """The devices of a node as NVIDIA's driver publishes them."""
    devices = [
        {
            "name": f"gpu-{number}",
            "attributes": {
                "type": {"string": "gpu"},
                "architecture": {"string": device["architecture"]},
                "productName": {"string": device["productName"]},
                "cudaComputeCapability": {"version": device["cudaComputeCapability"]},
            },
        }
        for number, device in enumerate(DEVICES[name])
    ]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{name}-{suffix}"},
        "spec": {
            "driver": DRIVER,
            "nodeName": f"{name}-{suffix}",
            "pool": {"name": f"{name}-{suffix}", "generation": 1, "resourceSliceCount": 1},
            "devices": devices,
        },
    }


def device_class() -> dict[str, Any]:
    """The class of whole GPUs as NVIDIA's driver installs it."""
    expression = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'"
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": DRIVER},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }


def untainted(name: str) -> bool:
    """Whether the node controller has seen that the node is ready."""
    found = harness.kubectl("get", "node", name, "-o", "jsonpath={.spec.taints[*].key}").split()
    return found == ["nvidia.com/gpu"]


@pytest.fixture
def nodes() -> Iterator[None]:
    """The nodes, and their devices."""
    suffix = uuid.uuid4().hex[:6]
    names = [f"{name}-{suffix}" for name in NODES]
    slices = [resource_slice(name, suffix) for name in DEVICES]
    objects = [device_class(), *(node(name, suffix) for name in NODES), *slices]
    harness.kubectl("apply", "-f", "-", document={"apiVersion": "v1", "kind": "List", "items": objects})
    try:
        for name in NODES:
            status = json.dumps({"status": node(name, suffix)["status"]})
            harness.kubectl(
                "patch", "node", f"{name}-{suffix}", "--subresource=status", "--type=merge", f"--patch={status}"
            )
        harness.wait_until(lambda: all(map(untainted, names)), "nodes without taints of their own")
        yield
    finally:
        harness.kubectl("delete", "resourceslice", *(one["metadata"]["name"] for one in slices))
        harness.kubectl("delete", "deviceclass", DRIVER)
        harness.kubectl("delete", "node", *names)


@pytest.fixture
def placed(namespace: str, nodes: None) -> Iterator[str]:
    """A namespace whose pods are removed from nodes that have no kubelet to end them."""
    del nodes
    yield namespace
    harness.kubectl("delete", "mtpmodels", "--all", "-n", namespace)
    harness.wait_until(lambda: not harness.items("jobs", namespace), "no Job left")
    harness.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force", "--wait=false")


def begin(namespace: str, models: dict[str, dict[str, Any]]) -> None:
    """Applies one model for each accelerator: name -> spec.accelerator."""
    for name, accelerator in models.items():
        harness.apply(harness.sample(SAMPLE, metadata__name=name, spec__accelerator=accelerator), namespace)


def pods_of(namespace: str, model: str) -> list[dict[str, Any]]:
    return harness.items("pods", namespace, f"mtp-operator.dev/model={model}")


def node_of(namespace: str, model: str) -> str:
    """Where the scheduler has put the model's trial, without the suffix of this test."""
    found = harness.wait_until(
        lambda: [one["spec"]["nodeName"] for one in pods_of(namespace, model) if "nodeName" in one["spec"]],
        f"a node for {model}",
        lambda: harness.story(namespace, model),
    )
    return str(found[0]).rpartition("-")[0]


def message_of(namespace: str, model: str) -> str:
    """Why no node fits."""
    found = harness.wait_for_condition(namespace, model, "Ready", "False", "NoNodeFits")
    return str(harness.condition(found, "Ready")["message"])


def test_trials_go_to_the_gpu_that_was_asked_for(placed: str) -> None:
    chosen: dict[str, tuple[dict[str, Any], str]] = {
        "capability": ({"computeCapabilities": ["10.0"]}, "fake-b200"),
        "product": ({"architecture": "Any", "products": ["NVIDIA-L4"]}, "fake-l4"),
        "two": ({"computeCapabilities": ["8.9", "10.0"], "count": 2}, "fake-b200"),
        "mig": ({"resourceName": MIG}, "fake-mig"),
    }
    begin(placed, {name: accelerator for name, (accelerator, _) in chosen.items()})

    assert {name: node_of(placed, name) for name in chosen} == {name: place for name, (_, place) in chosen.items()}


def test_where_none_fits_the_condition_says_what_there_is(placed: str) -> None:
    begin(
        placed,
        {
            "missing": {"computeCapabilities": ["12.1"], "count": 2},
            "shared": {"products": ["NVIDIA-B300"]},
            "too-many": {"architecture": "Any", "products": ["NVIDIA-L4"], "count": 3},
        },
    )

    there = f"8 x NVIDIA-B200, 8 x NVIDIA-B300, 2 x NVIDIA-L4, {DEFAULT_GPUS + 1} x {REAL_PRODUCT}"
    wanted = "no node has 2 x nvidia.com/gpu of family blackwell of compute capability 12.1"
    assert message_of(placed, "missing").startswith(f"{wanted}; found: {there}: 0/5 nodes are available")
    assert message_of(placed, "shared").startswith(
        f"no node has 1 x nvidia.com/gpu of family blackwell of product NVIDIA-B300; found: {there}: 0/5 nodes"
    )
    assert message_of(placed, "too-many").startswith(
        "no node has 3 x nvidia.com/gpu of product NVIDIA-L4 free; found: 2 x NVIDIA-L4: 0/5 nodes are available"
    )


def test_devices_are_claimed_by_their_attributes(placed: str) -> None:
    claimed = {"allocation": "DynamicResourceAllocation"}
    begin(
        placed,
        {
            "default": claimed,
            "two": claimed | {"products": ["NVIDIA-B200"], "computeCapabilities": ["10.0", "12.0"], "count": 2},
            "any": claimed | {"architecture": "Any", "computeCapabilities": ["8.9"]},
            "none": claimed | {"computeCapabilities": ["12.1"]},
        },
    )

    assert {name: node_of(placed, name) for name in ("default", "two", "any")} == {
        "default": "fake-b200",
        "two": "fake-b200",
        "any": "fake-l4",
    }
    (pod,) = pods_of(placed, "two")
    claim_name = pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
    claim = harness.get("resourceclaims", placed, claim_name)
    assert claim is not None
    assert len(claim["status"]["allocation"]["devices"]["results"]) == 2
    assert message_of(placed, "none").startswith(
        f"no node has 1 x {DRIVER} of family blackwell of compute capability 12.1 free: 0/5 nodes are available"
    )


def test_without_the_right_to_read_nodes_the_scheduler_is_quoted(placed: str) -> None:
    harness.install_tested_operator(rbac={"nodes": False})
    try:
        begin(placed, {"capability": {"computeCapabilities": ["10.0"]}, "missing": {"computeCapabilities": ["12.1"]}})

        assert node_of(placed, "capability") == "fake-b200"
        wanted = "1 x nvidia.com/gpu of family blackwell of compute capability 12.1"
        assert message_of(placed, "missing").startswith(f"no node has {wanted} free: 0/5 nodes are available")
    finally:
        harness.install_tested_operator()
