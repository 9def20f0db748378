"""The policy of one MTPTuningRun: which arm next, what became of the last one, when it ends."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from mtp_operator.api.conditions import Condition, format_time, merge_conditions, shorten
from mtp_operator.api.run import (
    CHOICES,
    MAX_ATTEMPTS,
    ArmState,
    ArmStatus,
    MTPTuningRun,
    MTPTuningRunStatus,
    VerdictStatus,
    VerdictType,
    job_name,
    run_name,
)
from mtp_operator.api.run import (
    Observed as ObservedByTrial,
)
from mtp_operator.api.spec import Objective
from mtp_operator.api.trial import DRIFTING, TOO_SLOW
from mtp_operator.engines import engine_for
from mtp_operator.resources.prompts import PROMPTS_FIELD
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.tuner.records import Verdict
from mtp_operator.tuner.step import next_step

from . import evidence, trial
from .events import arm_events, verdict_events
from .losslessness import judged_outputs
from .records import (
    Create,
    Delete,
    EndTrial,
    EventDraft,
    Job,
    Kind,
    Lane,
    Node,
    Observed,
    OperatorSettings,
    Plan,
    Pod,
    Reference,
    Release,
    StatusUpdate,
)
from .standing import standing

MORE_TIME = 2
"""Times the time of a level that an arm which was too slow gets when it is tried again."""

OPEN_STATES = frozenset({ArmState.PLANNED, ArmState.RUNNING, ArmState.ENDING})


def reference(run: MTPTuningRun) -> Reference:
    """The run, by uid."""
    return Reference(Kind.RUN, run.metadata.namespace, run.metadata.name, run.metadata.uid)


def is_ours(run: MTPTuningRun) -> bool:
    """Whether the operator made this run: its name follows from what it states."""
    spec = run.spec
    return run.metadata.name == run_name(spec.model_name, spec.settings_hash, spec.request)


def is_over(run: MTPTuningRun) -> bool:
    """Whether the run has its verdict."""
    return run.status.verdict is not None


def open_arm(arms: tuple[ArmStatus, ...]) -> ArmStatus | None:
    """The arm whose trial is under way: there is at most one."""
    return next((arm for arm in arms if arm.state in OPEN_STATES), None)


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
        about: the object that Events speak of: the model.
        observed: everything of this model's name.
        hold: why no trial may start, if none may.
        settings: the operator's.
        now: the time.
    """
    jobs = {job.name: job for job in observed.jobs if job.run_uid == run.metadata.uid}
    pods = newest_pods(observed.pods)
    before = run.status
    status = before.model_copy(
        update={
            "observed_generation": run.metadata.generation,
            "started_at": before.started_at or format_time(now),
        }
    )
    events: list[EventDraft] = []

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
            obstacle = hold
        lookup, wake = trial.lookup_due(run.metadata.namespace, job, pod, observed.lookups, settings, now)
        if pod is not None and pod.node is None:
            wake = _until_node_counts_as_gone(pod, settings, now)
    status = status.model_copy(
        update={"conditions": merge_conditions(before.conditions, _conditions(run, status, obstacle, now))}
    )
    events += arm_events(about, before, status) + verdict_events(about, before, status)
    creates = _creates(run, observed, jobs, settings) if hold is None else ()
    plan = Plan.of(
        Lane.TUNING,
        _update(run, status, events),
        *_ends(run, jobs, pods, arm),
        *(trial.gpu_claims(about, run.spec.accelerator) if creates else ()),
        *creates,
        lookup,
        wake_after_seconds=wake,
    )
    return plan, obstacle


