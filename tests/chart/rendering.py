"""What `helm template` and `kubectl kustomize` answer, as documents."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import tools

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "mtp-operator"
CRDS_CHART = REPOSITORY / "charts" / "mtp-operator-crds"
EXAMPLES = CHART / "examples"

Document = dict[str, Any]


class RefusedError(Exception):
    """Helm or kubectl refused, and says why."""


def template(
    values: Mapping[str, Any] | None = None,
    *options: str,
    release: str = "mtp-operator",
    namespace: str = "mtp-system",
    chart: Path = CHART,
) -> list[Document]:
    """The documents that a release of the chart consists of.

    Raises:
        RefusedError: Helm does not render it.
    """
    arguments = ("template", release, str(chart), f"--namespace={namespace}", "--values=-", *options)
    return documents(answer(tools.find("helm"), *arguments, text=json.dumps(values or {})))


def kustomized(folder: Path) -> list[Document]:
    """The documents of a kustomization."""
    return documents(answer(tools.find("kubectl"), "kustomize", str(folder)))


def lint(chart: Path, *options: str) -> str:
    """What `helm lint --strict` says.

    Raises:
        RefusedError: there is something to lint.
    """
    return answer(tools.find("helm"), "lint", "--strict", str(chart), *options)


def documents(text: str) -> list[Document]:
    """The documents of a YAML stream that are not empty."""
    # The C loader: the CRDs are long.
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def of_kind(found: list[Document], *kinds: str) -> list[Document]:
    """Those of some kinds."""
    return [document for document in found if document["kind"] in kinds]


def names(found: list[Document]) -> set[tuple[str, str, str]]:
    """Kind, namespace (empty for what is in none) and name of each."""
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in found}


def deployment(found: list[Document]) -> Document:
    """The only Deployment."""
    (one,) = of_kind(found, "Deployment")
    return one


def pod(found: list[Document]) -> Document:
    """The pod template's spec of the only Deployment."""
    spec: Document = deployment(found)["spec"]["template"]["spec"]
    return spec


def environment(found: list[Document]) -> dict[str, str]:
    """The operator's environment variables, as far as they are literal."""
    return {one["name"]: one["value"] for one in pod(found)["containers"][0]["env"] if "value" in one}


@functools.cache
def answer(command: Path, *arguments: str, text: str = "", folder: Path | None = None) -> str:
    """What a program prints, remembered.

    Raises:
        RefusedError: it fails.
    """
    done = subprocess.run(
        [command, *arguments], input=text, capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )
    if done.returncode:
        raise RefusedError(done.stderr + done.stdout)
    return done.stdout
