"""The CustomResourceDefinitions and the API reference, generated from the models.

`python -m mtp_operator.api.crd` writes them, `--check` compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from .base import GROUP, VERSION, Schema, rule, validated
from .model import NAME_LIMIT, MTPModel, MTPModelSpec
from .model_status import MTPModelStatus
from .reasons import GROUPS, reasons_page
from .reference import api_reference, spelled_out
from .result_schema import result_schema
from .run import MTPTuningRun, MTPTuningRunSpec, MTPTuningRunStatus
from .structural import structural_schema

Json = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    type: str
    json_path: str
    wide: bool = False
    """Whether only `-o wide` shows it."""

    def to_wire(self) -> Json:
        """The column as the CRD has it."""
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.json_path,
            **({"priority": 1} if self.wide else {}),
        }


@dataclass(frozen=True)
class Kind:
    """One kind of the API."""

    model: type[Schema]
    spec: type[Schema]
    status: type[Schema]
    short_name: str
    columns: tuple[Column, ...]
    rules: tuple[Mapping[str, str], ...] = ()
    scale: Mapping[str, str] | None = None
    """Where `/scale` finds replicas and selector, where the kind has it."""

    def definition(self) -> Json:
        """The CustomResourceDefinition.

        Raises:
            SchemaError: a field has no description, no bound, or a type that the API does not have.
        """
        name = self.model.__name__
        plural = f"{name.lower()}s"
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": name,
                    "listKind": f"{name}List",
                    "plural": plural,
                    "singular": name.lower(),
                    "shortNames": [self.short_name],
                    "categories": ["mtp"],
                },
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}, **({"scale": dict(self.scale)} if self.scale else {})},
                        "additionalPrinterColumns": [column.to_wire() for column in self.columns],
                        "schema": {"openAPIV3Schema": self._object_schema()},
                    }
                ],
            },
        }

    def _object_schema(self) -> Json:
        return {
            "type": "object",
            "description": self.model.__doc__,
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
                "spec": structural_schema(self.spec, with_defaults=True),
                # Until the operator has seen the object, kstatus and those who build on it must not take it for ready.
                "status": structural_schema(self.status, with_defaults=False) | {"default": {"observedGeneration": -1}},
            },
            **validated(*self.rules),
        }


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


_AGE: Final = Column("AGE", "date", ".metadata.creationTimestamp")

_NAME_RULE: Final = rule(
    # The API server itself refuses what is no DNS name in lower case.
    f"self.metadata.name.size() <= {NAME_LIMIT} && !self.metadata.name.matches('^[0-9]|[.]')",
    f"must have at most {NAME_LIMIT} characters, start with a letter and contain no '.': names of runs, Jobs and pods "
    "are made from it, and those have at most 63 characters; allowed are lower-case letters, digits and '-'",
    field_path=".metadata.name",
)

KINDS: Final = (
    Kind(
        MTPModel,
        MTPModelSpec,
        MTPModelStatus,
        short_name="mtpm",
        columns=(
            Column("STATUS", "string", ".status.summary"),
            Column("N_SPEC", "integer", ".status.nSpec"),
            Column("SPEEDUP", "string", ".status.speedup"),
            Column("ACC_LEN", "string", ".status.acceptanceLength"),
            Column("TOK/S", "integer", ".status.outputTokensPerSecond"),
            Column("READY", "string", _condition("Ready", "status")),
            _AGE,
            Column("GPU", "string", ".status.gpuProduct", wide=True),
            Column("ENGINE", "string", ".spec.engine.type", wide=True),
            Column("URL", "string", ".status.url", wide=True),
        ),
        rules=(_NAME_RULE,),
        scale={
            "specReplicasPath": ".spec.serving.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
    Kind(
        MTPTuningRun,
        MTPTuningRunSpec,
        MTPTuningRunStatus,
        short_name="mtpr",
        columns=(
            Column("MODEL", "string", ".spec.modelName"),
            Column("VERDICT", "string", ".status.verdict.type"),
            Column("N_SPEC", "integer", ".status.verdict.nSpec"),
            Column("SPEEDUP", "string", ".status.verdict.speedup"),
            Column("TRIALS", "integer", ".status.counters.measured"),
            _AGE,
            Column("REASON", "string", _condition("Ready", "reason"), wide=True),
        ),
    ),
)


_HEADER: Final = "# Generated by `make generate` from operator/mtp_operator/api; do not edit.\n"


def chart_template(definition: Json, chart: str, values: str, guard: str = "") -> str:
    """The definition as a template of a Helm chart, so that `helm upgrade` upgrades it.

    Args:
        definition: the CustomResourceDefinition.
        chart: the chart's name, by which its named templates begin.
        values: where the chart has its values about CRDs.
        guard: the template's condition; empty where it is always rendered.
    """
    name = definition["metadata"]["name"]
    metadata = (
        f"metadata:\n  name: {name}\n"
        f'  labels: {{{{- include "{chart}.labels" . | nindent 4 }}}}\n'
        f"  {{{{- if {values}.keep }}}}\n"
        "  annotations:\n    helm.sh/resource-policy: keep\n"
        "  {{- end }}\n"
    )
    body = _to_yaml(definition).replace(f"metadata:\n  name: {name}\n", metadata, 1)
    return f"{_HEADER}{{{{- if {guard} }}}}\n{body}{{{{- end }}}}\n" if guard else f"{_HEADER}{body}"


def _to_yaml(document: Json) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def generated_files() -> dict[str, str]:
    """Path, relative to the repository's root -> content.

    Raises:
        SchemaError: a field has no description, no bound, or a type that the API does not have.
    """
    definitions = [kind.definition() for kind in KINDS]
    files = {
        "docs/reasons.md": reasons_page(GROUPS),
        **{f"docs/reference/{name}": text for name, text in api_reference(definitions).items()},
        "docs/reference/trial-result.schema.json": result_schema(),
    }
    for definition in definitions:
        properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        properties["spec"] = spelled_out(properties["spec"])
        file_name = f"{GROUP}_{definition['spec']['names']['plural']}.yaml"
        files[f"crds/{file_name}"] = _HEADER + _to_yaml(definition)
        files[f"charts/mtp-operator/templates/crds/{file_name}"] = chart_template(
            definition, "mtp-operator", values=".Values.crds", guard=".Values.crds.enabled"
        )
        files[f"charts/mtp-operator-crds/templates/{file_name}"] = chart_template(
            definition, "mtp-operator-crds", values=".Values"
        )
    return files


def main(
    output: Annotated[Path, typer.Option(help="The repository's root.", exists=True, file_okay=False)] = Path(),
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file is not what is written.")
    ] = False,
) -> None:
    """Write the CRDs, the chart's copies of them, the references and the schema of a trial's result."""
    files = {output / path: text for path, text in generated_files().items()}
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check:
        for path in stale:
            typer.echo(f"{path} is not what the models in operator/mtp_operator/api say: run `make generate`", err=True)
        raise typer.Exit(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
