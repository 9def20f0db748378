"""From a run to what a report shows of it. Only this module knows where a run keeps that."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, geometric_mean
from typing import Any, Final

from mtp_operator.api.conditions import ConditionStatus, ConditionType
from mtp_operator.api.run import (
    MTPTuningRun,
    MTPTuningRunSpec,
    TrialLatency,
    TrialLevel,
    TrialOutput,
    TrialState,
    TrialStatus,
)
from mtp_operator.api.trial_documents import OutputStatus
from mtp_operator.engines import BESIDE_THE_BENCH, engine_for
from mtp_operator.measures.quantities import LatencyConstraint
from mtp_operator.reconcile.trial_conversion import acceptance_length, counts, tuner_arms, tuner_settings
from mtp_operator.resources.engine_pod import engine_arguments
from mtp_operator.resources.trial_job import served_name
from mtp_operator.tuner.beliefs import noise_between_boots, speedup
from mtp_operator.tuner.constraints import Outcome, quantile_within
from mtp_operator.tuner.evidence import Evidence
from mtp_operator.tuner.tuner_records import Arm
from mtp_operator.tuner.verdict import best_per_level

from .data import (
    RUNNING,
    Acceptance,
    Accepted,
    Candidate,
    Command,
    Cost,
    Curve,
    Fact,
    Interval,
    Latency,
    Level,
    Limit,
    LimitOutcome,
    Noise,
    Output,
    Point,
    ReportData,
    Trial,
    Verdict,
)

BASELINE: Final = 0
"""The n_spec that a speed-up is over: no speculation."""

_RATIO_DECIMALS: Final = 3
"""Of a speed-up: as many as the run's verdict has."""

_SHARE_DECIMALS: Final = 4

_HIDDEN: Final = "(not shown)"
"""Stands for the value of an environment variable: reports leave the cluster."""


def report_data(run: MTPTuningRun) -> ReportData:
    """What there is to show of a run."""
    verdict = _verdict(run)
    evidence, no_curve = _evidence(run)
    return ReportData(
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        model_name=run.spec.model_name,
        verdict=verdict,
        candidates=tuple(_candidates(run, evidence)),
        curves=_curves(evidence) if evidence else (),
        no_curve=no_curve,
        noise=_noise(evidence) if evidence else None,
        trials=tuple(_trial(trial) for trial in run.status.trials),
        acceptance=tuple(_acceptance(run.status.trials)),
        limits=tuple(_limits(evidence)) if evidence else (),
        cost=_cost(run),
        provenance=tuple(_provenance(run)),
        commands=tuple(_command(run, n_spec) for n_spec in sorted({BASELINE, verdict.n_spec or BASELINE})),
        settings=_settings(run.spec),
    )


def _verdict(run: MTPTuningRun) -> Verdict:
    verdict = run.status.verdict
    if verdict is None:
        return Verdict(type=RUNNING, message=_progress(run))
    ends = (verdict.speedup, verdict.speedup_low, verdict.speedup_high)
    estimate, low, high = (float(end) if end is not None else math.nan for end in ends)
    return Verdict(
        type=verdict.type.value,
        n_spec=verdict.n_spec,
        speedup=None if None in ends else Interval(estimate=estimate, low=low, high=high),
        reason=verdict.reason,
        message=verdict.message,
    )


def _progress(run: MTPTuningRun) -> str:
    holding = {one.type: one.message for one in run.status.conditions if one.status is ConditionStatus.TRUE}
    return holding.get(ConditionType.STALLED) or holding.get(ConditionType.RECONCILING) or ""


def _evidence(run: MTPTuningRun) -> tuple[Evidence | None, str | None]:
    """What the tuner makes of the trials, or why it can make nothing of them."""
    try:
        arms = tuner_arms(run.status.trials, run.spec.objective, run.spec.speculation.method)
        evidence = Evidence.of(arms, tuner_settings(run.spec, run.status.trials, run.status.counters))
    except ValueError as error:
        return None, f"The trials do not fit together: {error}"
    if BASELINE not in evidence.measured:
        return None, f"n_spec={BASELINE}, the baseline, has not been measured."
    return evidence, None


def _curves(evidence: Evidence) -> tuple[Curve, ...]:
    levels = [level.concurrency for level in evidence.settings.levels]
    best = {one.concurrency: one.n_spec for one in best_per_level(evidence)}
    if len(levels) == 1:
        return (_curve(evidence, levels[0], best[levels[0]]),)
    each = (_curve(evidence.only_level(level), level, best[level]) for level in levels)
    return (_curve(evidence, None, None), *each)


def _curve(evidence: Evidence, concurrency: int | None, best: int | None) -> Curve:
    return Curve(concurrency=concurrency, best_n_spec=best, points=tuple(_points(evidence)))


