"""The time is the API server's, whatever the clock of this machine says."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from mtp_operator.runtime.api_client import MODELS, Client, NotFoundError
from mtp_operator.runtime.server_time import ServerTime

from .api_server import running
from .clock import Clock

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("wrong_by", [timedelta(hours=2), timedelta(hours=-2), timedelta(days=31), timedelta(days=-31)])
def test_a_wrong_clock_counts_until_the_first_answer(wrong_by: timedelta) -> None:
    clock = Clock()
    time = ServerTime(clock, lambda: NOON + wrong_by)
    assert time.now() == NOON + wrong_by

    time.hear(format_datetime(NOON, usegmt=True))
    clock.advance(60)

    assert time.now() == NOON + timedelta(seconds=60)


def test_a_clock_that_is_set_while_the_operator_runs_changes_nothing() -> None:
    clock, local = Clock(), [NOON]
    time = ServerTime(clock, lambda: local[0])
    clock.advance(60)
    local[0] += timedelta(days=31)

    assert time.now() == NOON + timedelta(seconds=60)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 12:00:00 GMT"])
def test_an_answer_that_names_no_time_changes_nothing(date: str | None) -> None:
    time = ServerTime(Clock(), lambda: NOON)

    time.hear(date)

    assert time.now() == NOON


def test_what_an_answer_takes_does_not_make_the_time_jump() -> None:
    time = ServerTime(Clock(), lambda: NOON + timedelta(milliseconds=1900))

    time.hear(format_datetime(NOON, usegmt=True))

    assert time.now() == NOON + timedelta(milliseconds=1900)


async def test_the_client_hears_the_time_of_every_answer_also_of_refusals() -> None:
    async with running() as server:
        time = ServerTime(Clock(), lambda: NOON - timedelta(days=3650))
        client = Client(server.configuration(), 2.0, server_time=time)

        with pytest.raises(NotFoundError):
            await client.get(MODELS, "llm", "tiny")

        now = parsedate_to_datetime(format_datetime(datetime.now(UTC)))
        assert abs(time.now() - now) < timedelta(hours=1)
        await client.close()
