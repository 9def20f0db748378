"""Conditions keep the time of their last change, and only of that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mtp_operator.api.conditions import (
    MESSAGE_LIMIT,
    Condition,
    ConditionStatus,
    ConditionType,
    format_time,
    make_condition,
    merge_conditions,
    parse_time,
    shorten,
)

THEN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NOW = THEN + timedelta(minutes=5)


def ready(status: ConditionStatus, now: datetime, reason: str = "Measured") -> Condition:
    return make_condition(ConditionType.READY, status, reason, "As it is.", 2, now)


def test_same_status_keeps_its_time_and_takes_the_rest() -> None:
    (merged,) = merge_conditions(
        [ready(ConditionStatus.FALSE, THEN, "Planned")], [ready(ConditionStatus.FALSE, NOW, "Running")]
    )

    assert merged.last_transition_time == format_time(THEN)
    assert merged.reason == "Running"


def test_other_status_has_a_new_time() -> None:
    (merged,) = merge_conditions([ready(ConditionStatus.FALSE, THEN)], [ready(ConditionStatus.TRUE, NOW)])

    assert merged == ready(ConditionStatus.TRUE, NOW)


def test_what_is_not_stated_is_dropped_and_the_rest_is_sorted() -> None:
    stalled = make_condition(ConditionType.STALLED, ConditionStatus.TRUE, "NoDrafter", "There is none.", 2, THEN)
    tuned = make_condition(ConditionType.TUNED, ConditionStatus.TRUE, "Measured", "n=4.", 2, NOW)

    merged = merge_conditions([stalled], [tuned, ready(ConditionStatus.TRUE, NOW)])

    assert [condition.type for condition in merged] == ["Ready", "Tuned"]


def test_times_go_both_ways() -> None:
    assert format_time(THEN) == "2026-11-23T08:00:00Z"
    assert parse_time(format_time(THEN)) == THEN
    assert parse_time("2026-11-23T08:00:00.250000Z") == THEN + timedelta(milliseconds=250)


def test_long_messages_are_shortened() -> None:
    condition = make_condition(ConditionType.READY, ConditionStatus.TRUE, "Measured", "m" * 5000, 2, NOW)

    assert len(condition.message) == MESSAGE_LIMIT
    assert condition.message.endswith("…")
    assert shorten("short") == "short"


@pytest.mark.parametrize(
    "hostile",
    ["\x1b]0;pwned\x07", "\x1b[2J", "\x9b31m", "\x1b]52;c;aGk=\x07", "\u202egnp.exe", "\u2066", "\x00", "\x7f"],
    ids=ascii,
)
def test_what_a_terminal_obeys_reaches_no_condition(hostile: str) -> None:
    """`kubectl describe` prints messages as they are."""
    condition = make_condition(
        ConditionType.READY, ConditionStatus.FALSE, "X", f"the engine says: {hostile} end", 2, NOW
    )

    assert condition.message.isprintable()
    assert condition.message.startswith("the engine says: ")
    assert condition.message.endswith(" end")
