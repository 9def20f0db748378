"""The next step of a run that has no verdict yet: the order in which its state is judged, planned and acted on."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import format_time
from mtp_operator.api.run import (
    ArmState,
    ArmStatus,
    MTPTuningRun,
    MTPTuningRunSpec,
    MTPTuningRunStatus,
)
from mtp_operator.api.run import (
    Observed as ObservedByTrial,
)
from mtp_operator.api.trial_documents import DRIFTING, IMPLAUSIBLE, TOO_SLOW
from mtp_operator.engines import engine_for
from mtp_operator.reconcile import arm_conversion, gpus, trial
from mtp_operator.reconcile.events import arm_events, start_events, verdict_events
from mtp_operator.reconcile.losslessness import judged_outputs
from mtp_operator.reconcile.patience import is_shut_out, limits, next_limit_seconds
from mtp_operator.reconcile.records import (
    Create,
    EndTrial,
    Job,
    Kind,
    Lane,
    Node,
    Observed,
    OperatorSettings,
    Plan,
    Pod,
    Reference,
)
from mtp_operator.resources.prompt_volumes import PROMPTS_FIELD
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Verdict

from . import arms
from .adopt import adopt
from .arms import has_more_time, open_arm, with_arm
from .status import failure_verdict, update, with_conditions, with_verdict

MORE_TIME: Final = 2
"""Times the time of a level that an arm which was too slow gets when it is tried again."""


def advance(
    run: MTPTuningRun,
    about: Reference,
    observed: Observed,
    hold: trial.Obstacle | None,
    settings: OperatorSettings,
    now: datetime,
) -> tuple[Plan, trial.Obstacle | None]:
    """The next step of a run that has no verdict yet, and what keeps it from making progress.

    Args:
        run: the run.
        about: the object of the Events: the model.
        observed: everything of this model's name.
        hold: why no trial may start, if none may.
        settings: the operator's.
        now: the time.
    """
    jobs = {job.name: job for job in observed.jobs if job.run_uid == run.metadata.uid}
    pods = pods_by_job(observed.pods)
    before = run.status
    begins = before.started_at is None
    status = adopt(run, observed, nodes_readable=settings.nodes_readable) if begins else before
    status = status.replace(started_at=before.started_at or format_time(now))

    arm = open_arm(status.arms)
    if arm is not None:
        job = jobs.get(arm.job_name)
        pod = pods.get(job.uid) if job else None
        status = _judged(run, status, arm, job, pod, observed.nodes, settings, now)
    if status.verdict is None and open_arm(status.arms) is None:
        status = _planned(run, status, now)

    arm = open_arm(status.arms)
    job = jobs.get(arm.job_name) if arm else None
    pod = pods.get(job.uid) if job else None
    obstacle = lookup = wake = None
    if arm is not None:
        obstacle = trial.failure(observed, Lane.TUNING) or trial.obstacle(job, pod, observed, run.spec, settings, now)
        if obstacle is None and job is None and arm.state is ArmState.PLANNED:
            obstacle = hold or arms.pause(arm, now) or trial.waits_for(trial.in_the_way(observed.pods), now)
        lookup, wake = trial.lookup_due(run.metadata.namespace, job, pod, observed.lookups, settings, now)
        if pod is not None and pod.node is None:
            obstacle = _bound_to_node(obstacle, status)
            wake = next_limit_seconds(pod, limits(settings), now) or settings.pending_seconds
        if (left := arms.pause_seconds(arm, now)) > 0:
            wake = left
        elif job is None and trial.in_the_way(observed.pods) is not None:
            wake = trial.ENDS_WITHIN.total_seconds()
    status = with_conditions(run, status, obstacle, now)
    events = [
        *start_events(about, before, run.metadata.name),
        *arm_events(about, before, status),
        *verdict_events(about, before, status),
    ]
    creates = _creates(run, observed, jobs, settings, now) if hold is None else ()
    plan = Plan.of(
        Lane.TUNING,
        update(run, status, events),
        *_ends(run, jobs, pods, arm),
        *(gpus.gpu_claims(about, run.spec.accelerator) if creates else ()),
        *creates,
        lookup,
        wake_after_seconds=wake,
    )
    return plan, obstacle


def pods_by_job(pods: tuple[Pod, ...]) -> Mapping[str, Pod]:
    """Uid of a trial's Job -> its pod: the oldest that does not end.

    Such a Job never makes a second pod for a first that failed: what comes later and calls it its controller is forged.
    """
    return {pod.job_uid: pod for pod in sorted(pods, key=lambda pod: (pod.deleting, pod.created_at), reverse=True)}


# -- what became of the open arm ---------------------------------------------------------------------------------------


def _judged(
    run: MTPTuningRun,
    status: MTPTuningRunStatus,
    arm: ArmStatus,
    job: Job | None,
    pod: Pod | None,
    nodes: Mapping[str, Node],
    settings: OperatorSettings,
    now: datetime,
) -> MTPTuningRunStatus:
    if job is None and arm.job_uid is None:
        return status
    lost = _lost_node(status, pod, nodes, settings, now)
    if lost is not None:
        return _started_over(status, arm, lost)
    judgement = _held_against(run.spec, arm, trial.judge(arm, job, pod))
    if isinstance(judgement, trial.Going | trial.MustEnd):
        return with_arm(status, arms.running(arm, job, pod, judgement))
    name = run.metadata.name
    seconds = arm_conversion.gpu_seconds(pod, run.spec.accelerator.count, now)
    status = arms.spent(status, seconds)
    if isinstance(judgement, trial.Lost):
        return arms.lose(name, status, arm, judgement, now)
    if isinstance(judgement, trial.Drifted):
        if not arm.drifted:
            reason = arms.standing_reason(arm, DRIFTING)
            return with_arm(status, arms.again(name, arm, reason, judgement.message, drifted=1))
        message = f"{judgement.message}; so it did when it was measured before"
        judgement = trial.Failed("Unstable", message, judgement.result)
    if isinstance(judgement, trial.Failed) and judgement.reason == TOO_SLOW and not has_more_time(arm):
        return with_arm(status, arms.again(name, arm, TOO_SLOW, judgement.message, drifted=arm.drifted))
    ended = arms.running(arm, job, pod, judgement).replace(gpu_seconds=(arm.gpu_seconds or 0) + seconds)
    if isinstance(judgement, trial.Measured):
        status = with_arm(status, arm_conversion.measured_arm(ended, judgement.result, run.spec.workload.levels))
        status = arms.counted(status.replace(arms=judged_outputs(status.arms)), measured=1)
    else:
        status = with_arm(status, arms.failed(ended, judgement.reason, judgement.message))
        status = arms.counted(status, failed=1)
    if isinstance(judgement, trial.Broken):
        return with_verdict(status, failure_verdict(judgement.reason, judgement.message), now)
    if pod is None or pod.node is None:
        return status
    prompts = judgement.result.prompts_sha256 if judgement.result is not None else None
    return _with_observation(run, status, arm, arm_conversion.observed_by(pod, nodes, prompts))


def _held_against(spec: MTPTuningRunSpec, arm: ArmStatus, judgement: trial.Judgement) -> trial.Judgement:
    """The judgement, unless the trial has not measured what it was asked for, or what the objective needs."""
    if not isinstance(judgement, trial.Measured):
        return judgement
    strange = arm_conversion.of_another_trial(judgement.result, arm.n_spec, spec.workload.levels)
    if strange is not None:
        return trial.Failed(IMPLAUSIBLE, strange, judgement.result)
    why = arm_conversion.unmeasured(judgement.result, spec.objective)
    return judgement if why is None else trial.Failed("Unmeasurable", why, judgement.result)


def _with_observation(
    run: MTPTuningRun, status: MTPTuningRunStatus, arm: ArmStatus, seen: ObservedByTrial
) -> MTPTuningRunStatus:
    """What the first trial saw stands for the run, as long as images, driver and prompts stay what they were.

    They can change under a run, or since the trials that it took over: what was measured before is set aside.
    """
    known = status.observed

    def before(one: ArmStatus) -> bool:
        return arm_conversion.counts(one) and not arms.same(one, arm)

    change = arm_conversion.changed(known, seen) if known is not None else None
    if change is not None:
        reason, what = change
        status = arms.set_aside(status, before, reason, f"{what}: this arm was measured before that")
        known = None
    if known is not None:
        if seen.prompts_sha256 in (None, known.prompts_sha256):
            return status
        if known.prompts_sha256 is not None:
            message = f"{PROMPTS_FIELD}: the file was changed while the run went on; this arm had the old prompts"
            status = arms.set_aside(status, before, "PromptsChanged", message)
        seen = known.replace(prompts_sha256=seen.prompts_sha256)
    return status.replace(observed=seen, fingerprint=arm_conversion.fingerprint(run.spec.settings_hash, seen))


def _lost_node(
    status: MTPTuningRunStatus, pod: Pod | None, nodes: Mapping[str, Node], settings: OperatorSettings, now: datetime
) -> str | None:
    """Why the node that a trial is bound to and waits for will not take it any more; None where it may.

    A node that is without its labels for a while, because they are being found again, is not gone.
    """
    if status.observed is None or pod is None or pod.node is not None or pod.is_over:
        return None
    node, waits = status.observed.node, now - pod.created_at
    is_known = settings.nodes_readable and status.observed.gpu_product != arm_conversion.UNKNOWN
    if waits >= timedelta(seconds=settings.node_gone_seconds) and (not is_known or node not in nodes):
        return f"node {node} is gone"
    if waits >= timedelta(seconds=settings.pending_seconds) and is_shut_out(pod):
        return f"node {node} takes no pods any more (cordoned, tainted or not to be reached)"
    return None


def _bound_to_node(obstacle: trial.Obstacle | None, status: MTPTuningRunStatus) -> trial.Obstacle | None:
    """What keeps a trial waiting for a node, and what to do where only trials of other runs bind it to that node."""
    counted = [arm for arm in status.arms if arm_conversion.counts(arm)]
    if obstacle is None or status.observed is None or any(arm.adopted_from is None for arm in counted):
        return obstacle
    hint = (
        f"; it waits for node {status.observed.node}, where the trials that were taken over ran: increase "
        "spec.tuning.request to measure all again on whatever node has room"
    )
    return replace(obstacle, message=obstacle.message + hint)


def _started_over(status: MTPTuningRunStatus, arm: ArmStatus, why: str) -> MTPTuningRunStatus:
    message = f"{why}: n is never compared across nodes"
    status = arms.set_aside(status, lambda one: arm_conversion.counts(one) or one is arm, "NodeGone", message)
    return status.replace(observed=None, fingerprint=None)


# -- which arm next ----------------------------------------------------------------------------------------------------


def _planned(run: MTPTuningRun, status: MTPTuningRunStatus, now: datetime) -> MTPTuningRunStatus:
    """The status with the next arm, or with the verdict."""
    step = next_step(
        arm_conversion.tuner_arms(status.arms, run.spec.objective),
        arm_conversion.tuner_settings(run.spec, status.arms, status.trials),
    )
    if isinstance(step, Verdict):
        verdict = arm_conversion.verdict_status(step, status.arms, engine_for(run.spec.engine.type))
        return with_verdict(status, verdict, now)
    boot = sum(arm.n_spec == step.n_spec for arm in status.arms)
    return status.replace(arms=(*status.arms, arms.planned(run.metadata.name, step.n_spec, boot, step.why)))


def _creates(
    run: MTPTuningRun, observed: Observed, jobs: Mapping[str, Job], settings: OperatorSettings, now: datetime
) -> tuple[Create, ...]:
    """The Job of the planned arm: only once the plan is in the status, and no pod of the model holds a GPU."""
    arm = open_arm(run.status.arms)
    if arm is None or arm.state is not ArmState.PLANNED or arm.job_name in jobs:
        return ()
    if trial.in_the_way(observed.pods) is not None or arms.pause_seconds(arm, now) > 0:
        return ()
    pinned = run.status.observed.node if run.status.observed else None
    level_seconds = settings.level_seconds * (MORE_TIME if has_more_time(arm) else 1)
    ready_seconds = run.spec.template.ready_seconds or settings.ready_seconds
    body = trial_job(run, arm, pinned, ready_seconds=ready_seconds, level_seconds=level_seconds)
    return (Create(Kind.JOB, body),)


def _ends(
    run: MTPTuningRun, jobs: Mapping[str, Job], pods: Mapping[str, Pod], arm: ArmStatus | None
) -> tuple[EndTrial, ...]:
    """Jobs that still run although their arm has ended, or must; those whose bench is done end by themselves."""
    going_on = {arm.job_name} if arm is not None and arm.state is not ArmState.ENDING else set()
    return tuple(
        EndTrial(Reference(Kind.JOB, run.metadata.namespace, job.name, job.uid))
        for job in jobs.values()
        if job.name not in going_on
        and not (job.finished or job.deleting or job.active_deadline_seconds == 1)
        and not (job.uid in pods and pods[job.uid].bench.terminated)
    )
