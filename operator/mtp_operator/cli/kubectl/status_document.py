"""From a model and its runs to what `status` and `watch` show."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Final

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType
from mtp_operator.api.model import MTPModel
from mtp_operator.api.reasons import REASONS, Who
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.measures.digits import duration
from mtp_operator.report.data import RUNNING, Candidate, Fact, ReportData, Trial, TrialSummary
from mtp_operator.report.extract import report_data
from mtp_operator.report.words import minutes, small_percent, speedup

from .documents import (
    CandidateLine,
    ConditionLine,
    Effort,
    LevelLine,
    Prediction,
    RunLine,
    StatusDocument,
    WeightsLine,
)
from .text import counted

_GOOD_IF_FALSE: Final = frozenset({ConditionType.RECONCILING.value, ConditionType.STALLED.value})
_EVIDENCE: Final = ("GPU", "Driver", "Node")
"""Facts of a run that belong to the model's header."""


def run_to_show(model: MTPModel, runs: Sequence[MTPTuningRun]) -> MTPTuningRun | None:
    """The run under way, else the one whose choice is in use."""
    by_name = {run.metadata.name: run for run in runs}
    for reference in (model.status.active_tuning_run_ref, model.status.tuning_run_ref):
        if reference is not None and reference.name in by_name:
            return by_name[reference.name]
    return None


def status_document(model: MTPModel, runs: Sequence[MTPTuningRun]) -> StatusDocument:
    """What there is to see of a model.

    Args:
        model: the model.
        runs: those of its namespace.
    """
    run = run_to_show(model, runs)
    data = report_data(run) if run is not None else None
    status = model.status
    return StatusDocument(
        name=model.metadata.name,
        namespace=model.metadata.namespace,
        headline=_headline(model, data),
        summary=_summary(model),
        n_spec=status.n_spec,
        served_n_spec=status.served_n_spec,
        replicas=model.spec.serving.replicas,
        facts=tuple(_facts(model, data)),
        weights=_weights(model),
        run=run_line(data) if data is not None else None,
        candidates=candidate_lines(data),
        predictions=predictions(data),
        trials=trial_lines(data),
        notes=tuple(_notes(model, data)),
        conditions=tuple(_condition(one) for one in status.conditions),
    )


def _summary(model: MTPModel) -> str:
    return model.status.summary or "Not seen by the operator yet"


def _headline(model: MTPModel, data: ReportData | None) -> str:
    name, status = model.metadata.name, model.status
    word, _, detail = _summary(model).partition(": ")
    serves = f"serves n_spec={status.served_n_spec}" if status.served_n_spec is not None else "serves nothing"
    failed = _reason(model, ConditionType.SERVING)
    if failed == "RolledBack":
        return f"{name} was rolled back and {serves}"
    if word == "Blocked":
        return f"{name} is blocked: {detail} ({serves})"
    if word == "Waiting":
        return f"{name} is waiting: {detail} ({serves})"
    if word.startswith("Tuning") and data is not None and data.verdict.type == RUNNING:
        cost = data.cost
        trials = f"{cost.measured + cost.failed} of up to {cost.max_trials} trials"
        return f"{name} is being tuned: {trials}, {minutes(cost.gpu_seconds)} of GPU time ({serves})"
    if word.startswith("Fetching"):
        return f"{name} is downloading its weights ({serves})"
    match word:
        case "Serving" | "Tuned" if data is not None and data.verdict.speedup is not None:
            chosen = f"{serves}, which is" if word == "Serving" else f"has chosen n_spec={status.n_spec}, which is"
            return f"{name} {chosen} {speedup(data.verdict.speedup)} as fast as without speculation"
        case "Off":
            return f"{name} {serves}: speculation is off"
        case "Not proven" if data is not None and data.verdict.reason == "BudgetExhausted":
            return f"{name} {serves}: the budget ended the run before the choice was certain"
        case "Not proven":
            return f"{name} {serves}: no n_spec is proven to be faster"
        case "Pinned":
            return f"{name} {serves}: n_spec={model.spec.speculation.n_spec} is pinned by the spec"
    return f"{name} {serves}: {_summary(model)}"


def _facts(model: MTPModel, data: ReportData | None) -> Iterator[Fact]:
    spec, status = model.spec, model.status
    revision = f" @ {spec.model.revision[:12]}" if spec.model.revision else ""
    yield Fact(label="Model", value=f"{spec.model.uri}{revision}")
    image = status.resolved.engine_image if status.resolved else spec.engine.image
    yield Fact(label="Engine", value=image or spec.engine.type.value)
    if data is not None:
        known = {fact.label: fact.value for fact in data.provenance}
        yield from (Fact(label=label, value=known[label]) for label in _EVIDENCE if label in known)
        workload = f"{known.get('Prompts', '')}; concurrency {known.get('Concurrency', '')}"
        yield Fact(label="Workload", value=workload)
    if status.url:
        yield Fact(label="URL", value=status.url)
    yield Fact(label="Replicas", value=f"{status.replicas or 0} of {spec.serving.replicas}")
    if data is not None:
        took = f"{_trials(data)}, {minutes(data.cost.gpu_seconds)} of GPU time"
        yield Fact(label="Evidence", value=f"MTPTuningRun {data.name}: {took}")


def _trials(data: ReportData) -> str:
    cost = data.cost
    ended = f"{counted(cost.measured, 'trial')} measured"
    if cost.failed:
        ended += f", {cost.failed} failed"
    return f"{ended}, {cost.adopted} from earlier runs" if cost.adopted else ended


