"""Between the three forms of what was measured: a trial's result, an arm in a run's status, an arm of the tuner."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from mtp_operator.api.conditions import MESSAGE_LIMIT, shorten
from mtp_operator.api.run import (
    ArmCategory,
    ArmLatency,
    ArmLevel,
    ArmLimit,
    ArmOutput,
    ArmState,
    ArmStatus,
    MTPTuningRunSpec,
    TrialCounters,
)
from mtp_operator.api.run import (
    Observed as ObservedByTrial,
)
from mtp_operator.api.spec import LatencyConstraint, Level, Maximize, Objective
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
from mtp_operator.api.verdicts import BestAtLevel, NoiseSource, ParetoPoint, VerdictStatus, VerdictType
from mtp_operator.engines import Engine
from mtp_operator.resources.placement import PRODUCT_LABEL
from mtp_operator.tuner import tuner_records as tuner
from mtp_operator.tuner.evidence import typical

from .records import Node, Pod

UNKNOWN = "Unknown"

DRIVER_LABEL = "nvidia.com/cuda.driver-version.full"


def measured_arm(arm: ArmStatus, result: TrialResult, levels: Sequence[Level]) -> ArmStatus:
    """The arm with what its trial measured."""
    return arm.model_copy(
        update={
            "state": ArmState.MEASURED,
            "reason": result.doubt.reason if result.doubt else None,
            "message": shorten(result.doubt.message) if result.doubt else None,
            "warnings": tuple(shorten(f"{one.reason}: {one.message}", 256) for one in result.warnings),
            "levels": tuple(_arm_level(level) for level in result.levels),
            "output_tokens_per_second": decimal(
                objective({level.concurrency: typical(level.windows) for level in result.levels}, levels)
            ),
            "acceptance_length": _acceptance_length(result.levels),
            "output_check": _arm_output(result.output_check) if result.output_check else None,
        }
    )


def weighted_arm(arm: ArmStatus, levels: Sequence[Level]) -> ArmStatus:
    """The arm with its speed over all levels by these weights."""
    if not arm.levels:
        return arm
    speeds = {level.concurrency: float(level.output_tokens_per_second) for level in arm.levels}
    return arm.replace(output_tokens_per_second=decimal(objective(speeds, levels)))


def _arm_output(check: OutputCheck) -> ArmOutput:
    return ArmOutput(
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


def _arm_level(level: LevelResult) -> ArmLevel:
    told = level.latencies or Latencies()
    return ArmLevel(
        concurrency=level.concurrency,
        output_tokens_per_second=decimal(typical(level.windows)),
        windows=tuple(decimal(window) for window in level.windows),
        interactivity=tuple(decimal(window) for window in level.interactivity or ()),
        limits=tuple(ArmLimit.model_validate(dict(limit)) for limit in level.limits),
        requests=level.requests,
        failed_requests=level.failed_requests,
        ended_by_eos=level.ended_by_eos,
        output_tokens=level.output_tokens,
        drafts=level.drafts,
        draft_tokens=level.draft_tokens,
        accepted_tokens=level.accepted_tokens,
        accepted_per_position=level.accepted_per_position,
        categories=tuple(
            ArmCategory(category=name, output_tokens_per_second=decimal(speed))
            for name, speed in sorted(level.categories.items())
        ),
        time_to_first_token=_arm_latency(told.time_to_first_token),
        time_per_output_token=_arm_latency(told.time_per_output_token),
        request_latency=_arm_latency(told.request_latency),
        unmeasurable=shorten(told.unmeasurable, 256) if told.unmeasurable else None,
        client_cpu_share=decimal(level.client_cpu_share) if level.client_cpu_share is not None else None,
    )


def _arm_latency(summary: LatencySummary | None) -> ArmLatency | None:
    return summary and ArmLatency(**{name: decimal(value) for name, value in summary._asdict().items()})


def objective(speeds: Mapping[int, float], levels: Sequence[Level]) -> float:
    """Weighted geometric mean over the levels.

    Args:
        speeds: concurrency -> output tokens per second.
        levels: the workload's levels with their weights.
    """
    total = sum(level.weight for level in levels)
    return math.exp(sum(level.weight * math.log(speeds[level.concurrency]) for level in levels) / total)


def acceptance_length(arms: Iterable[ArmStatus]) -> str | None:
    """Tokens per step over all drafts of these arms: 1 + accepted / drafts."""
    return _acceptance_length(level for arm in arms for level in arm.levels)


def _acceptance_length(levels: Iterable[LevelResult | ArmLevel]) -> str | None:
    counted = [(level.drafts, level.accepted_tokens) for level in levels if level.drafts]
    drafts = sum(drafts for drafts, _ in counted if drafts)
    accepted = sum(accepted for _, accepted in counted if accepted)
    return f"{1 + accepted / drafts:.2f}" if drafts else None


def of_another_trial(result: TrialResult, n_spec: int, levels: Sequence[Level]) -> str | None:
    """Why this is not the result of the trial that was asked for; None where it is."""
    if result.n_spec != n_spec:
        return f"the result is of n={result.n_spec}; n={n_spec} was asked for"
    measured, asked = (sorted(one.concurrency for one in some) for some in (result.levels, levels))
    return None if measured == asked else f"the result is of concurrencies {measured}; {asked} were asked for"


def unmeasured(result: TrialResult, objective: Objective) -> str | None:
    """Why this result cannot say how good its n is, although its throughput is right; None where it can."""
    for level in result.levels:
        counted = {(limit.metric, limit.max_milliseconds) for limit in level.limits}
        needs = ["objective.maximize"] if _lacks_interactivity(level, objective) else []
        needs += [
            f"objective.constraints[{constraint.metric.value}]"
            for constraint in objective.constraints
            if constraint.concurrency == level.concurrency
            and (constraint.metric, constraint.max_milliseconds) not in counted
        ]
        if needs:
            why = (level.latencies and level.latencies.unmeasurable) or "the times of tokens could not be measured"
            return f"spec.tuning.{needs[0]} needs a latency that is not known at concurrency {level.concurrency}: {why}"
    return None


def unmeasured_arm(level: ArmLevel, objective: Objective) -> str | None:
    """What the objective needs and this level of another run's arm has not got; None where nothing is missing."""
    if _lacks_interactivity(level, objective):
        return "objective.maximize"
    if len(_latency_counts(level, objective)) < sum(
        one.concurrency == level.concurrency for one in objective.constraints
    ):
        return "objective.constraints"
    return None


