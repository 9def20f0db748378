"""What `kubectl mtp` prints, kept in files at 80 and 120 columns so that every change of a word or a figure is seen.

python -m tests.unit.kubectl.golden     (part of `make generate`)
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from mtp_operator.api.base import Schema
from mtp_operator.cli.kubectl.compare_document import compare_document
from mtp_operator.cli.kubectl.compare_view import compare_view
from mtp_operator.cli.kubectl.diagnosis import checks
from mtp_operator.cli.kubectl.doctor_view import doctor_view
from mtp_operator.cli.kubectl.documents import DoctorDocument, PlanDocument
from mtp_operator.cli.kubectl.explain_document import explain_document, reason_document
from mtp_operator.cli.kubectl.explain_view import explain_view, reason_view
from mtp_operator.cli.kubectl.plan_document import planned_model
from mtp_operator.cli.kubectl.plan_view import plan_view
from mtp_operator.cli.kubectl.status_document import run_to_show, status_document
from mtp_operator.cli.kubectl.status_view import status_view
from mtp_operator.cli.kubectl.watch_view import watch_lines, watch_view
from mtp_operator.cli.render import model_of as model_in
from mtp_operator.report.extract import report_data
from tests.unit.reconcile.givens import SPEEDS, model_body
from tests.unit.reconcile.world import World

from .clusters import BROKEN, GPU_NODES, HEALTHY, PODS
from .states import STATES, model_of, runs_of

GOLDEN = Path(__file__).with_name("golden")
WIDTHS = (80, 120)


@functools.cache
def world_of(state: str) -> World:
    """A model in that state; whoever looks does not change it."""
    return STATES[state]()


@functools.cache
def upgraded() -> World:
    """The tuned model with a newer engine, which is faster."""
    engine = {"type": "VLLM", "image": "vllm:2", "vllm": {"maxNumSeqs": 1}}
    world = World(model_body(engine=engine))
    world.finish({n_spec: speed * 1.08 for n_spec, speed in SPEEDS.items()})
    return world


def documents() -> Iterator[tuple[str, Schema]]:
    """Everything that is printed, as `-o json` has it, by name."""
    for state in STATES:
        model, runs = model_of(world_of(state)), runs_of(world_of(state))
        yield f"{state} status", status_document(model, runs)
        run = run_to_show(model, runs)
        if run is not None:
            yield f"{state} explain", explain_document(model, run)
            yield f"{state} explain --n 4", explain_document(model, run, 4)
    yield "compare", compare_document(*(report_data(runs_of(world)[0]) for world in (world_of("tuned"), upgraded())))
    reason = reason_document("NoNodeFits")
    assert reason is not None
    yield "reason", reason
    yield "doctor healthy", DoctorDocument(namespace="team", checks=checks(HEALTHY))
    yield "doctor broken", DoctorDocument(namespace="team", checks=checks(BROKEN))
    yield "plan", plan()


def manifests() -> tuple[dict[str, Any], ...]:
    """A new model; the tuned one as it is, with another budget, with another engine setting, and pinned."""

    def stated(name: str = "gemma", **spec: Any) -> dict[str, Any]:
        return model_body(name, serving={"replicas": 1}, **spec)

    return (
        stated("new"),
        stated(),
        stated(tuning={"maxNSpec": 6, "budget": {"maxTrials": 30}}),
        stated(engine={"type": "VLLM", "vllm": {"maxNumSeqs": 1, "maxModelLen": 8192}}),
        stated(speculation={"method": "MTP", "nSpec": 4}),
    )


def plan() -> PlanDocument:
    """What applying these manifests would do."""
    world = world_of("tuned")
    live, runs = model_of(world), runs_of(world)
    models = (model_in(one, "team") for one in manifests())
    return PlanDocument(
        models=tuple(
            planned_model(one, live if one.metadata.name == "gemma" else None, runs, GPU_NODES, PODS) for one in models
        )
    )


def files() -> dict[str, str]:
    """File name -> content."""
    found = {}
    for width in WIDTHS:
        for state in STATES:
            found[f"{state}-{width}.txt"] = "".join(_state(state, width))
        by_name = dict(documents())
        views: Mapping[str, RenderableType] = {
            "compare": compare_view(by_name["compare"]),  # type: ignore[arg-type]
            "explain-reason": reason_view(by_name["reason"]),  # type: ignore[arg-type]
            "doctor-healthy": doctor_view(by_name["doctor healthy"]),  # type: ignore[arg-type]
            "doctor-broken": doctor_view(by_name["doctor broken"]),  # type: ignore[arg-type]
            "plan": plan_view(by_name["plan"]),  # type: ignore[arg-type]
        }
        found |= {f"{name}-{width}.txt": printed(view, width) for name, view in views.items()}
    return found


def _state(state: str, width: int) -> Iterator[str]:
    world = world_of(state)
    model, runs = model_of(world), runs_of(world)
    name = model.metadata.name
    document = status_document(model, runs)
    yield f"$ kubectl mtp status {name}\n{printed(status_view(document, width), width)}"
    yield f"\n$ kubectl mtp watch {name}\n{printed(watch_view(document, world.now, width), width)}"
    lines = "\n".join(watch_lines(None, document))
    yield f"\n$ kubectl mtp watch {name} | cat\n{lines}\n"
    run = run_to_show(model, runs)
    if run is not None:
        yield f"\n$ kubectl mtp explain {name}\n{printed(explain_view(explain_document(model, run)), width)}"


def printed(view: RenderableType, width: int) -> str:
    """What a terminal of that width shows, without colors."""
    output = io.StringIO()
    Console(file=output, width=width, highlight=False, markup=False, color_system=None).print(view)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def main() -> None:
    """Rewrites every file."""
    GOLDEN.mkdir(exist_ok=True)
    for name, content in files().items():
        (GOLDEN / name).write_text(content)


if __name__ == "__main__":
    main()
