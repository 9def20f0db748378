"""What becomes of a model while objects of its name cannot be read, and how that is told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mtp_operator.api.conditions import ONLY_WHILE_TRUE

from .observed import APPLIED_KINDS, Kind, Lane, Observed, Unreadable
from .obstacles import Obstacle
from .plan import Plan, StatusUpdate
from .summary_conditions import summary_conditions

UNREADABLE: Final = "Unreadable"


def trials(observed: Observed, run_name: str | None) -> Obstacle | None:
    """Why neither a fetch nor a trial may take its next step: one of them is out of sight, or the run itself is."""
    for one in observed.unreadable:
        kind = one.reference.kind
        if kind in (Kind.JOB, Kind.POD) or (kind is Kind.RUN and one.reference.name == run_name):
            return obstacle(one)
    return None


def serving(observed: Observed) -> Obstacle | None:
    """Why nothing of the servers may be changed: what they are made of now is out of sight."""
    return next((obstacle(one) for one in observed.unreadable if one.reference.kind in APPLIED_KINDS), None)


def obstacle(one: Unreadable) -> Obstacle:
    """What a person has to do about an object that is in the way."""
    message = f"this version of the operator cannot read {one}: fix it or delete it"
    return Obstacle(UNREADABLE, message, needs_a_person=True)


def remark(ignored: Sequence[Unreadable]) -> str:
    """What is said beside everything else; empty where there is nothing to say."""
    if not ignored:
        return ""
    return " (ignored, because this version of the operator cannot read it: " + ", ".join(map(str, ignored[:3])) + ")"


def report(model: Unreadable, now: datetime) -> Plan:
    """The status of a model that cannot be read: what it said before, and that this is as far as it goes."""
    metadata, before = model.body["metadata"], model.body.get("status")
    before = before if isinstance(before, Mapping) else {}
    generation = metadata.get("generation")
    generation = generation if isinstance(generation, int) else 0
    message = f"this version of the operator cannot read the model: {model.why}"
    stalled = summary_conditions(generation, now, ready=False, stalled=True, reason=UNREADABLE, message=message)
    new = {condition.type: condition.to_wire() for condition in stalled}
    conditions = []
    for old in _conditions(before):
        type_ = old.get("type")
        if isinstance(type_, str) and type_ in ONLY_WHILE_TRUE and type_ not in new:
            continue
        condition = new.pop(type_, None) if isinstance(type_, str) else None
        if condition is not None and condition["status"] == old.get("status") and "lastTransitionTime" in old:
            condition["lastTransitionTime"] = old["lastTransitionTime"]
        conditions.append(condition or old)
    status = {
        **before,
        "observedGeneration": generation,
        "summary": f"Blocked: {UNREADABLE}",
        "conditions": [*conditions, *new.values()],
    }
    if status == before:
        return Plan()
    version = metadata.get("resourceVersion")
    return Plan.of(Lane.REPORT, StatusUpdate(model.reference, status, version=version))


def _conditions(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    conditions = status.get("conditions")
    return [one for one in conditions if isinstance(one, Mapping)] if isinstance(conditions, list) else []