def newest_pods(pods: tuple[Pod, ...]) -> Mapping[str, Pod]:
    """Uid of a Job -> its newest pod."""
    return {pod.job_uid: pod for pod in sorted(pods, key=lambda pod: pod.created_at)}


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
    if _node_is_gone(status, pod, nodes, settings, now):
        return _started_over(status, arm)
    judgement = _held_against(run.spec.objective, trial.judge(arm, job, pod))
    if isinstance(judgement, trial.Going | trial.MustEnd):
        return _with_arm(status, _running(arm, job, pod, judgement))
    seconds = evidence.gpu_seconds(pod, run.spec.accelerator.count, now)
    status = _spent(status, seconds)
    if isinstance(judgement, trial.Lost):
        return _lost(run, status, arm, judgement)
    if isinstance(judgement, trial.Drifted):
        if not arm.drifted:
            return _with_arm(status, _again(run, arm, _standing_reason(arm, DRIFTING), judgement.message, drifted=1))
        message = f"{judgement.message}; so it did when it was measured before"
        judgement = trial.Failed("Unstable", message, judgement.result)
    if isinstance(judgement, trial.Failed) and judgement.reason == TOO_SLOW and not _has_more_time(arm):
        return _with_arm(status, _again(run, arm, TOO_SLOW, judgement.message, drifted=arm.drifted))
    ended = _running(arm, job, pod, judgement).model_copy(update={"gpu_seconds": (arm.gpu_seconds or 0) + seconds})
    if isinstance(judgement, trial.Measured):
        status = _with_arm(status, evidence.measured_arm(ended, judgement.result, run.spec.workload.levels))
        status = status.model_copy(update={"arms": judged_outputs(status.arms)})
        status = _counted(status, measured=1)
    else:
        status = _with_arm(status, _failed(ended, judgement.reason, judgement.message))
        status = _counted(status, failed=1)
    if isinstance(judgement, trial.Broken):
        return _with_verdict(status, _failure_verdict(judgement.reason, judgement.message), now)
    if pod is None or pod.node is None:
        return status
    prompts = judgement.result.prompts_sha256 if judgement.result is not None else None
    return _with_observation(run, status, arm, evidence.observed_by(pod, nodes, prompts))


def _held_against(objective: Objective, judgement: trial.Judgement) -> trial.Judgement:
    """The judgement, unless the trial has not measured what the objective needs."""
    if not isinstance(judgement, trial.Measured):
        return judgement
    why = evidence.unmeasured(judgement.result, objective)
    return judgement if why is None else trial.Failed("Unmeasurable", why, judgement.result)


def _with_observation(
    run: MTPTuningRun, status: MTPTuningRunStatus, arm: ArmStatus, seen: ObservedByTrial
) -> MTPTuningRunStatus:
    """What the first trial saw stands for the run, as long as the prompts stay what they were.

    They are the one part that can change under a run: what was measured with the old ones is set aside.
    """
    known = status.observed
    if known is not None:
        if seen.prompts_sha256 in (None, known.prompts_sha256):
            return status
        if known.prompts_sha256 is not None:
            message = f"{PROMPTS_FIELD}: the file was changed while the run went on; this arm had the old prompts"
            status = _set_aside(
                status, lambda one: evidence.counts(one) and not _same(one, arm), "PromptsChanged", message
            )
        seen = known.model_copy(update={"prompts_sha256": seen.prompts_sha256})
    return status.model_copy(
        update={"observed": seen, "fingerprint": evidence.fingerprint(run.spec.settings_hash, seen)}
    )


def _running(arm: ArmStatus, job: Job | None, pod: Pod | None, judgement: trial.Judgement) -> ArmStatus:
    update: dict[str, object] = {"job_uid": job.uid if job else arm.job_uid}
    if arm.state is ArmState.PLANNED:
        update["state"] = ArmState.RUNNING
    if isinstance(judgement, trial.MustEnd):
        update |= {
            "state": ArmState.ENDING,
            "reason": judgement.reason,
            "message": shorten(judgement.message),
        }
    if pod is not None and pod.node is not None:
        update["node"] = pod.node
        update["started_at"] = format_time(pod.started_at) if pod.started_at else arm.started_at
    return arm.model_copy(update=update)


def _failed(arm: ArmStatus, reason: str, message: str) -> ArmStatus:
    return arm.model_copy(update={"state": ArmState.FAILED, "reason": reason, "message": shorten(message)})


def _lost(run: MTPTuningRun, status: MTPTuningRunStatus, arm: ArmStatus, lost: trial.Lost) -> MTPTuningRunStatus:
    status = _counted(status, lost=1)
    times = arm.attempt - arm.drifted - _has_more_time(arm) + 1
    if times >= MAX_ATTEMPTS:
        message = f"the trial was lost {times} times; the last time {lost.message}"
        return _counted(_with_arm(status, _failed(arm, "LostTooOften", message)), failed=1)
    message = f"attempt {arm.attempt} was lost: {lost.message}"
    return _with_arm(status, _again(run, arm, _standing_reason(arm, "Lost"), message, drifted=arm.drifted))


def _has_more_time(arm: ArmStatus) -> bool:
    """Whether this arm, which is not over, was too slow before: each of its levels has more time now."""
    return arm.reason == TOO_SLOW


def _standing_reason(arm: ArmStatus, reason: str) -> str:
    """Why the arm is tried again; that it was too slow stands, whatever else befalls it."""
    return TOO_SLOW if _has_more_time(arm) else reason


