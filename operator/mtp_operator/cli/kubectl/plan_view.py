"""`kubectl mtp plan` as text."""

from rich.console import Group, RenderableType
from rich.text import Text

from .documents import PlanDocument, PlannedModel
from .text import heading, labelled


def plan_view(document: PlanDocument) -> RenderableType:
    """One section for each model."""
    return Group(*(_model(one) for one in document.models))


def _model(one: PlannedModel) -> RenderableType:
    rows = (
        ("Weights", one.weights),
        ("GPUs", one.gpus),
        ("Tuning", one.tuning),
        ("Expected", one.expectation),
        ("Servers", one.servers),
    )
    parts: list[RenderableType] = [heading(f"MTPModel {one.namespace}/{one.name}"), labelled(rows)]
    if one.objects:
        parts += [
            Text("\nObjects to create", style="bold"),
            labelled((each.object_kind, each.name) for each in one.objects),
        ]
    return Group(*parts)