def _points(evidence: Evidence) -> Iterator[Point]:
    posterior = evidence.posterior()
    baseline = fmean(evidence.log_speed(arm) for arm in evidence.measured[BASELINE])
    for index, n_spec in enumerate(evidence.grid):
        believed = speedup(posterior, index)
        yield Point(
            n_spec=n_spec,
            believed=Interval(estimate=_ratio(believed.estimate), low=_ratio(believed.low), high=_ratio(believed.high)),
            trials=tuple(
                _ratio(math.exp(evidence.log_speed(arm) - baseline)) for arm in evidence.measured.get(n_spec, ())
            ),
        )


def _noise(evidence: Evidence) -> Noise:
    return Noise(
        share=round(noise_between_boots(evidence.posterior()), _SHARE_DECIMALS),
        is_measured=any(len(arms) > 1 for arms in evidence.measured.values()),
    )


def _candidates(run: MTPTuningRun, evidence: Evidence | None) -> Iterator[Candidate]:
    points = {point.n_spec: point for point in _points(evidence)} if evidence else {}
    trials = [trial for trial in run.status.trials if counts(trial)]
    for n_spec in sorted({trial.n_spec for trial in trials}):
        ours = [trial for trial in trials if trial.n_spec == n_spec]
        measured = [trial for trial in ours if trial.state is TrialState.MEASURED]
        speeds = [float(trial.output_tokens_per_second) for trial in measured if trial.output_tokens_per_second]
        length = acceptance_length(measured)
        has_limits = evidence is not None and n_spec in evidence.measured and evidence.settings.constraints
        point = points.get(n_spec) if measured and n_spec != BASELINE else None
        yield Candidate(
            n_spec=n_spec,
            trials=len(measured),
            output_tokens_per_second=round(fmean(speeds), _RATIO_DECIMALS) if speeds else None,
            measured=_ratio(geometric_mean(point.trials)) if point and point.trials else None,
            speedup=point.believed if point else None,
            acceptance_length=float(length) if length else None,
            limits=evidence.constraints(n_spec).value if evidence and has_limits else None,
            output=_output_of(n_spec, ours),
            failed=next((trial.reason or "Failed" for trial in ours if trial.state is TrialState.FAILED), None),
        )


def _output_of(n_spec: int, trials: Iterable[TrialStatus]) -> str | None:
    checks = [trial.output_check.status for trial in trials if trial.output_check is not None]
    if not checks:
        return None
    if OutputStatus.UNVERIFIED in checks:
        return OutputStatus.UNVERIFIED.value
    against = next((trial.reason for trial in trials if trial.output_check is not None and trial.reason), None)
    return against or ("Control" if n_spec == BASELINE else OutputStatus.SCORED.value)


def _limits(evidence: Evidence) -> Iterator[Limit]:
    for constraint in evidence.settings.constraints:
        yield Limit(
            metric=constraint.metric,
            concurrency=constraint.concurrency,
            max_milliseconds=constraint.max_milliseconds,
            outcomes=tuple(_limit_outcome(constraint, n, arms) for n, arms in evidence.measured.items()),
        )


def _limit_outcome(constraint: LatencyConstraint, n_spec: int, arms: Sequence[Arm]) -> LimitOutcome:
    counted = [
        count
        for arm in arms
        for level in arm.levels
        for count in level.latencies
        if level.concurrency == constraint.concurrency and count.is_of(constraint)
    ]
    requests, exceeding = sum(one.requests for one in counted), sum(one.exceeding for one in counted)
    outcome = quantile_within(requests, exceeding, constraint.quantile) if counted else Outcome.UNKNOWN
    return LimitOutcome(n_spec=n_spec, requests=requests, exceeding=exceeding, outcome=outcome.value)


def _trial(trial: TrialStatus) -> Trial:
    return Trial(
        name=trial.job_name,
        n_spec=trial.n_spec,
        state=trial.state.value,
        rationale=trial.rationale,
        reason=trial.reason,
        message=trial.message,
        warnings=trial.warnings,
        node=trial.node,
        started_at=trial.started_at,
        gpu_seconds=trial.gpu_seconds,
        adopted_from=trial.adopted_from,
        output_tokens_per_second=_number(trial.output_tokens_per_second),
        acceptance_length=_number(trial.acceptance_length),
        levels=tuple(_level(level) for level in trial.levels),
        output=_output(trial.output_check) if trial.output_check else None,
    )


def _level(level: TrialLevel) -> Level:
    return Level(
        concurrency=level.concurrency,
        output_tokens_per_second=float(level.output_tokens_per_second),
        windows=tuple(float(window) for window in level.windows),
        requests=level.requests,
        failed_requests=level.failed_requests,
        ended_by_eos=level.ended_by_eos,
        output_tokens=level.output_tokens,
        acceptance=tuple(_share(count, level.drafts) for count in level.accepted_per_position if level.drafts),
        categories={one.category: float(one.output_tokens_per_second) for one in level.categories},
        time_to_first_token=_latency(level.time_to_first_token),
        time_per_output_token=_latency(level.time_per_output_token),
        request_latency=_latency(level.request_latency),
        unmeasurable=level.unmeasurable,
    )


