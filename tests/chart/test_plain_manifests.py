"""Manifests for those who install without Helm are the chart's, and no file of them is stale."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from release import manifests
from tests.chart.rendering import EXAMPLES, REPOSITORY, Document, documents, kustomized, names, of_kind, template

KUSTOMIZE = REPOSITORY / "kustomize"


def canonical(found: list[Document]) -> dict[tuple[str, str, str], Document]:
    """By kind and name, without what only Helm wants, and with lists of named things in one order."""

    def cleaned(node: Any) -> Any:
        if isinstance(node, list):
            children = [cleaned(one) for one in node]
            is_named = children and all(isinstance(one, dict) and "name" in one for one in children)
            return sorted(children, key=lambda one: str(one["name"])) if is_named else children
        if isinstance(node, dict):
            return {name: cleaned(value) for name, value in node.items() if name != "helm.sh/chart"}
        return node

    return {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): cleaned(one)
        for one in found
        if one["kind"] != "Namespace"
    }


def test_no_generated_file_is_stale() -> None:
    assert manifests.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("folder", "values"),
    [
        ("base", {"crds": {"enabled": False}}),
        ("overlays/ha", yaml.safe_load((EXAMPLES / "ha.yaml").read_text()) | {"crds": {"enabled": False}}),
        ("overlays/namespaced", yaml.safe_load((EXAMPLES / "namespaced.yaml").read_text())),
    ],
)
def test_a_kustomization_makes_what_the_chart_makes(folder: str, values: dict[str, Any]) -> None:
    assert canonical(kustomized(KUSTOMIZE / folder)) == canonical(template(values))


def test_the_operators_namespace_admits_only_restricted_pods() -> None:
    (namespace,) = of_kind(kustomized(KUSTOMIZE / "base"), "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_crds_are_those_of_the_repository() -> None:
    found = documents(manifests.crds())

    assert [one["spec"] for one in found] == [one["spec"] for one in kustomized(REPOSITORY / "crds")]


def test_install_yaml_has_everything_and_the_crds_first() -> None:
    found = documents(manifests.install())

    assert [one["kind"] for one in found[:3]] == ["CustomResourceDefinition"] * 2 + ["Namespace"]
    assert names(found) == names(template()) | {("Namespace", "", "mtp-system")}
    assert "helm.sh" not in manifests.install()