def _again(run: MTPTuningRun, arm: ArmStatus, reason: str, message: str, *, drifted: int) -> ArmStatus:
    """The arm, planned for another attempt."""
    attempt = arm.attempt + 1
    return arm.model_copy(
        update={
            "attempt": attempt,
            "drifted": drifted,
            "job_name": job_name(run.metadata.name, arm.n_spec, arm.boot, attempt),
            "job_uid": None,
            "state": ArmState.PLANNED,
            "reason": reason,
            "message": shorten(message),
            "node": None,
            "started_at": None,
        }
    )


def _node_is_gone(
    status: MTPTuningRunStatus, pod: Pod | None, nodes: Mapping[str, Node], settings: OperatorSettings, now: datetime
) -> bool:
    """Whether a trial waits for a node that it is bound to and that is not there any more."""
    if status.observed is None or pod is None or pod.node is not None or pod.is_over:
        return False
    if settings.nodes_readable and status.observed.gpu_product != evidence.UNKNOWN:
        return status.observed.node not in nodes
    return now - pod.created_at >= timedelta(seconds=settings.node_gone_seconds)


def _until_node_counts_as_gone(pod: Pod, settings: OperatorSettings, now: datetime) -> float:
    limit = settings.pending_seconds if settings.nodes_readable else settings.node_gone_seconds
    left = (pod.created_at + timedelta(seconds=limit) - now).total_seconds()
    return left if left > 0 else settings.pending_seconds


def _started_over(status: MTPTuningRunStatus, arm: ArmStatus) -> MTPTuningRunStatus:
    message = f"node {status.observed.node} is gone: n is never compared across nodes" if status.observed else ""
    status = _set_aside(status, lambda one: evidence.counts(one) or one is arm, "NodeGone", message)
    return status.model_copy(update={"observed": None, "fingerprint": None})


def _set_aside(
    status: MTPTuningRunStatus, concerns: Callable[[ArmStatus], bool], reason: str, message: str
) -> MTPTuningRunStatus:
    """The status with these arms counting no more."""
    update = {"state": ArmState.SET_ASIDE, "reason": reason, "message": message}
    arms = tuple(one.model_copy(update=update) if concerns(one) else one for one in status.arms)
    return status.model_copy(update={"arms": arms})


# -- which arm next ----------------------------------------------------------------------------------------------------


def _planned(run: MTPTuningRun, status: MTPTuningRunStatus, now: datetime) -> MTPTuningRunStatus:
    """The status with the next arm, or with the verdict."""
    step = next_step(
        evidence.tuner_arms(status.arms, run.spec.objective.maximize),
        evidence.tuner_settings(run.spec, status.arms, status.trials),
    )
    if isinstance(step, Verdict):
        verdict = evidence.verdict_status(step, status.arms, engine_for(run.spec.engine.type))
        return _with_verdict(status, verdict, now)
    boot = sum(arm.n_spec == step.n_spec for arm in status.arms)
    arm = ArmStatus(
        n_spec=step.n_spec,
        boot=boot,
        job_name=job_name(run.metadata.name, step.n_spec, boot, 0),
        state=ArmState.PLANNED,
        why=shorten(step.why, 512),
    )
    return status.model_copy(update={"arms": (*status.arms, arm)})


def _failure_verdict(reason: str, message: str) -> VerdictStatus:
    return VerdictStatus(type=VerdictType.FAILED, reason=reason, message=shorten(message))


def _with_verdict(status: MTPTuningRunStatus, verdict: VerdictStatus, now: datetime) -> MTPTuningRunStatus:
    return status.model_copy(update={"verdict": verdict, "completed_at": format_time(now)})


def _creates(
    run: MTPTuningRun, observed: Observed, jobs: Mapping[str, Job], settings: OperatorSettings
) -> tuple[Create, ...]:
    """The Job of the planned arm: only once the plan is in the status, and no pod of the model holds a GPU."""
    arm = open_arm(run.status.arms)
    if arm is None or arm.state is not ArmState.PLANNED or arm.job_name in jobs:
        return ()
    if any(not pod.is_over for pod in observed.pods):
        return ()
    pinned = run.status.observed.node if run.status.observed else None
    level_seconds = settings.level_seconds * (MORE_TIME if _has_more_time(arm) else 1)
    body = trial_job(
        run,
        arm,
        pinned,
        ready_seconds=run.spec.template.ready_seconds or settings.ready_seconds,
        level_seconds=level_seconds,
    )
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


