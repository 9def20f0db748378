"""Ready, and while they hold Reconciling and Stalled."""

from datetime import datetime

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType, make_condition


def summary_conditions(
    generation: int, now: datetime, *, ready: bool, stalled: bool, reason: str, message: str
) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled as kstatus reads them: of the last two at most one is there, and only if it holds.

    Whoever reads `kubectl describe` is not shown what is not the case.
    """

    def condition(type_: ConditionType, status: ConditionStatus) -> Condition:
        return make_condition(type_, status, reason, message, generation, now)

    if ready:
        found = [condition(ConditionType.READY, ConditionStatus.TRUE)]
    else:
        under_way = ConditionType.STALLED if stalled else ConditionType.RECONCILING
        found = [
            condition(ConditionType.READY, ConditionStatus.FALSE),
            condition(under_way, ConditionStatus.TRUE),
        ]
    return tuple(found)
