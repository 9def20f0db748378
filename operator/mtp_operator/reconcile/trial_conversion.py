"""Between the three forms of what was measured: a trial's result, a trial in a run's status, an arm of the tuner."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.conditions import MESSAGE_LIMIT, shorten
from mtp_operator.api.run import (
    MTPTuningRunSpec,
    ObservedByTrial,
    TrialCategory,
    TrialCounters,
    TrialLatency,
    TrialLevel,
    TrialOutput,
    TrialState,
    TrialStatus,
)
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import BLOCK_DRAFTERS, LatencyConstraint, Level, Maximize, Objective, SpeculationMethod
from mtp_operator.api.trial_documents import (
    SIMULATED,
    SLOWEST,
    Divergence,
    Latencies,
    LatencySummary,
    LevelResult,
    OutputCheck,
    TrialResult,
)
from mtp_operator.api.verdicts import BestAtLevel, Noise, NoiseSource, ParetoPoint, VerdictStatus, VerdictType
from mtp_operator.engines import engine_for
from mtp_operator.measures.averages import log_speed, typical
from mtp_operator.measures.quantities import LatencyCount
from mtp_operator.resources.placement import PRODUCT_LABEL
from mtp_operator.tuner import tuner_records as tuner

from .observed import Node, Pod

UNKNOWN = "Unknown"

DRIVER_LABEL = "nvidia.com/cuda.driver-version.full"


def measured_trial(trial: TrialStatus, result: TrialResult, levels: Sequence[Level]) -> TrialStatus:
    """The trial with what it measured."""
    return trial.model_copy(
        update={
            "state": TrialState.MEASURED,
            "reason": result.doubt.reason if result.doubt else None,
            "message": shorten(result.doubt.message) if result.doubt else None,
            "warnings": tuple(shorten(f"{one.reason}: {one.message}", 256) for one in result.warnings),
            "levels": tuple(_trial_level(level) for level in result.levels),
            "output_tokens_per_second": _objective(
                {level.concurrency: typical(level.windows) for level in result.levels}, levels
            ),
            "acceptance_length": _acceptance_length(result.levels),
            "output_check": _trial_output(result.output_check) if result.output_check else None,
        }
    )


def weighted_trial(trial: TrialStatus, levels: Sequence[Level]) -> TrialStatus:
    """The trial with its speed over all levels by these weights."""
    if not trial.levels:
        return trial
    speeds = {level.concurrency: float(level.output_tokens_per_second) for level in trial.levels}
    return trial.replace(output_tokens_per_second=_objective(speeds, levels))


def _objective(speeds: Mapping[int, float], levels: Sequence[Level]) -> str:
    return decimal(math.exp(log_speed(speeds, levels)))


def _trial_output(check: OutputCheck) -> TrialOutput:
    return TrialOutput(
        status=check.status,
        positions=check.positions,
        detection_limit=f"{3 / check.positions:.4f}" if check.positions else None,
        tolerance=decimal(check.tolerance_nats),
        violations=check.violations,
        large_gaps=check.large_gaps,
        worst_gap=decimal(check.worst_gap_nats),
        texts=check.texts,
        altered_texts=check.altered_texts,
        json_schema=check.json_schema,
        tool_call=check.tool_call,
        first_divergence=shorten(_divergence(check.first_divergence), 640) if check.first_divergence else None,
        message=shorten(check.message, 512) if check.message else None,
    )


def _divergence(first: Divergence) -> str:
    return f"after {first.context!r} comes {first.actual!r} instead of {first.expected!r} (position {first.position})"


def _trial_level(level: LevelResult) -> TrialLevel:
    reported = level.latencies or Latencies()
    return TrialLevel(
        concurrency=level.concurrency,
        output_tokens_per_second=decimal(typical(level.windows)),
        windows=tuple(decimal(window) for window in level.windows),
        interactivity=tuple(decimal(window) for window in level.interactivity or ()),
        limits=level.limits,
        requests=level.requests,
        failed_requests=level.failed_requests,
        ended_by_eos=level.ended_by_eos,
        output_tokens=level.output_tokens,
        drafts=level.drafts,
        draft_tokens=level.draft_tokens,
        accepted_tokens=level.accepted_tokens,
        accepted_per_position=level.accepted_per_position,
        categories=tuple(
            TrialCategory(category=name, output_tokens_per_second=decimal(speed))
            for name, speed in sorted(level.categories.items())
        ),
        time_to_first_token=_trial_latency(reported.time_to_first_token),
        time_per_output_token=_trial_latency(reported.time_per_output_token),
        request_latency=_trial_latency(reported.request_latency),
        unmeasurable=shorten(reported.unmeasurable, 256) if reported.unmeasurable else None,
        client_cpu_share=decimal(level.client_cpu_share) if level.client_cpu_share is not None else None,
    )


def _trial_latency(summary: LatencySummary | None) -> TrialLatency | None:
    return summary and TrialLatency(**{name: decimal(value) for name, value in summary._asdict().items()})


def acceptance_length(trials: Iterable[TrialStatus]) -> str | None:
    """Tokens per step over all drafts of these trials: 1 + accepted / drafts."""
    return _acceptance_length(level for trial in trials for level in trial.levels)


def _acceptance_length(levels: Iterable[LevelResult | TrialLevel]) -> str | None:
    counted = [(level.drafts, level.accepted_tokens) for level in levels if level.drafts]
    drafts = sum(drafts for drafts, _ in counted if drafts)
    accepted = sum(accepted for _, accepted in counted if accepted)
    return f"{1 + accepted / drafts:.2f}" if drafts else None


def of_another_trial(result: TrialResult, trial: TrialStatus, levels: Sequence[Level]) -> str | None:
    """Why this is not the result of the trial that was asked for; None where it is."""
    if (result.candidate, result.n_spec) != (trial.candidate, trial.n_spec):
        return (
            f"the result is of candidate {result.candidate} (n_spec={result.n_spec}); {trial.candidate} "
            f"(n_spec={trial.n_spec}) was asked for"
        )
    measured, requested = (sorted(one.concurrency for one in some) for some in (result.levels, levels))
    return None if measured == requested else f"the result is of concurrencies {measured}; {requested} were asked for"


def unmeasured(result: TrialResult, objective: Objective) -> str | None:
    """Why this result cannot say how good its n is, although its throughput is right; None where it can."""
    for level in result.levels:
        needs = ["objective.maximize"] if _lacks_interactivity(level, objective) else []
        needs += [
            f"objective.constraints[{constraint.metric.value}]"
            for constraint in objective.constraints
            if constraint.concurrency == level.concurrency
            and not any(count.is_of(constraint) for count in level.limits)
        ]
        if needs:
            why = (level.latencies and level.latencies.unmeasurable) or "token latencies could not be measured"
            return f"spec.tuning.{needs[0]} needs a latency that is not known at concurrency {level.concurrency}: {why}"
    return None


def unmeasured_level(level: TrialLevel, objective: Objective) -> str | None:
    """What the objective needs and this level of another run's trial has not got; None where nothing is missing."""
    if _lacks_interactivity(level, objective):
        return "objective.maximize"
    if len(_latency_counts(level, objective)) < sum(
        one.concurrency == level.concurrency for one in objective.constraints
    ):
        return "objective.constraints"
    return None


