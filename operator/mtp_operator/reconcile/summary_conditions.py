"""Ready, Reconciling and Stalled."""

from datetime import datetime

from mtp_operator.api.conditions import Condition, ConditionStatus, ConditionType, make_condition


def summary_conditions(
    generation: int, now: datetime, *, ready: bool, stalled: bool, reason: str, message: str
) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled as kstatus reads them; never Reconciling and Stalled together.

    Reason and message stand with Ready, and with that of the others which holds: readers look at that one alone.
    """

    def condition(type_: ConditionType, holds: bool, why: str, words: str) -> Condition:
        state = ConditionStatus.TRUE if holds else ConditionStatus.FALSE
        return make_condition(type_, state, why, words, generation, now)

    reconciling = not ready and not stalled
    return (
        condition(ConditionType.READY, ready, reason, message),
        condition(ConditionType.RECONCILING, True, reason, message)
        if reconciling
        else condition(ConditionType.RECONCILING, False, "NotReconciling", "nothing is in progress"),
        condition(ConditionType.STALLED, True, reason, message)
        if stalled
        else condition(ConditionType.STALLED, False, "NotStalled", "no action is needed"),
    )
