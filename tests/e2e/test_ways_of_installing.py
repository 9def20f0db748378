"""Each way of installing the operator in a bare cluster: a sample is tuned and served. Then upgrade and removal."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import manifests
from tests.chart import rendering
from tests.cluster import images, paths, tools
from tests.docs.commands import commands

from . import demo_there, harness

pytestmark = pytest.mark.alone

NAME = "demo-simulated"
TIMES_AS_FAST = 2
NEXT_TAG = "next"
SEPARATE_CRDS = "mtp-operator-crds"
CRDS = ("mtpmodels.mtp-operator.dev", "mtptuningruns.mtp-operator.dev")
SETTINGS = {"MTP_OPERATOR_LEVEL_SECONDS": "4", "MTP_OPERATOR_BENCH_IMAGE": f"{harness.OPERATOR_IMAGE}:dev"}
"""What the plain manifests are run with here: the image that was built, and shorter trials."""

UPGRADE_PAGE = rendering.REPOSITORY / "docs" / "how-to" / "upgrade.md"

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
        harness.kubectl("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=10m")
    if rendering.of_kind(documents, "Deployment"):
        harness.kubectl(
            "rollout", "status", f"deployment/{harness.RELEASE}", "-n", harness.OPERATOR_NAMESPACE, "--timeout=10m"
        )


def begin(namespace: str, **changes: Any) -> None:
    """A model in a namespace of its own starts to be tuned, or is changed."""
    harness.ensure_namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_simulated_claim(namespace)
    # A choice of two: how it is found is for other tests.
    document = harness.sample(
        NAME,
        **{
            "spec__serving": {"replicas": 1},
            "spec__tuning__maxNSpec": 1,
            "spec__tuning__budget": {"maxTrials": 3},
            **changes,
        },
    )
    document["spec"]["engine"].setdefault("env", []).append(
        {"name": "SIMULATED_GPU_SPEED", "value": str(TIMES_AS_FAST)}
    )
    harness.apply(document, namespace)


def wait_until_served(namespace: str) -> dict[str, Any]:
    """The model, once the operator has seen it as it is now and serves it."""

    def has_seen() -> bool:
        model = harness.get("mtpmodels", namespace, NAME)
        return model is not None and model["status"]["observedGeneration"] == model["metadata"]["generation"]

    harness.wait_until(has_seen, "the newest generation is observed")
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
    assert model["status"]["servedNSpec"] == model["status"]["nSpec"]
    return model


def asked_by(entry: dict[str, Any], account: str, pod: str) -> bool:
    """Whether a request of the audit log is of this pod under this account."""
    names = entry["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [])
    return bool(entry["user"]["username"] == account and names == [pod])


def follow_the_page(first: str) -> None:
    """Runs a block of the page about upgrades and removal as it is there; `first` is how it begins."""
    block = [one for one in commands() if one.block.page == UPGRADE_PAGE and one.block.text.startswith(first)]
    assert block
    for command in block:
        {"helm": harness.helm, "kubectl": harness.kubectl}[command.program](*command.words[1:])


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


@pytest.mark.usefixtures("bare_cluster")
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


@pytest.mark.usefixtures("bare_cluster", "volume")
def test_the_demo_takes_a_cluster_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {str(tools.find(name).parent) for name in ("kubectl", "helm")}
    monkeypatch.setenv("PATH", os.pathsep.join((*programs, os.environ["PATH"])))
    monkeypatch.setenv("KUBECONFIG", str(paths.kubeconfig()))
    monkeypatch.setenv("TAG", "dev")
    command = ["make", "-s", "demo", f"CONTEXT={harness.kubectl('config', 'current-context').strip()}"]

    done = subprocess.run(command, cwd=harness.REPOSITORY, capture_output=True, text=True, check=False, timeout=1500)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Simulated, no GPU was measured: n=" in done.stdout
    undo = done.stdout.partition("To remove it all:")[2].strip().splitlines()
    assert len(undo) == 3
    for line in undo:
        subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=600)
    assert harness.get("mtpmodels", demo_there.NAMESPACE, NAME) is None


def next_version() -> None:
    """Upgrade to a version whose own image, which measures too, has another name, and which measures longer."""
    images.tag(images.IMAGES["operator"], NEXT_TAG)
    newer = {"image": {"repository": harness.OPERATOR_IMAGE, "tag": NEXT_TAG}}
    harness.install_tested_operator(level_seconds=5, ready_seconds=301, **newer)


@pytest.mark.usefixtures("bare_cluster")
def test_an_upgrade_disturbs_neither_trials_nor_servers() -> None:
    namespace, start = "upgraded", harness.audit_offset()
    by_helm()
    begin(namespace)
    harness.wait_until(
        lambda: any(pod["status"]["phase"] == "Running" for pod in harness.items("pods", namespace)), "a trial"
    )
    next_version()
    wait_until_served(namespace)
    made = harness.jobs_created(namespace, start)
    assert len(made) == len(set(made))
    before, offset = servers(namespace), harness.audit_offset()
    assert before

    harness.install_tested_operator()
    for change in (
        {"spec__tuning__historyLimit": 5},
        {"spec__tuning__suspend": True},
        {"spec__tuning__suspend": False},
        {"spec__tuning__budget": {"maxTrials": 4}},
    ):
        begin(namespace, **change)
        wait_until_served(namespace)
    harness.helm("rollback", harness.RELEASE, "2", "--namespace", harness.OPERATOR_NAMESPACE, "--wait")
    begin(namespace, spec__tuning__historyLimit=2)
    wait_until_served(namespace)
    assert servers(namespace) == before
    assert harness.jobs_created(namespace, offset) == []
    harness.clear(namespace)


@pytest.mark.usefixtures("bare_cluster")
def test_crds_that_were_deleted_by_mistake_come_back() -> None:
    namespace = "without-crds"
    by_helm()
    begin(namespace)
    wait_until_served(namespace)

    harness.kubectl("delete", "crd", *CRDS)
    harness.wait_until(lambda: not harness.items("deployments", namespace), "servers go with their model")
    by_helm()
    begin(namespace)
    wait_until_served(namespace)

    follow_the_page("kubectl delete mtpmodels --all --all-namespaces")
    assert harness.kubectl("get", "crd", *CRDS, "--ignore-not-found") == ""
    harness.wait_until(lambda: not harness.items("pods", namespace), "servers that are not asked end")


def is_there(namespace: str) -> bool:
    return bool(harness.kubectl("get", "namespace", namespace, "--ignore-not-found"))


@pytest.mark.usefixtures("bare_cluster")
def test_a_namespace_with_servers_goes_without_the_operator() -> None:
    namespace = "deleted-with-servers"
    by_helm()
    begin(namespace)
    wait_until_served(namespace)
    assert servers(namespace)
    harness.helm("uninstall", harness.RELEASE, "--namespace", harness.OPERATOR_NAMESPACE, "--wait")

    harness.kubectl("delete", "namespace", namespace, "--wait=false")

    harness.wait_until(lambda: not harness.items("pods", namespace), "servers that are not asked end")
    # While there were pods, Kubernetes put off its next look for half of their grace period, or five minutes if that is
    # less. A change of the namespace makes it look.
    if is_there(namespace):
        harness.kubectl("annotate", "namespace", namespace, "looked-at=now")
    harness.wait_until(lambda: not is_there(namespace), "the namespace is gone")


@pytest.mark.usefixtures("bare_cluster")
def test_upgrade_removal_and_return() -> None:
    namespace = "llm"  # as on the page
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

    follow_the_page("helm uninstall")
    assert NAME in harness.kubectl("get", "mtpm", "-n", namespace)
    assert servers(namespace) == before

    by_helm()
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
    assert model["status"]["tuningRunRef"] == served["status"]["tuningRunRef"]
    assert servers(namespace) == before
    assert harness.items("jobs", namespace) == []

    harness.helm("uninstall", harness.RELEASE, "--namespace", harness.OPERATOR_NAMESPACE, "--wait")
    # A pod may take an hour to finish what it was asked; these servers are asked nothing.
    follow_the_page("kubectl delete mtpmodels --all --namespace llm")
    assert not is_there(namespace)
