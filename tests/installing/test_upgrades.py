"""Upgrades, removals and returns of the operator disturb no server, and leave nothing that nobody wants."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.chart import rendering
from tests.cluster import images
from tests.docs.commands import commands
from tests.e2e import harness

from .model import NAME, begin, servers, wait_until_served
from .releases import CRDS, by_helm

CLUSTER = ("mtp-upgrades", "172.27.0.0/16")
NEXT_TAG = "next"
UPGRADE_PAGE = rendering.REPOSITORY / "docs" / "how-to" / "upgrade.md"


def follow_the_page(first: str) -> None:
    """Runs a block of the page about upgrades and removal as it is there; `first` is how it begins."""
    block = [one for one in commands() if one.block.page == UPGRADE_PAGE and one.block.text.startswith(first)]
    assert block
    for command in block:
        {"helm": harness.helm, "kubectl": harness.kubectl}[command.program](*command.words[1:])


def next_version() -> None:
    """Upgrade to a version whose own image, which measures too, has another name, and which measures longer."""
    images.tag(images.IMAGES["operator"], NEXT_TAG)
    newer = {"image": {"repository": harness.OPERATOR_IMAGE, "tag": NEXT_TAG}}
    harness.install_tested_operator(level_seconds=5, ready_seconds=301, **newer)


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