def _lacks_interactivity(level: LevelResult | TrialLevel, objective: Objective) -> bool:
    # What a run keeps of a trial is written out in decimals.
    return objective.maximize is Maximize.INTERACTIVITY and min(map(float, level.interactivity or (0,))) < SLOWEST


def tuner_arms(trials: Iterable[TrialStatus], objective: Objective, method: SpeculationMethod) -> tuple[tuner.Arm, ...]:
    """The trials that count, as the tuner knows them: ended, and not invalidated. It tells candidates apart by n.

    Args:
        trials: of the run.
        objective: what the tuner's windows are of, and which latencies it counts.
        method: what drafts. Where it drafts whole blocks, a position's acceptance is that of its own n alone, and the
            tuner, which predicts other n from it, does not get it.
    """
    carries = method not in BLOCK_DRAFTERS
    counted = sorted((trial for trial in trials if counts(trial)), key=lambda trial: (trial.n_spec, trial.number))
    boots: Counter[int] = Counter()
    answer = []
    for trial in counted:
        answer.append(
            tuner.Arm(
                n_spec=trial.n_spec,
                boot=boots[trial.n_spec],
                levels=tuple(_tuner_level(level, objective, carries=carries) for level in trial.levels)
                if trial.state is TrialState.MEASURED
                else (),
                failed=(trial.reason or "Failed") if trial.state is TrialState.FAILED else None,
                output_verified=trial.state is TrialState.MEASURED and trial.reason is None,
                node=trial.node,
                gpu_minutes=(trial.gpu_seconds or 0) / 60,
            )
        )
        boots[trial.n_spec] += 1
    return tuple(answer)


def counts(trial: TrialStatus) -> bool:
    """Whether the trial is evidence for a choice."""
    return trial.state in (TrialState.MEASURED, TrialState.FAILED)


