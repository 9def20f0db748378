"""One decision about one model name: the model, its runs and their Jobs, its servers, and both statuses."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import parse_time
from mtp_operator.api.model import MTPModel, TuningSpec
from mtp_operator.api.run import MTPTuningRun, VerdictType
from mtp_operator.resources.tuning_run import tuning_run

from . import model as models
from . import run as runs
from . import weights
from .records import Create, Delete, Kind, Observed, OperatorSettings, Plan
from .run import RunPlan
from .serving import ServingPlan, hold_on_trials, serve
from .trial import Obstacle
from .weights import WeightsPlan

EVIDENCE_KEPT: Final = timedelta(days=30)
"""How long a finished run is kept at the most."""

OLD_RUN_SECONDS: Final = 5.0
"""How soon to look again for a namesake's run that Kubernetes is about to collect."""


def decide(observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """What to do about one model name, from all that is known of it.

    Args:
        observed: the model (if it exists), its runs, their Jobs and pods.
        settings: what the operator's installation says.
        now: the time.
    """
    ours = [run for run in observed.runs if runs.is_ours(run)]
    strangers = [runs.disown(run, now) for run in observed.runs if not runs.is_ours(run)]
    model = observed.model
    if model is None or model.metadata.deletion_timestamp is not None:
        return _plan([*strangers, _history(ours, None, TuningSpec().history_limit, now)])
    return _with_model(model, ours, strangers, observed, settings, now)


def _with_model(
    model: MTPModel,
    ours: Sequence[MTPTuningRun],
    strangers: list[RunPlan],
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> Plan:
    asked = models.wish(model, settings)
    about = models.reference(model)
    wanted = next((run for run in ours if run.metadata.name == asked.run_name), None)
    usable = wanted if wanted is not None and _belongs_to(wanted, model) else None
    cache = weights.advance(model, asked.settings, observed, settings, now, may_fetch=not asked.refusal)
    serving = serve(
        model,
        # The commit that was fetched is known once it is in the status.
        asked.settings if weights.fetched(model) is not None and not asked.refusal else None,
        models.chosen_n_spec(model, asked, usable),
        tuning=_is_tuning(asked, usable),
        observed=observed,
        settings=settings,
        now=now,
    )
    plans = [*strangers, _fetch_plan(cache), _serving_plan(serving)]
    obstacle = cache.obstacle
    for run in ours:
        if not _belongs_to(run, model):
            continue
        if runs.is_over(run):
            plans.append(runs.clean_up(run, observed))
        elif run is not wanted:
            plans.append(runs.supersede(run, about, "the model's spec asks for something else now", now))
        elif asked.no_tuning or asked.refusal:
            plans.append(runs.supersede(run, about, asked.no_tuning or asked.refusal, now))
        else:
            going = runs.advance(run, about, observed, hold_on_trials(model, observed), settings, now)
            obstacle = going.obstacle
            plans.append(going)
    if not asked.no_tuning and not asked.refusal:
        plans.append(_begin(model, asked, wanted, observed))
    plans.append(_history(ours, wanted, model.spec.tuning.history_limit, now))
    if observed.refusal and obstacle is None:
        obstacle = Obstacle("WriteRefused", observed.refusal, needs_a_person=True)
    status = models.model_status(model, asked, usable, ours, obstacle, cache, serving.standing, now)
    if observed.refusal and status is not None:
        # What was refused is tried again once the model says so.
        return Plan(model_status=status)
    plan = _plan(plans)
    if plan.creates or plan.run_statuses:
        # The decision that follows at once knows more, and each write of a model wakes everybody who watches it.
        return plan
    return replace(plan, model_status=status)


def _fetch_plan(cache: WeightsPlan) -> RunPlan:
    return RunPlan(
        ensures=cache.ensures,
        creates=cache.creates,
        deletes=cache.deletes,
        lookup=cache.lookup,
        progress_read=cache.progress_read,
        wake_after_seconds=cache.wake_after_seconds,
    )


def _is_tuning(asked: models.Wish, run: MTPTuningRun | None) -> bool:
    """Whether trials have to run: there is no verdict yet, or one that only says that it was given up half-way."""
    if asked.no_tuning or asked.refusal:
        return False
    verdict = run.status.verdict if run is not None else None
    return verdict is None or verdict.type is VerdictType.SUPERSEDED


def _serving_plan(serving: ServingPlan) -> RunPlan:
    return RunPlan(
        ensures=serving.ensures,
        applies=serving.applies,
        deletes=serving.deletes,
        lookup=serving.lookup,
        wake_after_seconds=serving.wake_after_seconds,
    )


def _belongs_to(run: MTPTuningRun, model: MTPModel) -> bool:
    """Whether a run is this model's, or evidence that nobody owns; not the child of a namesake that is gone."""
    return run.metadata.deletion_timestamp is None and all(
        owner.uid == model.metadata.uid for owner in run.metadata.owner_references
    )


def _begin(model: MTPModel, asked: models.Wish, wanted: MTPTuningRun | None, observed: Observed) -> RunPlan:
    """The run that the model asks for, where it is not there or was given up half-way."""
    if wanted is None:
        return RunPlan(creates=(Create(Kind.RUN, tuning_run(model, asked.settings)),))
    if not _belongs_to(wanted, model):
        return RunPlan(wake_after_seconds=OLD_RUN_SECONDS)
    verdict = wanted.status.verdict
    given_up = verdict is not None and verdict.type is VerdictType.SUPERSEDED
    has_jobs = any(job.run_uid == wanted.metadata.uid for job in observed.jobs)
    if given_up and not has_jobs:
        return RunPlan(deletes=(Delete(runs.reference(wanted)),))
    return RunPlan()


def _history(ours: Sequence[MTPTuningRun], wanted: MTPTuningRun | None, limit: int, now: datetime) -> RunPlan:
    """Finished runs beyond the limit or the age go, the oldest first; the one in use stays."""
    finished = sorted(
        (
            (parse_time(run.status.completed_at), run.metadata.name, run)
            for run in ours
            if run.status.completed_at is not None and run is not wanted and not run.metadata.owner_references
        ),
        reverse=True,
    )
    kept = limit - (wanted is not None and runs.is_over(wanted))
    deletes = []
    expiries = []
    for place, (completed_at, _, run) in enumerate(finished):
        expiry = completed_at + EVIDENCE_KEPT
        if place >= kept or now >= expiry:
            deletes.append(Delete(runs.reference(run)))
        else:
            expiries.append((expiry - now).total_seconds())
    return RunPlan(deletes=tuple(deletes), wake_after_seconds=min(expiries, default=None))


def _plan(plans: Sequence[RunPlan]) -> Plan:
    wakes = [plan.wake_after_seconds for plan in plans if plan.wake_after_seconds is not None]
    return Plan(
        run_statuses=tuple(plan.status for plan in plans if plan.status is not None),
        ensures=tuple(ensure for plan in plans for ensure in plan.ensures),
        creates=tuple(create for plan in plans for create in plan.creates),
        applies=tuple(apply for plan in plans for apply in plan.applies),
        ends=tuple(end for plan in plans for end in plan.ends),
        releases=tuple(release for plan in plans for release in plan.releases),
        deletes=tuple(delete for plan in plans for delete in plan.deletes),
        lookups=tuple(plan.lookup for plan in plans if plan.lookup is not None),
        progress_reads=tuple(plan.progress_read for plan in plans if plan.progress_read is not None),
        wake_after_seconds=min(wakes, default=None),
    )
