"""One decision about one model name: the model, its runs and their Jobs, its servers, and both statuses."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mtp_operator.api.conditions import parse_time
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun, RunSettings
from mtp_operator.api.template_defaults import with_template_defaults
from mtp_operator.resources.network_policy import trials_network_policy
from mtp_operator.resources.tuning_run import tuning_run

from . import intent, obstacles, unreadable, weights
from . import model_report as models
from . import run as runs
from .observed import Kind, Lane, Observed, OperatorSettings, Unreadable
from .plan import Create, Delete, Ensure, Plan
from .serving import Tuning, serve, trials_blocked_by
from .views import explain

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
    ours: list[MTPTuningRun] = []
    foreign: list[MTPTuningRun] = []
    for run in observed.runs:
        (ours if runs.is_ours(run) else foreign).append(run)
    disowned = Plan.all(*(runs.disown(run, now) for run in foreign))
    model = observed.model
    unreadable_model = next((one for one in observed.unreadable if one.reference.kind is Kind.MODEL), None)
    if unreadable_model is not None:
        return Plan.all(disowned, unreadable.report(unreadable_model, now))
    if model is None or model.metadata.deletion_timestamp is not None:
        # How many its model wanted to keep is gone with it: what it had kept is kept, as long as evidence is.
        return Plan.all(_history(ours, None, len(ours), now), disowned)
    model = _with_template_defaults(model, settings)
    return Plan.all(_with_model(model, ours, foreign, observed, settings, now), disowned)


def _with_template_defaults(model: MTPModel, settings: OperatorSettings) -> MTPModel:
    template = with_template_defaults(model.spec.template, settings.template)
    return model.model_copy(update={"spec": model.spec.model_copy(update={"template": template})})


def _with_model(
    model: MTPModel,
    ours: Sequence[MTPTuningRun],
    foreign: Sequence[MTPTuningRun],
    observed: Observed,
    settings: OperatorSettings,
    now: datetime,
) -> Plan:
    desired = intent.desired_state(model, settings, ours)
    subject = models.reference(model)
    run_name = desired.intent.run_name if isinstance(desired.intent, intent.Tune) else None
    no_trials = intent.why_no_trials(desired.intent)
    wanted = next((run for run in ours if run.metadata.name == run_name), None)
    usable = wanted if wanted is not None and _belongs_to(wanted, model) else None
    cache = weights.advance(
        model, desired.settings, observed, settings, now, may_fetch=not isinstance(desired.intent, intent.Refused)
    )
    servers, serving = serve(
        model,
        desired,
        intent.chosen_n_spec(desired.intent, usable),
        intent.measured_product(desired.intent, usable),
        tuning=_tuning(no_trials, usable),
        observed=observed,
        settings=settings,
        now=now,
    )
    plans = [servers] if unreadable.serving(observed) is None else []
    # What cannot be read may be the Job or the pod that the next step would have to know.
    lost_sight = unreadable.trials(observed, run_name) or _squatted(run_name, foreign)
    if lost_sight is None:
        plans.append(cache.plan)
    elif not cache.cached:
        cache = cache.kept_from(lost_sight)
    obstacle = lost_sight or (obstacles.failure(observed, Lane.TUNING) if cache.cached else cache.obstacle)
    ignored = list(observed.unreadable)
    for run in ours:
        if not _belongs_to(run, model):
            continue
        if runs.is_finished(run):
            plans.append(runs.clean_up(run, observed))
        elif run is not wanted:
            plans.append(runs.supersede(run, subject, "the model's spec has changed since the run began", now))
        elif not runs.is_as_requested(run, desired.settings):
            plans.append(runs.supersede(run, subject, "its images or PVCs are not those that the model asks for", now))
        elif no_trials is not None:
            plans.append(runs.supersede(run, subject, no_trials, now))
        elif intent.has_other_pods(run, model):
            why = "spec.template or spec.tuning.queueName changed before anything was measured"
            plans.append(runs.supersede(run, subject, why, now))
        elif lost_sight is None:
            try:
                plan, obstacle = runs.advance(run, subject, observed, trials_blocked_by(model, observed), settings, now)
            except Exception as error:  # figures that cannot be, in the run or in the result of a trial
                ignored.append(Unreadable(runs.reference(run), explain(error)))
                obstacle = unreadable.obstacle(ignored[-1])
            else:
                # What locks a trial's pod in is there before the pod is.
                plans += [_locked_in(model, plan, settings), plan]
    if isinstance(desired.intent, intent.Tune) and no_trials is None and lost_sight is None:
        plans.append(_begin(model, desired.settings, desired.intent, wanted))
    plans.append(_history(ours, wanted, model.spec.tuning.history_limit, now))
    status = models.model_status(model, desired, usable, ours, obstacle, cache, serving, now, ignored)
    if status is not None:
        plans.append(Plan.of(Lane.REPORT, replace(status, version=model.metadata.resource_version)))
    return Plan.all(*plans)


def _tuning(no_trials: str | None, run: MTPTuningRun | None) -> Tuning:
    """Whether the run that the model wants needs a GPU: it may begin with all that it takes."""
    if no_trials is not None or (run is not None and runs.is_finished(run)):
        return Tuning.OVER
    return Tuning.MEASURING if run is not None and runs.has_planned(run) else Tuning.BEGINNING


def _locked_in(model: MTPModel, plan: Plan, settings: OperatorSettings) -> Plan:
    starts = any(isinstance(action, Create) and action.kind is Kind.JOB for action in plan.actions)
    policy = Ensure(Kind.NETWORK_POLICY, trials_network_policy(model))
    return Plan.of(Lane.TUNING, policy if starts and settings.network_policies else None)


def _squatted(name: str | None, foreign: Sequence[MTPTuningRun]) -> obstacles.Obstacle | None:
    """What is in the way if the name of the wanted run is that of one which the operator did not make."""
    if all(run.metadata.name != name for run in foreign):
        return None
    message = f"MTPTuningRun {name} was not created by the operator: delete it"
    return obstacles.Obstacle("UnmanagedRun", message, needs_a_person=True)


def _belongs_to(run: MTPTuningRun, model: MTPModel) -> bool:
    """Whether a run is this model's, or evidence that nobody owns; not the child of a namesake that is gone."""
    return run.metadata.deletion_timestamp is None and all(
        owner.uid == model.metadata.uid for owner in run.metadata.owner_references
    )


