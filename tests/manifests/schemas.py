"""JSON schemas of Kubernetes' kinds and of ours, and what kubeconform says of manifests by them.

Kubernetes' own come from the OpenAPI document in the source of the version that the tests' cluster runs, ours from the
CRDs. An object has no field that its schema does not name.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mtp_operator.api.crd import KINDS
from tests.cluster import tools

KUBECONFORM: Final = tools.Tool(
    "kubeconform",
    "github.com/yannh/kubeconform",
    {"kubeconform": ("-v",)},
    ("main.version={version}",),
    sources=tools.SOURCES / "kubeconform",
)
WITHOUT_SCHEMA: Final = ("PodMonitor", "PrometheusRule")
"""Kinds of the Prometheus Operator, which is not part of Kubernetes' source. promtool checks the rules themselves."""

_DEFINITIONS: Final = "definitions.json"
_METADATA: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LOCATION: Final = "{{ .ResourceKind }}{{ .KindSuffix }}.json"


@dataclass(frozen=True)
class Judged:
    """What kubeconform says of one object."""

    kind: str
    name: str
    status: str
    message: str


def judged(manifests: str, schemas: Path) -> list[Judged]:
    """What kubeconform says of each object of a YAML stream.

    Args:
        manifests: the stream.
        schemas: the folder that `write` has filled.
    """
    command = [str(tools.program(KUBECONFORM, "kubeconform")), "-strict", "-verbose", "-output=json", "-n=1"]
    options = [f"-schema-location={schemas}/{_LOCATION}", f"-skip={','.join(WITHOUT_SCHEMA)}", "-"]
    done = subprocess.run([*command, *options], input=manifests, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout)["resources"]
    return [Judged(one["kind"], one["name"], one["status"], one.get("msg", "")) for one in found]


def write(folder: Path) -> None:
    """Write one schema for each kind, under the names that kubeconform looks for."""
    definitions = kubernetes_definitions()
    (folder / _DEFINITIONS).write_text(json.dumps({"definitions": strict(definitions)}))
    for name, definition in definitions.items():
        for one in definition.get("x-kubernetes-group-version-kind", ()):
            reference = {"$ref": f"{_DEFINITIONS}#/definitions/{name}"}
            (folder / _file(one["group"], one["version"], one["kind"])).write_text(json.dumps(reference))
    for group, version, kind, schema in _our_schemas():
        (folder / _file(group, version, kind)).write_text(json.dumps(schema))


def kubernetes_definitions() -> dict[str, Any]:
    """The definitions of Kubernetes' OpenAPI document (version 2), by name."""
    # The source is there where Kubernetes was built; otherwise the module proxy has it.
    command = ("go", "mod", "download", "-json", "k8s.io/kubernetes")
    done = subprocess.run(command, cwd=tools.SOURCES, check=True, stdout=subprocess.PIPE, text=True)
    document = Path(json.loads(done.stdout)["Dir"], "api", "openapi-spec", "swagger.json")
    definitions: dict[str, Any] = json.loads(document.read_bytes())["definitions"]
    return definitions


def _our_schemas() -> Iterator[tuple[str, str, str, Any]]:
    for kind in KINDS:
        spec = kind.definition()["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            # What a CRD says of metadata adds to what all objects have.
            own = schema["properties"].get("metadata", {})
            metadata = {"allOf": [{"$ref": f"{_DEFINITIONS}#/definitions/{_METADATA}"}, own]}
            closed = strict(schema)
            closed["properties"]["metadata"] = metadata
            yield spec["group"], version["name"], spec["names"]["kind"], closed


def _file(group: str, version: str, kind: str) -> str:
    parts = (kind, group.partition(".")[0], version) if group else (kind, version)
    return f"{'-'.join(parts).lower()}.json"


def strict(schema: Any) -> Any:
    """A schema of OpenAPI as a JSON schema that allows no field which it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {name: strict(value) for name, value in schema.items()}
    if result.get("format") == "int-or-string" or result.get("x-kubernetes-int-or-string") is True:
        result.pop("format", None)
        result["type"] = ["integer", "string"]
    is_closed = isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object"
    if is_closed and schema.get("x-kubernetes-preserve-unknown-fields") is not True:
        result.setdefault("additionalProperties", False)
    return result
