"""Each way of installing the operator in a bare cluster: a sample is tuned and served. Then upgrade and removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import manifests
from tests.chart import rendering

from . import harness

pytestmark = pytest.mark.alone

NAME = "demo-simulated"
TIMES_AS_FAST = 2
SEPARATE_CRDS = "mtp-operator-crds"
CRDS = ("mtpmodels.mtp-operator.dev", "mtptuningruns.mtp-operator.dev")
SETTINGS = {"MTP_OPERATOR_LEVEL_SECONDS": "4", "MTP_OPERATOR_BENCH_IMAGE": f"{harness.OPERATOR_IMAGE}:dev"}
"""What the plain manifests are run with here: the image that was built, and shorter trials."""

Install = Callable[[], None]


@pytest.fixture
def bare_cluster(operator: None) -> Iterator[None]:
    """Nothing of the operator is there, not even its CRDs; afterwards the operator of the other tests is back."""
    del operator
    _remove()
    yield
    _remove()
    harness.install_tested_operator()


def _remove() -> None:
    for release in (harness.RELEASE, SEPARATE_CRDS):
        harness.helm("uninstall", release, "--namespace", harness.OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
    harness.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    selector = "app.kubernetes.io/name=mtp-operator"
    harness.kubectl("delete", "clusterroles,clusterrolebindings", "-l", selector)
    kinds = "deployments,roles,rolebindings,serviceaccounts,networkpolicies,poddisruptionbudgets"
    harness.kubectl("delete", kinds, "-l", selector, "-n", harness.OPERATOR_NAMESPACE)
    # Else the next operator waits for it to expire.
    harness.kubectl("delete", "lease", harness.RELEASE, "-n", harness.OPERATOR_NAMESPACE, "--ignore-not-found")


def by_helm() -> None:
    harness.install_tested_operator()


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
        harness.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", document=document)
    for crd in CRDS:
        harness.kubectl("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=25s")
    if rendering.of_kind(documents, "Deployment"):
        harness.kubectl(
            "rollout", "status", f"deployment/{harness.RELEASE}", "-n", harness.OPERATOR_NAMESPACE, "--timeout=25s"
        )


def begin(namespace: str) -> None:
    """A model in a namespace of its own starts to be tuned."""
    harness.ensure_namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_simulated_claim(namespace)
    # A choice of two: how it is found is for other tests.
    document = harness.sample(
        NAME, spec__serving={"replicas": 1}, spec__tuning__maxNSpec=1, spec__tuning__budget={"maxTrials": 3}
    )
    document["spec"]["engine"].setdefault("env", []).append(
        {"name": "SIMULATED_GPU_SPEED", "value": str(TIMES_AS_FAST)}
    )
    harness.apply(document, namespace)


def wait_until_served(namespace: str) -> dict[str, Any]:
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "", 300)
    assert model["status"]["servedNSpec"] == model["status"]["nSpec"]
    return model


def servers(namespace: str) -> set[str]:
    """The servers' pods, by uid."""
    pods = harness.items("pods", namespace, "app.kubernetes.io/component=server")
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.mark.usefixtures("bare_cluster")
@pytest.mark.parametrize("install", [by_the_crd_chart_first, by_install_yaml, by_kustomize])
def test_a_sample_is_tuned_and_served(install: Install) -> None:
    install()
    namespace = f"installed-{install.__name__.replace('_', '-')}"
    begin(namespace)
    try:
        wait_until_served(namespace)
    finally:
        harness.clear(namespace)


@pytest.mark.usefixtures("bare_cluster")
def test_for_one_namespace_nothing_of_another_is_seen() -> None:
    for_one_namespace()
    begin("not-watched")
    begin(harness.OPERATOR_NAMESPACE)
    try:
        wait_until_served(harness.OPERATOR_NAMESPACE)
        unseen = harness.get("mtpmodels", "not-watched", NAME)
        assert unseen is not None
        assert unseen["status"] == {"observedGeneration": -1}
        account = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
        with pytest.raises(RuntimeError, match="can-i"):  # it ends with 1 where it answers no
            harness.kubectl("auth", "can-i", "list", "pods", "-n", "not-watched", f"--as={account}")
    finally:
        for namespace in (harness.OPERATOR_NAMESPACE, "not-watched"):
            harness.kubectl("delete", "mtpm", "--all", "-n", namespace)


@pytest.mark.usefixtures("bare_cluster")
def test_upgrade_removal_and_return() -> None:
    namespace = "upgraded-and-removed"
    by_helm()
    begin(namespace)
    served = wait_until_served(namespace)
    before = servers(namespace)
    assert before

    # An older CRD has one column less; `helm upgrade` brings it back.
    manifest = harness.helm("get", "manifest", harness.RELEASE, "--namespace", harness.OPERATOR_NAMESPACE)
    (older,) = (one for one in yaml.safe_load_all(manifest) if one and one["metadata"]["name"] == CRDS[0])
    del older["spec"]["versions"][0]["additionalPrinterColumns"][0]
    harness.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename=-", document=older
    )
    harness.install_tested_operator()
    crd = yaml.safe_load(harness.kubectl("get", "crd", CRDS[0], "-o", "yaml"))
    stored = yaml.safe_load(Path(rendering.REPOSITORY, "crds", "mtp-operator.dev_mtpmodels.yaml").read_text())
    assert len(crd["spec"]["versions"][0]["additionalPrinterColumns"]) == len(
        stored["spec"]["versions"][0]["additionalPrinterColumns"]
    )

    harness.helm("uninstall", harness.RELEASE, "--namespace", harness.OPERATOR_NAMESPACE, "--wait")
    assert NAME in harness.kubectl("get", "mtpm", "-n", namespace)
    assert servers(namespace) == before

    by_helm()
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "", 60)
    assert model["status"]["tuningRunRef"] == served["status"]["tuningRunRef"]
    assert servers(namespace) == before
    assert harness.items("jobs", namespace) == []

    harness.helm("uninstall", harness.RELEASE, "--namespace", harness.OPERATOR_NAMESPACE, "--wait")
    harness.kubectl("delete", "mtpm", "--all", "-n", namespace)
    harness.wait_until(lambda: not harness.items("deployments", namespace), "nothing makes new servers", 60)
    # A server may take an hour to finish what it was asked, and the namespace waits as long.
    harness.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    harness.kubectl("delete", "namespace", namespace, "--timeout=25s")
