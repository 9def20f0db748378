"""Why a run chose what it chose, and what a reason means."""

from collections.abc import Iterator
from typing import Final

from mtp_operator.api.model import MTPModel
from mtp_operator.api.reasons import REASONS
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.report.data import RUNNING, ReportData
from mtp_operator.report.extract import report_data
from mtp_operator.report.words import headline

from .documents import ExplainDocument, Prediction, ReasonDocument
from .status_document import candidate_lines, predictions, trial_lines


def reason_document(name: str) -> ReasonDocument | None:
    """What the registry says of a reason, whatever its case; None where it has none of that name."""
    known = {one.name.lower(): one for one in REASONS.values()}
    found = known.get(name.lower())
    if found is None:
        return None
    return ReasonDocument(
        reason=found.name,
        where=tuple(one.value for one in found.where),
        who=found.who.value,
        meaning=found.meaning,
        action=found.action,
        example=found.example,
    )


def explain_document(model: MTPModel, run: MTPTuningRun, n_spec: int | None = None) -> ExplainDocument:
    """Why the run came to what it says.

    Args:
        model: the model.
        run: its run.
        n_spec: explain this one alone; None: all.
    """
    data = report_data(run)

    def is_asked(one: int) -> bool:
        return n_spec is None or one == n_spec

    return ExplainDocument(
        name=model.metadata.name,
        run=data.name,
        verdict=data.verdict.type,
        headline=headline(data.verdict, data.cost) if n_spec is None else _of_one(data, n_spec),
        answer=data.verdict.message,
        trials=tuple(one for one in trial_lines(data) if is_asked(one.n_spec)),
        predictions=tuple(one for one in predictions(data) if is_asked(one.n_spec)),
        candidates=tuple(one for one in candidate_lines(data) if is_asked(one.n_spec)),
        limits=tuple(one for limit in data.limits for one in limit.outcomes if is_asked(one.n_spec)),
        changes=tuple(_changes(model, data, predictions(data))),
    )


_NOT_MEASURED: Final = {
    RUNNING: "has not been measured yet",
    "Inconclusive": "was not measured within the budget",
    "Selected": "was not measured: a trial of it was not expected to be worth its cost",
    "SpeculationOff": "was not measured: a trial of it was not expected to be worth its cost",
}


def _of_one(data: ReportData, n_spec: int) -> str:
    if data.verdict.n_spec == n_spec:
        return f"n_spec={n_spec} is the choice of {data.name}"
    if any(one.n_spec == n_spec and one.trials for one in data.candidates):
        return f"n_spec={n_spec} was measured, and is not the choice of {data.name}"
    if any(one.n_spec == n_spec for one in data.candidates):
        return f"n_spec={n_spec} failed in {data.name}"
    if any(one.n_spec == n_spec for curve in data.curves for one in curve.points):
        return f"n_spec={n_spec} {_NOT_MEASURED.get(data.verdict.type, 'was not measured')} (MTPTuningRun {data.name})"
    return f"n_spec={n_spec} was not considered in {data.name}"


def _changes(model: MTPModel, data: ReportData, expected: tuple[Prediction, ...]) -> Iterator[str]:
    """What would change the answer, the cheapest first."""
    budget = model.spec.tuning.budget
    match data.verdict.type:
        case kind if kind == RUNNING:
            yield "The run has no verdict yet: its next trials may change everything."
            return
        case "Inconclusive":
            yield (
                f"More trials: raise spec.tuning.budget.maxTrials above {budget.max_trials}. "
                "Finished trials are kept; only the new ones take GPU time."
            )
        case "Failed":
            yield "Fix what the failed trials say, then run `kubectl mtp retune NAME`."
            return
    if data.noise is not None and not data.noise.is_measured:
        yield "A second trial of the same n_spec: it would measure the noise, which is assumed so far."
    likely = [one.n_spec for one in expected if _may_win(one, data)]
    if likely and data.verdict.type != "Inconclusive":
        listed = ", ".join(f"n_spec={one}" for one in likely)
        yield f"A trial of {listed}: its interval reaches above the choice, but the expected gain is below the cost."
    levels = sorted({level.concurrency for trial in data.trials for level in trial.levels})
    yield (
        f"Another load: measured was concurrency {', '.join(map(str, levels))} "
        "(spec.tuning.workload.levels). Under more load a smaller n_spec is usually better."
    )
    yield "Another engine version, GPU, driver or drafter: each is measured by a new run."


def _may_win(one: Prediction, data: ReportData) -> bool:
    chosen = data.verdict.speedup.estimate if data.verdict.speedup is not None else 1.0
    return one.speedup.high > chosen