def _weights(model: MTPModel) -> WeightsLine | None:
    weights = model.status.weights
    if weights is None or not weights.total_bytes:
        return None
    return WeightsLine(
        fetched_bytes=weights.fetched_bytes or 0,
        total_bytes=weights.total_bytes,
        remaining_seconds=weights.remaining_seconds,
    )


def run_line(data: ReportData) -> RunLine:
    """The run in short."""
    cost, verdict = data.cost, data.verdict
    taken = [trial.gpu_seconds for trial in data.trials if trial.gpu_seconds and not trial.adopted_from]
    count = int(next((fact.value.partition(" ")[0] for fact in data.provenance if fact.label == "GPU"), "1"))
    return RunLine(
        name=data.name,
        verdict=verdict.type,
        message=verdict.message,
        n_spec=verdict.n_spec,
        speedup=verdict.speedup,
        effort=Effort(
            ended=cost.measured + cost.failed,
            max_trials=cost.max_trials,
            gpu_seconds=cost.gpu_seconds,
            max_gpu_minutes=cost.max_gpu_minutes,
            seconds_per_trial=round(fmean(taken) / max(count, 1), 1) if taken else None,
        ),
        noise=data.noise.share if data.noise else None,
        is_noise_measured=bool(data.noise and data.noise.is_measured),
    )


def candidate_lines(data: ReportData | None) -> tuple[CandidateLine, ...]:
    """One line for each n_spec that was tried, none where nothing was."""
    if data is None:
        return ()
    return tuple(_candidate(one, data) for one in data.candidates)


def _candidate(one: Candidate, data: ReportData) -> CandidateLine:
    ours = [trial for trial in data.trials if trial.n_spec == one.n_spec and trial.state == "Measured"]
    chosen = data.verdict.n_spec == one.n_spec
    return CandidateLine(**dict(one), is_chosen=chosen, acceptance=_acceptance(ours), levels=tuple(_levels(ours)))


def _levels(trials: Sequence[Trial]) -> Iterator[LevelLine]:
    levels = [level for trial in trials for level in trial.levels]
    for concurrency in sorted({level.concurrency for level in levels}):
        ours = [level for level in levels if level.concurrency == concurrency]
        first = [level.time_to_first_token.p95 for level in ours if level.time_to_first_token]
        each = [level.time_per_output_token.p50 for level in ours if level.time_per_output_token]
        yield LevelLine(
            concurrency=concurrency,
            output_tokens_per_second=round(fmean(level.output_tokens_per_second for level in ours), 3),
            time_to_first_token_p95_milliseconds=round(fmean(first), 3) if first else None,
            time_per_output_token_p50_milliseconds=round(fmean(each), 3) if each else None,
        )


def _acceptance(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Of the lowest concurrency, the mean over trials."""
    counted = [level for trial in trials for level in trial.levels if level.acceptance]
    if not counted:
        return ()
    lowest = min(level.concurrency for level in counted)
    ours = [level.acceptance for level in counted if level.concurrency == lowest]
    return tuple(round(fmean(shares), 4) for shares in zip(*ours, strict=False))


def predictions(data: ReportData | None) -> tuple[Prediction, ...]:
    """What is expected of each n_spec that was not measured, over all levels."""
    if data is None or not data.curves:
        return ()
    points = data.curves[0].points
    return tuple(Prediction(n_spec=one.n_spec, speedup=one.believed) for one in points if not one.trials)


def trial_lines(data: ReportData | None) -> tuple[TrialSummary, ...]:
    """The trials, in the order in which they were planned."""
    return tuple(one.summary() for one in data.trials) if data is not None else ()


def _notes(model: MTPModel, data: ReportData | None) -> Iterator[str]:
    if data is not None and data.noise is not None:
        noise = small_percent(data.noise.share)
        yield (
            f"Run-to-run noise is {noise}, measured: some n_spec has several trials."
            if data.noise.is_measured
            else f"Run-to-run noise of {noise} is assumed: no n_spec has several trials."
        )
    if data is not None and data.no_curve is not None and data.trials:
        yield data.no_curve
    # Where it does not hold, the condition says it.
    is_tuned = any(
        one.type == ConditionType.TUNED and one.status is ConditionStatus.TRUE for one in model.status.conditions
    )
    if data is not None and data.verdict.type != RUNNING and is_tuned:
        yield f"Verdict: {data.verdict.message}"
    warnings = sorted(
        {warning.partition(":")[0] for trial in data.trials for warning in trial.warnings} if data else ()
    )
    if warnings:
        yield f"Warnings of trials: {', '.join(warnings)} (kubectl mtp explain REASON)."
    weights = model.status.weights
    if weights is not None and weights.total_bytes and not weights.fetched:
        share = 100 * (weights.fetched_bytes or 0) // weights.total_bytes
        left = f", about {duration(weights.remaining_seconds)} left" if weights.remaining_seconds else ""
        yield f"Weights: {share}% of {weights.total_bytes / 1e9:.1f} GB{left}."


def _condition(one: Condition) -> ConditionLine:
    known = REASONS.get(one.reason)
    holds = (one.status is ConditionStatus.TRUE) != (one.type in _GOOD_IF_FALSE)
    needed = known is not None and known.who not in (Who.NOBODY, Who.OPERATOR)
    return ConditionLine(
        type=one.type,
        status=one.status.value,
        reason=one.reason,
        message=one.message,
        since=one.last_transition_time,
        action=known.action if known is not None and needed and not holds else None,
    )


def _reason(model: MTPModel, type_: ConditionType) -> str:
    return next((one.reason for one in model.status.conditions if one.type == type_), "")