def _tuner_level(level: TrialLevel, objective: Objective, *, carries: bool) -> tuner.LevelMeasurement:
    per_position = None
    if level.drafts and carries:
        drafts = level.drafts
        per_position = tuple(min(accepted / drafts, 1.0) for accepted in level.accepted_per_position)
    windows = level.interactivity if objective.maximize is Maximize.INTERACTIVITY else level.windows
    return tuner.LevelMeasurement(
        concurrency=level.concurrency,
        windows=tuple(float(window) for window in windows),
        acceptance=tuner.Acceptance(per_position=per_position) if per_position else None,
        latencies=_latency_counts(level, objective),
    )


def _latency_counts(level: TrialLevel, objective: Objective) -> tuple[LatencyCount, ...]:
    """How many requests of the level exceeded each limit of the objective, as far as that is known."""
    found = []
    for constraint in objective.constraints:
        if constraint.concurrency == level.concurrency:
            counted = next((one for one in level.limits if one.is_of(constraint)), None)
            found.append(counted or _estimated(level, constraint))
    return tuple(one for one in found if one is not None)


def _estimated(level: TrialLevel, constraint: LatencyConstraint) -> LatencyCount | None:
    """How many requests exceeded a limit that was not asked about when they were measured.

    The share is read between the quantiles that were kept, on straight lines; above the highest it is taken as the
    1 % that lie beyond that, so that no limit is met by more than was seen.
    """
    latency = {
        "TimeToFirstToken": level.time_to_first_token,
        "TimePerOutputToken": level.time_per_output_token,
        "RequestLatency": level.request_latency,
    }[constraint.metric.value[3:]]
    if latency is None:
        return None
    quantiles = (0.0, float(latency.p50), float(latency.p95), float(latency.p99))
    requests = max((limit.requests for limit in level.limits), default=level.requests - level.failed_requests)
    exceeding = math.ceil(requests * np.interp(constraint.max_milliseconds, quantiles, (1.0, 0.5, 0.05, 0.01)))
    return LatencyCount(
        metric=constraint.metric,
        max_milliseconds=constraint.max_milliseconds,
        requests=requests,
        exceeding=exceeding,
    )


def tuner_settings(spec: MTPTuningRunSpec, trials: Iterable[TrialStatus], counters: TrialCounters) -> tuner.Settings:
    """What the tuner may do: the budget, less what trials have spent that do not count, plus what others have spent."""
    trials = tuple(trials)
    discarded = sum(trial.state is TrialState.INVALIDATED and trial.adopted_from is None for trial in trials)
    adopted = sum(counts(trial) and trial.adopted_from is not None for trial in trials)
    counted_seconds = sum(trial.gpu_seconds or 0 for trial in trials if counts(trial))
    most_minutes = spec.budget.max_gpu_minutes
    elsewhere_minutes = (counters.gpu_seconds - counted_seconds) / 60
    return tuner.Settings(
        n_specs=tuple(range(spec.max_n_spec + 1)),
        first_n_spec=spec.first_n_spec if (spec.first_n_spec or 0) <= spec.max_n_spec else None,
        max_trials=max(spec.budget.max_trials - discarded, 0) + adopted,
        max_gpu_minutes=None if most_minutes is None else max(most_minutes - elsewhere_minutes, 0),
        levels=spec.workload.levels,
        constraints=spec.objective.constraints,
        slower_levels=spec.objective.slower_levels.value,
    )