def _latency(latency: TrialLatency | None) -> Latency | None:
    return None if latency is None else Latency(**{name: float(value) for name, value in dict(latency).items()})


def _output(check: TrialOutput) -> Output:
    return Output(
        status=check.status.value,
        positions=check.positions,
        violations=check.violations,
        large_gaps=check.large_gaps,
        tolerance=_number(check.tolerance),
        worst_gap=_number(check.worst_gap),
        detection_limit=_number(check.detection_limit),
        texts=check.texts,
        altered_texts=check.altered_texts,
        json_schema=check.json_schema.value,
        tool_call=check.tool_call.value,
        first_divergence=check.first_divergence,
        message=check.message,
    )


def _acceptance(trials: Iterable[TrialStatus]) -> Iterator[Acceptance]:
    """Acceptance at each level that has counters, over the trials that were measured."""
    levels = [level for trial in trials if trial.state is TrialState.MEASURED for level in trial.levels]
    for concurrency in sorted({level.concurrency for level in levels}):
        counted = [
            (level.drafts, level.accepted_per_position)
            for level in levels
            if level.concurrency == concurrency and level.drafts and level.accepted_per_position
        ]
        if not counted:
            continue
        yield Acceptance(
            concurrency=concurrency,
            positions=tuple(
                _accepted(index, [(drafts, accepted[index]) for drafts, accepted in counted if index < len(accepted)])
                for index in range(max(len(accepted) for _, accepted in counted))
            ),
        )


def _accepted(index: int, counted: Sequence[tuple[int, int]]) -> Accepted:
    return Accepted(
        position=index + 1,
        share=_share(sum(accepted for _, accepted in counted), sum(drafts for drafts, _ in counted)),
        trials=tuple(_share(accepted, drafts) for drafts, accepted in counted),
    )


def _cost(run: MTPTuningRun) -> Cost:
    status, budget = run.status, run.spec.budget
    taken = [trial.gpu_seconds for trial in status.trials if trial.state is TrialState.MEASURED and trial.gpu_seconds]
    return Cost(
        measured=status.counters.measured,
        failed=status.counters.failed,
        lost=status.counters.lost,
        adopted=sum(trial.adopted_from is not None for trial in status.trials),
        max_trials=budget.max_trials,
        gpu_seconds=status.counters.gpu_seconds,
        max_gpu_minutes=budget.max_gpu_minutes,
        sweep_gpu_seconds=round(fmean(taken) * (run.spec.max_n_spec + 1)) if taken else None,
        started_at=status.started_at,
        completed_at=status.completed_at,
    )


def _provenance(run: MTPTuningRun) -> Iterator[Fact]:
    spec, observed = run.spec, run.status.observed
    sampling, source = spec.workload.sampling, spec.workload.prompt_source
    levels = ", ".join(f"{level.concurrency} (weight {level.weight})" for level in spec.workload.levels)
    built_in = ", ".join(category.value for category in source.built_in or ())
    drafter = spec.speculation.drafter
    facts = {
        "Model": spec.model.uri,
        "Revision": spec.model.revision,
        "Engine": spec.engine.type.value,
        "Engine image": spec.engine.image,
        "Engine image as it ran": observed and observed.engine_image_id,
        "Bench image": spec.bench_image,
        "GPU": observed and f"{spec.accelerator.count} x {observed.gpu_product}",
        "Driver": observed and observed.driver_version,
        "Node": observed and observed.node,
        "Speculation": spec.speculation.method.value,
        "Drafter": drafter and drafter.uri,
        "Largest n_spec": str(spec.max_n_spec),
        "Concurrency": levels,
        "Prompts": f"built-in: {built_in}" if built_in else "own",
        "Prompts, sha256": observed and observed.prompts_sha256,
        "Sampling": sampling.mode.value,
        "Output tokens per request": str(spec.workload.output_tokens),
        "Objective": spec.objective.maximize.value,
        "Request hash": spec.settings_hash,
        "Fingerprint": run.status.fingerprint,
    }
    return (Fact(label=label, value=value) for label, value in facts.items() if value)


def _command(run: MTPTuningRun, n_spec: int) -> Command:
    arguments = engine_arguments(
        run.spec, n_spec, served_name(run), engine_for(run.spec.engine.type, place=BESIDE_THE_BENCH)
    )
    return Command(n_spec=n_spec, arguments=arguments)


def _settings(spec: MTPTuningRunSpec) -> Mapping[str, Any]:
    settings = spec.to_wire()
    for variable in settings["engine"].get("env", []):
        variable["value"] = _HIDDEN
    return settings


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _ratio(value: float) -> float:
    return round(value, _RATIO_DECIMALS)


def _share(part: int, whole: int) -> float:
    return round(part / whole, _SHARE_DECIMALS) if whole else 0.0