# -- the end -----------------------------------------------------------------------------------------------------------


def supersede(run: MTPTuningRun, about: Reference, why: str, now: datetime) -> Plan:
    """Ends a run whose model wants something else now."""
    status = run.status
    arm = open_arm(status.arms)
    if arm is not None:
        status = _with_arm(status, _failed(arm, "Superseded", why))
    verdict = VerdictStatus(type=VerdictType.SUPERSEDED, reason="Superseded", message=shorten(why))
    status = _with_verdict(status, verdict, now).model_copy(update={"observed_generation": run.metadata.generation})
    status = status.model_copy(
        update={"conditions": merge_conditions(run.status.conditions, _conditions(run, status, None, now))}
    )
    return Plan.of(Lane.TUNING, _update(run, status, verdict_events(about, run.status, status)))


def clean_up(run: MTPTuningRun, observed: Observed) -> Plan:
    """After the verdict: the Jobs go, then the run stops being its model's child."""
    jobs = [job for job in observed.jobs if job.run_uid == run.metadata.uid]
    if jobs:
        going = (Reference(Kind.JOB, run.metadata.namespace, job.name, job.uid) for job in jobs if not job.deleting)
        return Plan.of(Lane.TUNING, *map(Delete, going))
    return Plan.of(Lane.TUNING, Release(reference(run)) if run.metadata.owner_references else None)


def disown(run: MTPTuningRun, now: datetime) -> Plan:
    """A run that the operator did not make: it says so there, and leaves it alone."""
    message = "this run was not made by the operator and is ignored; apply an MTPModel to tune one"
    conditions = _standing(run, now, ready=False, stalled=True, reason="NotMadeByOperator", message=message)
    status = run.status.model_copy(
        update={
            "observed_generation": run.metadata.generation,
            "conditions": merge_conditions(run.status.conditions, conditions),
        }
    )
    return Plan.of(Lane.TUNING, _update(run, status, []))


# -- status ------------------------------------------------------------------------------------------------------------


def _update(run: MTPTuningRun, status: MTPTuningRunStatus, events: list[EventDraft]) -> StatusUpdate | None:
    if status == run.status:
        return None
    return StatusUpdate(reference(run), status.to_wire(), tuple(events), run.metadata.resource_version)


def _with_arm(status: MTPTuningRunStatus, arm: ArmStatus) -> MTPTuningRunStatus:
    return status.model_copy(update={"arms": tuple(arm if _same(one, arm) else one for one in status.arms)})


def _same(one: ArmStatus, other: ArmStatus) -> bool:
    return (one.n_spec, one.boot) == (other.n_spec, other.boot)


def _counted(status: MTPTuningRunStatus, measured: int = 0, failed: int = 0, lost: int = 0) -> MTPTuningRunStatus:
    trials = status.trials
    return status.model_copy(
        update={
            "trials": trials.model_copy(
                update={
                    "measured": trials.measured + measured,
                    "failed": trials.failed + failed,
                    "lost": trials.lost + lost,
                }
            )
        }
    )


def _spent(status: MTPTuningRunStatus, seconds: int) -> MTPTuningRunStatus:
    trials = status.trials.model_copy(update={"gpu_seconds": status.trials.gpu_seconds + seconds})
    return status.model_copy(update={"trials": trials})


def _conditions(
    run: MTPTuningRun, status: MTPTuningRunStatus, obstacle: trial.Obstacle | None, now: datetime
) -> tuple[Condition, ...]:
    verdict = status.verdict
    if verdict is not None:
        chosen = verdict.type in CHOICES
        return _standing(run, now, ready=chosen, stalled=not chosen, reason=verdict.reason, message=verdict.message)
    if obstacle is not None:
        return _standing(
            run, now, ready=False, stalled=obstacle.needs_a_person, reason=obstacle.reason, message=obstacle.message
        )
    return _standing(run, now, ready=False, stalled=False, reason="Tuning", message=progress(status))


def progress(status: MTPTuningRunStatus) -> str:
    """How far a run is, in a sentence."""
    trials = status.trials
    ended = f"{trials.measured} measured" + (f", {trials.failed} failed" if trials.failed else "")
    arm = open_arm(status.arms)
    if arm is None:
        return ended
    return f"{ended}; measuring {arm.why}"


def _standing(
    run: MTPTuningRun, now: datetime, *, ready: bool, stalled: bool, reason: str, message: str
) -> tuple[Condition, ...]:
    return standing(run.metadata.generation, now, ready=ready, stalled=stalled, reason=reason, message=message)