def _begin(model: MTPModel, settings: RunSettings, desired: intent.Tune, wanted: MTPTuningRun | None) -> Plan:
    """The run that the model asks for, where it is not there."""
    if wanted is None:
        return Plan.of(Lane.TUNING, Create(Kind.RUN, tuning_run(model, settings, desired.epoch)))
    return Plan() if _belongs_to(wanted, model) else Plan(wake_after_seconds=OLD_RUN_SECONDS)


def _history(ours: Sequence[MTPTuningRun], wanted: MTPTuningRun | None, limit: int, now: datetime) -> Plan:
    """Finished runs beyond the limit or the age go, the oldest first; the one in use stays."""
    finished = sorted(
        (
            (parse_time(run.status.completed_at), run.metadata.name, run)
            for run in ours
            if run.status.completed_at is not None and run is not wanted and not run.metadata.owner_references
        ),
        reverse=True,
    )
    kept = limit - (wanted is not None and runs.is_finished(wanted))
    deletes = []
    expiries = []
    for place, (completed_at, _, run) in enumerate(finished):
        expiry = completed_at + EVIDENCE_KEPT
        if place >= kept or now >= expiry:
            deletes.append(Delete(runs.reference(run)))
        else:
            expiries.append((expiry - now).total_seconds())
    return Plan.of(Lane.TUNING, *deletes, wake_after_seconds=min(expiries, default=None))
