"""What the examples for Argo CD and Flux say of this project is right: charts, versions, values, kinds, scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtp_operator.api.crd import KINDS
from release import settings
from tests.chart.rendering import REPOSITORY, template
from tests.gitops.judges import HEALTH

GITOPS = REPOSITORY / "docs" / "gitops"
CHARTS = {path.name: yaml.safe_load((path / "Chart.yaml").read_text()) for path in (REPOSITORY / "charts").iterdir()}


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for path in sorted(GITOPS.rglob("*.yaml")) for one in documents(path) if one["kind"] == kind]


def test_every_kind_has_a_health_script_and_no_other_has() -> None:
    assert {path.stem for path in HEALTH.glob("*.lua")} == {kind.model.__name__ for kind in KINDS}


def test_the_config_map_has_the_scripts() -> None:
    (config_map,) = of_kind("ConfigMap")

    assert config_map["data"] == {
        f"resource.customizations.health.mtp-operator.dev_{path.stem}": path.read_text()
        for path in HEALTH.glob("*.lua")
    }


def test_applications_name_our_charts_as_they_are_published() -> None:
    sources = [one["spec"]["source"] for one in of_kind("Application") if "chart" in one["spec"]["source"]]

    assert {source["chart"] for source in sources} == CHARTS.keys()
    for source in sources:
        assert source["repoURL"] == f"{settings.REGISTRY}/{settings.OWNER}/charts"
        assert source["targetRevision"] == CHARTS[source["chart"]]["version"]


def test_applications_come_in_waves() -> None:
    waves = {
        one["metadata"]["name"]: int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for one in of_kind("Application")
    }

    assert sorted(waves, key=waves.__getitem__) == ["mtp-operator-crds", "mtp-operator", "models"]
    assert len(set(waves.values())) == 3


def test_flux_names_our_charts_as_they_are_published() -> None:
    sources = {one["metadata"]["name"]: one["spec"] for one in of_kind("OCIRepository")}

    assert sources.keys() == CHARTS.keys()
    for name, spec in sources.items():
        assert spec["url"] == f"oci://{settings.REGISTRY}/{settings.OWNER}/charts/{name}"
        assert spec["ref"]["tag"] == CHARTS[name]["version"]
    assert {one["spec"]["chartRef"]["name"] for one in of_kind("HelmRelease")} == CHARTS.keys()


def test_values_of_the_examples_are_accepted() -> None:
    of_argo = [one["spec"]["source"].get("helm", {}).get("valuesObject") for one in of_kind("Application")]
    stated = [values for values in (*of_argo, *(one["spec"].get("values") for one in of_kind("HelmRelease"))) if values]

    assert len(stated) == 2
    for values in stated:
        assert not [one for one in template(values) if one["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize("kind", ["Application", "HelmRelease", "Kustomization"])
def test_there_is_an_example_of_each(kind: str) -> None:
    assert of_kind(kind)
