"""The next step of a run that has no verdict yet: the order in which its state is judged, planned and acted on."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import format_time
from mtp_operator.api.run import (
    MTPTuningRun,
    MTPTuningRunSpec,
    MTPTuningRunStatus,
    ObservedByTrial,
    TrialState,
    TrialStatus,
)
from mtp_operator.api.trial_documents import DRIFTING, IMPLAUSIBLE, TOO_SLOW
from mtp_operator.reconcile import gpus, obstacles, trial_conversion
from mtp_operator.reconcile.events import start_events, trial_events, verdict_events
from mtp_operator.reconcile.judgment import (
    Drifted,
    Failed,
    Judgment,
    Lost,
    Measured,
    RunFailed,
    Running,
    Terminate,
    judge,
)
from mtp_operator.reconcile.losslessness import verify_outputs
from mtp_operator.reconcile.observed import Job, Kind, Lane, Node, Observed, OperatorSettings, Pod, Reference
from mtp_operator.reconcile.obstacles import ENDS_WITHIN, Obstacle
from mtp_operator.reconcile.patience import is_shut_out, limits, next_limit_seconds
from mtp_operator.reconcile.plan import Create, Delete, Plan, StopTrial
from mtp_operator.resources.prompt_volumes import PROMPTS_FIELD
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Verdict

from . import trials
from .adopt import adopt
from .status import failure_verdict, update, with_conditions, with_verdict
from .trials import has_more_time, open_trial, with_trial

MORE_TIME: Final = 2
"""Times the time of a level that a trial which was too slow gets when it is tried again."""


def advance(
    run: MTPTuningRun,
    subject: Reference,
    observed: Observed,
    hold: Obstacle | None,
    settings: OperatorSettings,
    now: datetime,
) -> tuple[Plan, Obstacle | None]:
    """The next step of a run that has no verdict yet, and what keeps it from making progress.

    Args:
        run: the run.
        subject: the object of the Events: the model.
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

    trial = open_trial(status.trials)
    if trial is not None:
        job = jobs.get(trial.job_name)
        pod = pods.get(job.uid) if job else None
        status = _judged(run, status, trial, job, pod, observed.nodes, settings, now)
    if status.verdict is None and open_trial(status.trials) is None:
        status = _planned(run, status, now)

    trial = open_trial(status.trials)
    job = jobs.get(trial.job_name) if trial else None
    # What is left of the pod of a suspended Job goes, and does not wait for anything.
    pod = pods.get(job.uid) if job and not job.suspended else None
    obstacle = lookup = wake = None
    if trial is not None:
        obstacle = obstacles.failure(observed, Lane.TUNING) or obstacles.obstacle(
            job, pod, observed, run.spec, settings, now
        )
        if obstacle is None and job is None and trial.state is TrialState.PLANNED:
            obstacle = hold or trials.pause(trial, now) or obstacles.waits_for(obstacles.in_the_way(observed.pods), now)
        lookup, wake = obstacles.events_read_due(
            run.metadata.namespace, job, pod, observed.event_snapshots, settings, now
        )
        if pod is not None and pod.node is None:
            obstacle = _bound_to_node(obstacle, status)
            wake = next_limit_seconds(pod, limits(settings), now) or settings.pending_seconds
        if (left := trials.pause_seconds(trial, now)) > 0:
            wake = left
        elif job is None and obstacles.in_the_way(observed.pods) is not None:
            wake = ENDS_WITHIN.total_seconds()
    status = with_conditions(run, status, obstacle, now)
    events = [
        *start_events(subject, before, run.metadata.name),
        *trial_events(subject, before, status),
        *verdict_events(subject, before, status),
    ]
    creates = _creates(run, observed, jobs, settings, now) if hold is None else ()
    plan = Plan.of(
        Lane.TUNING,
        update(run, status, events),
        *_stops(run, jobs, pods, trial),
        *(gpus.gpu_claims(subject, run.spec.accelerator) if creates else ()),
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


# -- what became of the trial under way --------------------------------------------------------------------------------


def _judged(
    run: MTPTuningRun,
    status: MTPTuningRunStatus,
    trial: TrialStatus,
    job: Job | None,
    pod: Pod | None,
    nodes: Mapping[str, Node],
    settings: OperatorSettings,
    now: datetime,
) -> MTPTuningRunStatus:
    if job is None and trial.job_uid is None:
        return status
    is_suspended = job is not None and job.suspended
    lost = None if is_suspended else _lost_node(status, pod, nodes, settings, now)
    if lost is not None:
        return _started_over(status, trial, lost)
    judgment = _held_against(run.spec, trial, judge(trial, job, pod))
    if isinstance(judgment, Running | Terminate):
        return with_trial(status, trials.running(trial, job, pod, judgment))
    name = run.metadata.name
    seconds = trial_conversion.gpu_seconds(pod, run.spec.accelerator.count, now)
    status = trials.spent(status, seconds)
    if isinstance(judgment, Lost):
        return trials.lose(name, status, trial, judgment, now)
    if isinstance(judgment, Drifted):
        if not trial.drifted:
            reason = trials.standing_reason(trial, DRIFTING)
            return with_trial(status, trials.again(name, trial, reason, judgment.message, drifted=1))
        message = f"{judgment.message}, in both attempts"
        judgment = Failed("Unstable", message, judgment.result)
    if isinstance(judgment, Failed) and judgment.reason == TOO_SLOW and not has_more_time(trial):
        return with_trial(status, trials.again(name, trial, TOO_SLOW, judgment.message, drifted=trial.drifted))
    ended = trials.ended(trial, job, pod, judgment, seconds)
    if isinstance(judgment, Measured):
        status = with_trial(status, trial_conversion.measured_trial(ended, judgment.result, run.spec.workload.levels))
        status = trials.counted(status.replace(trials=verify_outputs(status.trials)), measured=1)
    else:
        status = with_trial(status, trials.failed(ended, judgment.reason, judgment.message))
        status = trials.counted(status, failed=1)
    if isinstance(judgment, RunFailed):
        return with_verdict(status, failure_verdict(judgment.reason, judgment.message), now)
    if pod is None or pod.node is None:
        return status
    prompts = judgment.result.prompts_sha256 if judgment.result is not None else None
    return _with_observation(run, status, trial, trial_conversion.observed_by(pod, nodes, prompts))


def _held_against(spec: MTPTuningRunSpec, trial: TrialStatus, judgment: Judgment) -> Judgment:
    """The judgment, unless the trial has not measured what it was asked for, or what the objective needs."""
    if not isinstance(judgment, Measured):
        return judgment
    strange = trial_conversion.of_another_trial(judgment.result, trial, spec.workload.levels)
    if strange is not None:
        return Failed(IMPLAUSIBLE, strange, judgment.result)
    why = trial_conversion.unmeasured(judgment.result, spec.objective)
    return judgment if why is None else Failed("Unmeasurable", why, judgment.result)


def _with_observation(
    run: MTPTuningRun, status: MTPTuningRunStatus, trial: TrialStatus, seen: ObservedByTrial
) -> MTPTuningRunStatus:
    """What the first trial saw stands for the run, as long as images, driver and prompts stay what they were.

    They can change under a run, or since the trials that it took over: what was measured before is invalidated.
    """
    known = status.observed

    def before(one: TrialStatus) -> bool:
        return trial_conversion.counts(one) and not trials.same(one, trial)

    change = trial_conversion.changed(known, seen) if known is not None else None
    if change is not None:
        reason, what = change
        status = trials.discard(status, before, reason, f"{what}: this trial was measured before that")
        known = None
    if known is not None:
        if seen.prompts_sha256 in (None, known.prompts_sha256):
            return status
        if known.prompts_sha256 is not None:
            message = f"{PROMPTS_FIELD}: the file was changed during the run; this trial used the old prompts"
            status = trials.discard(status, before, "PromptsChanged", message)
        seen = known.replace(prompts_sha256=seen.prompts_sha256)
    return status.replace(observed=seen, fingerprint=trial_conversion.fingerprint(run.spec.settings_hash, seen))


def _lost_node(
    status: MTPTuningRunStatus, pod: Pod | None, nodes: Mapping[str, Node], settings: OperatorSettings, now: datetime
) -> str | None:
    """Why the node that a trial is bound to and waits for will not take it any more; None where it may.

    A node that is without its labels for a while, because they are being found again, is not gone.
    """
    if status.observed is None or pod is None or pod.node is not None or pod.is_finished:
        return None
    node, waits = status.observed.node, now - pod.created_at
    is_known = settings.nodes_readable and status.observed.gpu_product != trial_conversion.UNKNOWN
    if waits >= timedelta(seconds=settings.node_gone_seconds) and (not is_known or node not in nodes):
        return f"node {node} is gone"
    if waits >= timedelta(seconds=settings.pending_seconds) and is_shut_out(pod):
        return f"node {node} accepts no pods any more (cordoned, tainted or unreachable)"
    return None


def _bound_to_node(obstacle: Obstacle | None, status: MTPTuningRunStatus) -> Obstacle | None:
    """What keeps a trial waiting for a node, and what to do where only trials of other runs bind it to that node."""
    counted = [trial for trial in status.trials if trial_conversion.counts(trial)]
    if obstacle is None or status.observed is None or any(trial.adopted_from is None for trial in counted):
        return obstacle
    hint = (
        f"; it waits for node {status.observed.node}, where the reused trials ran. Increase "
        "spec.tuning.retuneRequest to measure everything again on any node"
    )
    return replace(obstacle, message=obstacle.message + hint)


def _started_over(status: MTPTuningRunStatus, trial: TrialStatus, why: str) -> MTPTuningRunStatus:
    message = f"{why}: n_spec is never compared across nodes"
    status = trials.discard(status, lambda one: trial_conversion.counts(one) or one is trial, "NodeGone", message)
    return status.replace(observed=None, fingerprint=None)


# -- which candidate next ----------------------------------------------------------------------------------------------


def _planned(run: MTPTuningRun, status: MTPTuningRunStatus, now: datetime) -> MTPTuningRunStatus:
    """The status with the next trial, or with the verdict."""
    step = next_step(
        trial_conversion.tuner_arms(status.trials, run.spec.objective, run.spec.speculation.method),
        trial_conversion.tuner_settings(run.spec, status.trials, status.counters),
    )
    if isinstance(step, Verdict):
        verdict = trial_conversion.verdict_status(step, status.trials, run.spec)
        return with_verdict(status, verdict, now)
    return status.replace(trials=(*status.trials, trials.planned(run, status.trials, step.n_spec, step.why)))


def _creates(
    run: MTPTuningRun, observed: Observed, jobs: Mapping[str, Job], settings: OperatorSettings, now: datetime
) -> tuple[Create, ...]:
    """The Job of the planned trial: only once the plan is in the status, and no pod of the model holds a GPU."""
    trial = open_trial(run.status.trials)
    if trial is None or trial.state is not TrialState.PLANNED or trial.job_name in jobs:
        return ()
    if obstacles.in_the_way(observed.pods) is not None or trials.pause_seconds(trial, now) > 0:
        return ()
    pinned = run.status.observed.node if run.status.observed else None
    level_seconds = settings.level_seconds * (MORE_TIME if has_more_time(trial) else 1)
    ready_seconds = run.spec.template.ready_seconds or settings.ready_seconds
    body = trial_job(run, trial, pinned, ready_seconds=ready_seconds, level_seconds=level_seconds)
    return (Create(Kind.JOB, body),)


def _stops(
    run: MTPTuningRun, jobs: Mapping[str, Job], pods: Mapping[str, Pod], trial: TrialStatus | None
) -> tuple[StopTrial | Delete, ...]:
    """Jobs that still run although their trial has ended, or must; those whose bench is done end by themselves.

    A deadline does not end a suspended Job, which would start again some day: it goes altogether.
    """
    running = {trial.job_name} if trial is not None and trial.state is not TrialState.ENDING else set()
    stops: list[StopTrial | Delete] = []
    for job in jobs.values():
        if job.name in running or job.finished or job.deleting:
            continue
        target = Reference(Kind.JOB, run.metadata.namespace, job.name, job.uid)
        if job.suspended:
            stops.append(Delete(target))
        elif job.active_deadline_seconds != 1 and not (job.uid in pods and pods[job.uid].bench.terminated):
            stops.append(StopTrial(target))
    return tuple(stops)
