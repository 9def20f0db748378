"""Ready, Reconciling and Stalled."""

from datetime import datetime

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType, make_condition


def standing(
    generation: int, now: datetime, *, ready: bool, stalled: bool, reason: str, message: str
) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled as kstatus reads them; never Reconciling and Stalled together."""

    def condition(type_: ConditionType, holds: bool) -> Condition:
        state = ConditionStatus.TRUE if holds else ConditionStatus.FALSE
        return make_condition(type_, state, reason, message, generation, now)

    return (
        condition(ConditionType.READY, ready),
        condition(ConditionType.RECONCILING, not ready and not stalled),
        condition(ConditionType.STALLED, stalled),
    )
