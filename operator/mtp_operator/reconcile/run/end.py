"""The ends of a run that it does not find by itself, and what is left to do after its verdict."""

from datetime import datetime

from mtp_operator.api.conditions import shorten
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.verdicts import VerdictStatus, VerdictType
from mtp_operator.reconcile.events import verdict_events
from mtp_operator.reconcile.observed import Kind, Lane, Observed, Reference
from mtp_operator.reconcile.plan import Delete, Plan, Release

from .status import reference, update, with_conditions, with_summary_conditions, with_verdict
from .trials import failed, open_trial, with_trial


def supersede(run: MTPTuningRun, subject: Reference, why: str, now: datetime) -> Plan:
    """Ends a run whose model wants something else now."""
    status = run.status
    trial = open_trial(status.trials)
    if trial is not None:
        status = with_trial(status, failed(trial, "Superseded", why))
    verdict = VerdictStatus(type=VerdictType.SUPERSEDED, reason="Superseded", message=shorten(why))
    status = with_conditions(run, with_verdict(status, verdict, now), None, now)
    return Plan.of(Lane.TUNING, update(run, status, verdict_events(subject, run.status, status)))


def clean_up(run: MTPTuningRun, observed: Observed) -> Plan:
    """After the verdict: the Jobs go, then the run stops being its model's child."""
    jobs = [job for job in observed.jobs if job.run_uid == run.metadata.uid]
    if jobs:
        going = (Reference(Kind.JOB, run.metadata.namespace, job.name, job.uid) for job in jobs if not job.deleting)
        return Plan.of(Lane.TUNING, *map(Delete, going))
    return Plan.of(Lane.TUNING, Release(reference(run)) if run.metadata.owner_references else None)


def disown(run: MTPTuningRun, now: datetime) -> Plan:
    """A run that the operator did not make: it says so there, and leaves it alone."""
    message = "this run was not created by the operator and is ignored. Delete it, and apply an MTPModel instead"
    status = with_summary_conditions(
        run, run.status, now, ready=False, stalled=True, reason="UnmanagedRun", message=message
    )
    return Plan.of(Lane.TUNING, update(run, status, ()))
