"""The chaos tests see what they are there for: each bug that is planted here must make them fail."""

from typing import Any

import pytest

from mtp_operator.runtime.api_client import JOBS, PODS, Body, Client, Resource, TransientError
from mtp_operator.runtime.lease import Lease
from mtp_operator.runtime.mirror import Mirror
from mtp_operator.runtime.queue import WorkQueue

from .faults import Fault, Kind
from .life import live

SEED = 0


def violations(*faults: Fault) -> list[str]:
    """What lives of the broken operator have that an undisturbed one of the real operator has not."""
    return [one for fault in faults for one in live(fault, SEED).violations(UNDISTURBED, fault)]


UNDISTURBED = live(Fault(), SEED)


def test_a_create_that_is_repeated_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Client.create

    async def create_again(self: Client, resource: Resource, body: Body) -> dict[str, Any]:
        try:
            return await create(self, resource, body)
        except TransientError:
            if resource is not JOBS:
                raise
            again = {**body["metadata"], "name": body["metadata"]["name"] + "-again"}
            return await create(self, resource, {**body, "metadata": again})

    monkeypatch.setattr(Client, "create", create_again)

    found = violations(Fault(Kind.TIMEOUT, first_tries=True))

    assert any("-again was created 1 times, not 0" in one for one in found)


def test_a_timer_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkQueue, "add_after", lambda *_: None)

    assert any("not within" in one for one in violations(Fault()))


def test_news_that_wake_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Mirror.seen

    def seen_in_silence(self: Mirror, resource: Resource, body: Body) -> None:
        if resource not in (JOBS, PODS):
            seen(self, resource, body)
            return
        self._cache.watched(resource, body)
        list(self._cache.take_changed())

    monkeypatch.setattr(Mirror, "seen", seen_in_silence)

    assert any("longer" in one or "not within" in one for one in violations(Fault()))


def test_a_process_that_stood_still_writes_without_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "is_held", lambda _: True)

    found = violations(*(Fault(Kind.PAUSED, at) for at in range(0, UNDISTURBED.writes, 9)))

    assert any("held the Lease" in one for one in found)