def _lacks_interactivity(level: LevelResult | ArmLevel, objective: Objective) -> bool:
    # What a run keeps of a trial is written out in decimals.
    return objective.maximize is Maximize.INTERACTIVITY and min(map(float, level.interactivity or (0,))) < SLOWEST


def tuner_arms(arms: Iterable[ArmStatus], objective: Objective) -> tuple[tuner.Arm, ...]:
    """The arms that count, as the tuner knows them: ended, and not set aside.

    Args:
        arms: of the run.
        objective: what the tuner's windows are of, and which latencies it counts.
    """
    counted = sorted((arm for arm in arms if counts(arm)), key=lambda arm: (arm.n_spec, arm.boot))
    boots: dict[int, int] = {}
    answer = []
    for arm in counted:
        boot = boots.setdefault(arm.n_spec, 0)
        boots[arm.n_spec] += 1
        answer.append(
            tuner.Arm(
                n_spec=arm.n_spec,
                boot=boot,
                levels=tuple(_tuner_level(level, objective) for level in arm.levels)
                if arm.state is ArmState.MEASURED
                else (),
                failed=(arm.reason or "Failed") if arm.state is ArmState.FAILED else None,
                output_verified=arm.state is ArmState.MEASURED and arm.reason is None,
                node=arm.node,
                gpu_minutes=(arm.gpu_seconds or 0) / 60,
            )
        )
    return tuple(answer)


def counts(arm: ArmStatus) -> bool:
    """Whether the arm is evidence for a choice."""
    return arm.state in (ArmState.MEASURED, ArmState.FAILED)


def _tuner_level(level: ArmLevel, objective: Objective) -> tuner.LevelMeasurement:
    per_position = None
    if level.drafts:
        drafts = level.drafts
        per_position = tuple(min(accepted / drafts, 1.0) for accepted in level.accepted_per_position)
    windows = level.interactivity if objective.maximize is Maximize.INTERACTIVITY else level.windows
    return tuner.LevelMeasurement(
        concurrency=level.concurrency,
        windows=tuple(float(window) for window in windows),
        acceptance=tuner.Acceptance(per_position=per_position) if per_position else None,
        latencies=_latency_counts(level, objective),
    )


def _latency_counts(level: ArmLevel, objective: Objective) -> tuple[tuner.LatencyCount, ...]:
    """How many requests of the level exceeded each limit of the objective, as far as that is known."""
    counted = {(limit.metric, limit.max_milliseconds): limit for limit in level.limits}
    found = []
    for constraint in objective.constraints:
        if constraint.concurrency == level.concurrency:
            limit = counted.get((constraint.metric, constraint.max_milliseconds)) or _estimated(level, constraint)
            found += [tuner.LatencyCount.model_validate(dict(limit))] if limit is not None else []
    return tuple(found)