def verdict_status(verdict: tuner.Verdict, trials: Iterable[TrialStatus], settings: EngineSettings) -> VerdictStatus:
    """The tuner's verdict as it stands in the run's status.

    Its sentence says first that nothing was measured on a GPU, where that is so. It continues with the candidates that
    cannot be chosen although measured, and with what the engine's clients give up for an n above 0.
    """
    trials = tuple(trials)
    engine, method = engine_for(settings.engine.type), settings.speculation.method
    speedup = verdict.speedup
    said = f"{SIMULATED}, no GPU was measured: {verdict.message}" if _is_simulated(trials) else verdict.message
    if verdict.type is tuner.VerdictType.FAILED:
        reported = next(
            (trial.message for trial in reversed(trials) if trial.n_spec == verdict.n_spec and counts(trial)), None
        )
        message = shorten(f"{said} {reported}" if reported else said)
        return VerdictStatus(type=VerdictType.FAILED, reason=verdict.reason or "Failed", message=message)
    doubted = {
        (trial.n_spec, trial.candidate): trial.reason
        for trial in trials
        if trial.state is TrialState.MEASURED and trial.n_spec and trial.reason
    }
    notes = ""
    if doubted:
        reported = ", ".join(f"{candidate} ({reason})" for (_, candidate), reason in sorted(doubted.items()))
        notes += f" Excluded from automatic selection: {reported}."
    if verdict.n_spec > 0 and engine.lost_while_speculating:
        notes += f" While n_spec > 0 the server refuses {', '.join(engine.lost_while_speculating)}."
    notes = shorten(notes, MESSAGE_LIMIT // 2)
    return VerdictStatus(
        type=VerdictType(verdict.type.value),
        candidate=candidate_id(method, verdict.n_spec),
        n_spec=verdict.n_spec,
        speedup=_ratio(speedup.estimate, speedup) if speedup else None,
        speedup_low=_ratio(speedup.low, speedup) if speedup else None,
        speedup_high=_ratio(speedup.high, speedup) if speedup else None,
        reason=verdict.reason or verdict.type.value,
        message=shorten(said, MESSAGE_LIMIT - len(notes)) + notes,
        noise=_noise(verdict),
        best_per_level=tuple(
            BestAtLevel(
                concurrency=one.concurrency,
                candidate=candidate_id(method, one.n_spec),
                n_spec=one.n_spec,
                speedup=f"{one.speedup:.2f}",
            )
            for one in verdict.best_n_spec_per_level
        ),
        pareto=tuple(
            ParetoPoint(
                candidate=candidate_id(method, one.n_spec),
                n_spec=one.n_spec,
                concurrency=one.concurrency,
                output_tokens_per_second=decimal(one.output_tokens_per_second),
                request_output_tokens_per_second=decimal(one.tokens_per_second_per_request),
            )
            for one in verdict.pareto
        ),
    )


def _noise(verdict: tuner.Verdict) -> Noise | None:
    if verdict.noise is None:
        return None
    return Noise(share=decimal(verdict.noise), source=NoiseSource(verdict.noise_between_boots.capitalize()))


def _ratio(value: float, within: tuner.Speedup) -> str:
    """The value with no more decimals than its interval carries: three where it is narrower than 0.02, else two."""
    return f"{value:.{3 if within.high - within.low < 0.02 else 2}f}"


def _is_simulated(trials: Iterable[TrialStatus]) -> bool:
    return any(warning.startswith(f"{SIMULATED}:") for trial in trials for warning in trial.warnings)


def observed_by(pod: Pod, nodes: Mapping[str, Node], prompts_sha256: str | None) -> ObservedByTrial:
    """What a trial saw."""
    node = nodes.get(pod.node) if pod.node is not None else None
    product, driver = gpu_of(node)
    return ObservedByTrial(
        node=pod.node or UNKNOWN,
        gpu_product=product,
        driver_version=driver,
        engine_image_id=pod.engine.image_id or UNKNOWN,
        prompts_sha256=prompts_sha256,
    )


def gpu_of(node: Node | None) -> tuple[str, str]:
    """Product and driver of a node's GPUs, as far as its labels tell."""
    labels = node.labels if node is not None else {}
    return labels.get(PRODUCT_LABEL, UNKNOWN), labels.get(DRIVER_LABEL, UNKNOWN)


def changed(known: ObservedByTrial, seen: ObservedByTrial) -> tuple[str, str] | None:
    """What is not any more as the first trial saw it, as a reason and in words; None where all is.

    Of images only digests are compared: kubelet may call one image by several names.
    """
    digests = [one.engine_image_id.rpartition("@")[2] for one in (known, seen) if "@" in one.engine_image_id]
    if len(set(digests)) > 1:
        return "ImageChanged", "the engine's image has another digest now"
    if UNKNOWN not in (known.gpu_product, seen.gpu_product) and known.gpu_product != seen.gpu_product:
        return "GPUChanged", f"the node's GPU is now {seen.gpu_product}"
    if UNKNOWN not in (known.driver_version, seen.driver_version) and known.driver_version != seen.driver_version:
        return "DriverChanged", f"the GPU's driver is now {seen.driver_version}"
    return None


def fingerprint(settings_hash: str, observed: ObservedByTrial) -> str:
    """What a choice is valid for: what was asked for and what was observed, but for the node's name."""
    parts = [settings_hash, observed.gpu_product, observed.driver_version, observed.engine_image_id]
    if observed.prompts_sha256 is not None:
        parts.append(observed.prompts_sha256)
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def gpu_seconds(pod: Pod | None, count: int, now: datetime) -> int:
    """Seconds of GPU time that a pod held, over all its GPUs."""
    if pod is None or pod.started_at is None:
        return 0
    return max(0, round(((pod.finished_at or now) - pod.started_at).total_seconds())) * count


def decimal(value: float) -> str:
    """Two decimals from 10 on, three below, and below 0.1 three significant digits; never an exponent."""
    if value >= 10:
        return f"{value:.2f}"
    decimals = 3 if value >= 0.1 or value <= 0 else min(2 - math.floor(math.log10(value)), 20)
    return f"{value:.{decimals}f}"
