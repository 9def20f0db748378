"""What is rendered of the samples is taken by the API server, in a namespace that admits only restricted pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.node import kubectl

GOLDEN = Path(__file__).parents[1] / "unit" / "cli" / "golden"
NAMESPACE = "rendered"

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture(scope="module")
def restricted() -> Iterator[str]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    kubectl("create", "--filename=-", document=document)
    kubectl("wait", "serviceaccount/default", f"--namespace={NAMESPACE}", "--for=create", "--timeout=10m")
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def with_pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects, and the pods that a controller would make of them: only these are held against Pod Security."""
    for one in objects:
        yield one
        if one["kind"] in ("Job", "Deployment"):
            template = one["spec"]["template"]
            metadata = template["metadata"] | {"name": f"{one['metadata']['name']}-x"}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("rendered", sorted(GOLDEN.rglob("*.yaml")), ids=lambda path: path.stem)
def test_everything_rendered_is_taken(rendered: Path, restricted: str) -> None:
    objects = list(with_pods(list(yaml.safe_load_all(rendered.read_text()))))
    for one in objects:
        one["metadata"]["namespace"] = restricted

    stored = kubectl(
        "create", "--dry-run=server", "--output=name", "--filename=-",
        document={"apiVersion": "v1", "kind": "List", "items": objects},
    )  # fmt: skip

    assert len(stored.split()) == len(objects)
