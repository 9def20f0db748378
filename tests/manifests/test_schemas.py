"""Every manifest of this repository has the fields that its kind has, and no other: kubeconform, with our schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import manifests
from tests.chart.rendering import CRDS_CHART, EXAMPLES, REPOSITORY, Document, kustomized, template
from tests.chart.test_self_test import ENABLED as TEST
from tests.chart.test_self_test import model_of
from tests.chart.test_values import ALL_MONITORING
from tests.cluster import tools
from tests.manifests import schemas
from tests.unit.cli.golden import recorded, samples

VALUES: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "everything": {
        "replicas": 2,
        "admissionPolicy": {"enabled": True, "registries": ["ghcr.io/team"], "requireDigests": True},
        "extraLabels": {"team": "llm"},
        "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"note": "one"},
        "test": TEST,
        **ALL_MONITORING,
    },
    "some namespaces": {"watchNamespaces": ["llm", "mtp-system"], "rbac": {"nodes": False}, "test": TEST},
    **{file.stem: yaml.safe_load(file.read_text()) for file in EXAMPLES.glob("*.yaml")},
}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the schemas."""
    tools.ensure(*(one for one in tools.TOOLS if one.name in ("helm", "kubernetes")), schemas.KUBECONFORM)
    made = tmp_path_factory.mktemp("schemas")
    schemas.write(made)
    return made


def stream(documents: list[Document]) -> str:
    return yaml.safe_dump_all(documents)


def objections(text: str, folder: Path) -> list[schemas.Judged]:
    """What is wrong with a stream, which must have an object."""
    found = schemas.judged(text, folder)
    assert found
    skipped = {one.kind for one in found if one.status == "statusSkipped"}
    assert skipped <= set(schemas.WITHOUT_SCHEMA)
    return [one for one in found if one.status not in ("statusValid", "statusSkipped")]


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.stem)
def test_a_sample_and_its_objects_conform(sample: Path, folder: Path) -> None:
    assert objections(sample.read_text(), folder) == []
    assert objections(recorded(sample).read_text(), folder) == []


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_charts_objects_conform(values: dict[str, Any], folder: Path) -> None:
    assert objections(stream(template(values)), folder) == []


def plain_manifests() -> Iterator[tuple[str, str]]:
    yield "crds chart", stream(template(chart=CRDS_CHART))
    yield "install.yaml", manifests.install()
    for path in sorted(REPOSITORY.joinpath("kustomize").rglob("kustomization.yaml")):
        yield path.parent.name, stream(kustomized(path.parent))
    yield "crds", stream(kustomized(REPOSITORY / "crds"))
    yield "what helm test tunes", stream([model_of(template({"test": TEST}))])


def test_plain_manifests_conform(folder: Path) -> None:
    found = {name: objections(text, folder) for name, text in plain_manifests()}

    assert len(found) > 5
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "imagePolicy"), "Always", "'imagePolicy'"),
        ("Deployment", ("spec", "replicas"), "two", "want integer"),
        ("Role", ("rules", 0, "verb"), ["get"], "'verb'"),
        ("MTPModel", ("spec", "tuning", "maxNSpecs"), 3, "'maxNSpecs'"),
        ("MTPModel", ("spec", "tuning", "maxNSpec"), 0, "minimum"),
        ("MTPModel", ("spec", "engine", "type"), "TGI", "must be one of"),
    ],
)
def test_a_mistake_is_seen(kind: str, path: tuple[str | int, ...], value: Any, message: str, folder: Path) -> None:
    found = template({"test": TEST})
    document = next(one for one in [*found, model_of(found)] if one["kind"] == kind)
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value

    (wrong,) = objections(stream([document]), folder)

    assert wrong.status == "statusInvalid"
    assert message in wrong.message


def test_an_unknown_kind_is_no_valid_one(folder: Path) -> None:
    unknown = {"apiVersion": "mtp-operator.dev/v1", "kind": "MTPModel", "metadata": {"name": "one"}}

    (wrong,) = objections(stream([unknown]), folder)

    assert wrong.status == "statusError"
