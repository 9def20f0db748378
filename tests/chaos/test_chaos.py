"""Whatever goes wrong at whatever write, a model's life ends as if nothing had: no trial twice, no server restarted."""

from functools import cache

import pytest

from .faults import ANSWERS, Fault, Kind
from .life import Outcome, live

SEEDS = (0, 1, 2)
"""Of delays and of the order of news; each strikes at writes of its own."""

KILLS = (Kind.KILLED_BEFORE, Kind.KILLED_AFTER)
REFUSALS = (*ANSWERS, Kind.TIMEOUT)


@cache
def undisturbed(seed: int) -> Outcome:
    return live(Fault(), seed)


def check(fault: Fault, seed: int) -> list[str]:
    return [f"{fault}: {one}" for one in live(fault, seed).violations(undisturbed(seed), fault)]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_undisturbed_life_makes_everything_once_in_whatever_order_news_come(seed: int) -> None:
    outcome = undisturbed(seed)

    assert outcome.wrong == []
    assert set(outcome.created.values()) == {1}
    assert outcome.violations(undisturbed(0), Fault()) == []
    assert (len(outcome.templates), outcome.server_pods) == (2, 2)
    assert len(outcome.created) == len(("fetch", "run", "n0", "n0 again", "n2", "n1", "run", "n0", "n2"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.NONE], ids=lambda kind: kind.name)
def test_a_fault_at_any_write_changes_nothing_of_how_it_ends(kind: Kind, seed: int) -> None:
    each = 3 if kind in KILLS else 6 if kind in REFUSALS else 15
    wrong = []
    for at in range(seed * each // 3, undisturbed(seed).writes, each):
        wrong += check(Fault(kind, at), seed)

    assert wrong == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("every", [5, 13])
@pytest.mark.parametrize("kind", KILLS, ids=lambda kind: kind.name)
def test_the_operator_may_be_killed_again_and_again(kind: Kind, every: int, seed: int) -> None:
    assert check(Fault(kind, every=every), seed) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.name)
def test_the_first_try_of_every_write_may_fail(kind: Kind, seed: int) -> None:
    assert check(Fault(kind, first_tries=True), seed) == []
