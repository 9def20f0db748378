"""Each way of installing the operator in a bare cluster: a sample is tuned and served."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from release import manifests
from tests.chart import rendering
from tests.cluster import paths, tools
from tests.e2e import demo_there, harness

from .model import NAME, TIMES_AS_FAST, begin, wait_until_served
from .releases import CRDS, SEPARATE_CRDS

CLUSTER = ("mtp-ways", "172.28.0.0/16")
SETTINGS = {"MTP_OPERATOR_LEVEL_SECONDS": "4", "MTP_OPERATOR_BENCH_IMAGE": f"{harness.OPERATOR_IMAGE}:dev"}
"""What the plain manifests are run with here: the image that was built, and shorter trials."""

Install = Callable[[], None]


def by_the_crd_chart_first() -> None:
    chart = str(rendering.CRDS_CHART)
    harness.helm("install", SEPARATE_CRDS, chart, "--namespace", harness.OPERATOR_NAMESPACE, "--create-namespace")
    harness.install_tested_operator(crds={"enabled": False})


def by_install_yaml() -> None:
    _apply_plainly(rendering.documents(manifests.install()))


def by_kustomize() -> None:
    _apply_plainly(rendering.kustomized(rendering.REPOSITORY / "crds"))
    _apply_plainly(rendering.kustomized(rendering.REPOSITORY / "kustomize" / "base"))


def for_one_namespace() -> None:
    _apply_plainly(rendering.kustomized(rendering.REPOSITORY / "crds"))
    _apply_plainly(rendering.kustomized(rendering.REPOSITORY / "kustomize" / "overlays" / "namespaced"))


def _apply_plainly(documents: list[rendering.Document]) -> None:
    for document in documents:
        if document["kind"] == "Deployment":
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["image"] = f"{harness.OPERATOR_IMAGE}:dev"
            for variable in container["env"]:
                if variable["name"] in SETTINGS:
                    variable["value"] = SETTINGS[variable["name"]]
    together = {"apiVersion": "v1", "kind": "List", "items": documents}
    harness.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", document=together)
    crds = [f"crd/{crd}" for crd in CRDS]
    harness.kubectl("wait", "--for=condition=Established", *crds, "--timeout=10m")
    if rendering.of_kind(documents, "Deployment"):
        harness.kubectl(
            "rollout", "status", f"deployment/{harness.RELEASE}", "-n", harness.OPERATOR_NAMESPACE, "--timeout=10m"
        )


def asked_by(entry: dict[str, Any], account: str, pod: str) -> bool:
    """Whether a request of the audit log is of this pod under this account."""
    names = entry["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [])
    return bool(entry["user"]["username"] == account and names == [pod])


@pytest.mark.parametrize("install", [by_the_crd_chart_first, by_install_yaml, by_kustomize])
def test_a_sample_is_tuned_and_served(install: Install) -> None:
    install()
    namespace = f"installed-{install.__name__.replace('_', '-')}"
    begin(namespace)
    try:
        wait_until_served(namespace)
    finally:
        harness.clear(namespace)


def test_for_one_namespace_nothing_of_another_is_seen() -> None:
    offset = harness.audit_offset()
    for_one_namespace()
    begin("not-watched")
    begin(harness.OPERATOR_NAMESPACE)
    try:
        wait_until_served(harness.OPERATOR_NAMESPACE)
        unseen = harness.get("mtpmodels", "not-watched", NAME)
        assert unseen is not None
        assert unseen["status"] == {"observedGeneration": -1}
        account = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
        # The one before may still be ending, without its Role.
        (pod,) = (pod["metadata"]["name"] for pod in harness.operator_pods())
        asked = [entry for entry in harness.audit(offset) if asked_by(entry, account, pod)]
        assert asked
        assert [entry for entry in asked if entry["annotations"].get("authorization.k8s.io/decision") == "forbid"] == []
        with pytest.raises(RuntimeError, match="can-i"):  # it ends with 1 where it answers no
            harness.kubectl("auth", "can-i", "list", "pods", "-n", "not-watched", f"--as={account}")
    finally:
        for namespace in (harness.OPERATOR_NAMESPACE, "not-watched"):
            harness.kubectl("delete", "mtpm", "--all", "-n", namespace)


def test_helm_test_tunes_a_model_and_leaves_none() -> None:
    harness.ensure_namespace(harness.OPERATOR_NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_simulated_claim(harness.OPERATOR_NAMESPACE)
    image = harness.manifest(NAME)["spec"]["engine"]["image"]
    harness.install_tested_operator(
        test={"enabled": True, "engineImage": image, "claim": harness.SIMULATED_CLAIM, "timeoutSeconds": 300}
    )
    namespace = ("--namespace", harness.OPERATOR_NAMESPACE)

    said = harness.helm("test", harness.RELEASE, *namespace, "--logs", "--timeout", "15m")

    assert "Tuned, Selected: " in said
    assert f"MTPModel {harness.RELEASE}-test in namespace {harness.OPERATOR_NAMESPACE}: deleted" in said
    assert harness.items("mtpmodels", harness.OPERATOR_NAMESPACE) == []
    left = harness.kubectl("get", "pods,serviceaccounts,roles,rolebindings", *namespace, "--output=name").split()
    # A trial's pod, whose name is longer, may still be ending.
    assert f"{harness.RELEASE}-test" not in {one.rpartition("/")[2] for one in left}


@pytest.fixture
def volume() -> Iterator[None]:
    """What a StorageClass, which the test cluster has none of, would make for the demo's claim."""
    folder = paths.state_dir() / "demo-on-a-cluster"
    with harness.waiting_volume("demo-on-a-cluster", folder, demo_there.NAMESPACE, harness.SIMULATED_CLAIM):
        yield


@pytest.mark.usefixtures("volume")
def test_the_demo_takes_a_cluster_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {str(tools.find(name).parent) for name in ("kubectl", "helm")}
    monkeypatch.setenv("PATH", os.pathsep.join((*programs, os.environ["PATH"])))
    monkeypatch.setenv("KUBECONFIG", str(paths.kubeconfig()))
    monkeypatch.setenv("TAG", "dev")
    monkeypatch.setenv("SPEED", str(TIMES_AS_FAST))
    command = ["make", "-s", "demo", f"CONTEXT={harness.kubectl('config', 'current-context').strip()}"]

    done = subprocess.run(command, cwd=harness.REPOSITORY, capture_output=True, text=True, check=False, timeout=1500)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Simulated, no GPU was measured: n_spec=" in done.stdout
    undo = done.stdout.partition("To remove it all:")[2].strip().splitlines()
    assert len(undo) == 3
    for line in undo:
        subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=600)
    assert harness.get("mtpmodels", demo_there.NAMESPACE, NAME) is None