def _estimated(level: ArmLevel, constraint: LatencyConstraint) -> ArmLimit | None:
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
    return ArmLimit(
        metric=constraint.metric,
        max_milliseconds=constraint.max_milliseconds,
        requests=requests,
        exceeding=exceeding,
    )


def tuner_settings(spec: MTPTuningRunSpec, arms: Iterable[ArmStatus], trials: TrialCounters) -> tuner.Settings:
    """What the tuner may do: the budget, less what was spent on arms that do not count, plus what others have spent."""
    arms = tuple(arms)
    set_aside = sum(arm.state is ArmState.SET_ASIDE and arm.adopted_from is None for arm in arms)
    adopted = sum(counts(arm) and arm.adopted_from is not None for arm in arms)
    counted_seconds = sum(arm.gpu_seconds or 0 for arm in arms if counts(arm))
    most_minutes = spec.budget.max_gpu_minutes
    elsewhere_minutes = (trials.gpu_seconds - counted_seconds) / 60
    return tuner.Settings(
        n_specs=tuple(range(spec.max_n_spec + 1)),
        first_n_spec=spec.first_n_spec if (spec.first_n_spec or 0) <= spec.max_n_spec else None,
        max_trials=max(spec.budget.max_trials - set_aside, 0) + adopted,
        max_gpu_minutes=None if most_minutes is None else max(most_minutes - elsewhere_minutes, 0),
        levels=tuple(tuner.Level(concurrency=level.concurrency, weight=level.weight) for level in spec.workload.levels),
        constraints=tuple(tuner.LatencyConstraint.model_validate(dict(one)) for one in spec.objective.constraints),
        slower_levels=spec.objective.slower_levels.value,
    )


def verdict_status(verdict: tuner.Verdict, arms: Iterable[ArmStatus], engine: Engine) -> VerdictStatus:
    """The tuner's verdict as it stands in the run's status.

    Its sentence says first that nothing was measured on a GPU, where that is so. It goes on with the arms that were no
    candidates although measured, and with what the engine's clients give up for an n above 0.
    """
    arms = tuple(arms)
    speedup = verdict.speedup
    said = f"{SIMULATED}, no GPU was measured: {verdict.message}" if _is_simulated(arms) else verdict.message
    if verdict.type is tuner.VerdictType.FAILED:
        told = next((arm.message for arm in reversed(arms) if arm.n_spec == verdict.n_spec and counts(arm)), None)
        message = shorten(f"{said} {told}" if told else said)
        return VerdictStatus(type=VerdictType.FAILED, reason=verdict.reason or "Failed", message=message)
    doubted = {arm.n_spec: arm.reason for arm in arms if arm.state is ArmState.MEASURED and arm.n_spec and arm.reason}
    notes = ""
    if doubted:
        told = ", ".join(f"n={n_spec} ({reason})" for n_spec, reason in sorted(doubted.items()))
        notes += f" Measured, but not to be chosen without a person: {told}."
    if verdict.n_spec > 0 and engine.lost_while_speculating:
        notes += f" While n > 0 the server refuses {', '.join(engine.lost_while_speculating)}."
    notes = shorten(notes, MESSAGE_LIMIT // 2)
    return VerdictStatus(
        type=VerdictType(verdict.type.value),
        n_spec=verdict.n_spec,
        speedup=_ratio(speedup.estimate, speedup) if speedup else None,
        speedup_low=_ratio(speedup.low, speedup) if speedup else None,
        speedup_high=_ratio(speedup.high, speedup) if speedup else None,
        reason=verdict.reason or verdict.type.value,
        message=shorten(said, MESSAGE_LIMIT - len(notes)) + notes,
        noise_between_boots=NoiseSource(verdict.noise_between_boots.capitalize()),
        best_per_level=tuple(
            BestAtLevel(concurrency=one.concurrency, n_spec=one.n_spec, speedup=f"{one.speedup:.2f}")
            for one in verdict.best_n_spec_per_level
        ),
        pareto=tuple(
            ParetoPoint(
                n_spec=one.n_spec,
                concurrency=one.concurrency,
                output_tokens_per_second=decimal(one.output_tokens_per_second),
                request_output_tokens_per_second=decimal(one.tokens_per_second_per_request),
            )
            for one in verdict.pareto
        ),
    )


def _ratio(value: float, within: tuner.Speedup) -> str:
    """The value with no more decimals than its interval carries: three where it is narrower than 0.02, else two."""
    return f"{value:.{3 if within.high - within.low < 0.02 else 2}f}"


def _is_simulated(arms: Iterable[ArmStatus]) -> bool:
    return any(warning.startswith(f"{SIMULATED}:") for arm in arms for warning in arm.warnings)


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
