"""At every moment of a life pipelines know whether to wait: kstatus (Flux, Helm, kpt) and Argo CD."""

from __future__ import annotations

import itertools

import pytest

from tests.gitops.judges import argo_health, kstatus
from tests.gitops.lives import LIVES, State, states

SERVED = ["InProgress", "Current"]
ENDS = {
    "tuned and served": SERVED,
    "baseline first": SERVED,
    "changed to what cannot be tuned": [*SERVED, "InProgress", "Failed"],
    "advised then pinned": [*SERVED, *SERVED],
    "pinned": SERVED,
    "only tuned": SERVED,
    "scaled after that": [*SERVED, *SERVED],
    "measured again": [*SERVED, *SERVED],
    "nothing measured": ["InProgress", "Failed"],
    "repaired after that": ["InProgress", "Failed", "InProgress", "Current"],
    "suspended before it was tuned": ["InProgress", "Failed"],
    "settings that cannot work": ["InProgress", "Failed"],
}
"""Life -> what kstatus says of the model, one word for each stretch of the same."""

ARGO_OF = {"InProgress": "Progressing", "Current": "Healthy", "Failed": "Degraded"}

ALL = [(life, kind) for life in LIVES for kind in ("MTPModel", "MTPTuningRun")]


def stretches(words: list[str]) -> list[str]:
    return [word for word, _ in itertools.groupby(words)]


def condition(state: State, type_: str) -> State:
    conditions = state["status"].get("conditions", ())
    found: State = next((one for one in conditions if one["type"] == type_), {})
    return found


def test_every_life_is_judged() -> None:
    assert ENDS.keys() == LIVES.keys()


@pytest.mark.parametrize("life", LIVES)
def test_kstatus_follows_a_models_life(life: str) -> None:
    assert stretches([status for status, _ in kstatus(states(life, "MTPModel"))]) == ENDS[life]


@pytest.mark.parametrize(("life", "kind"), ALL)
def test_kstatus_calls_nothing_done_that_the_operator_has_not_seen(life: str, kind: str) -> None:
    """Between `kubectl apply` and the first status, and after each change of the spec."""
    unseen = [
        one for one in states(life, kind) if one["status"].get("observedGeneration") != one["metadata"]["generation"]
    ]

    assert {status for status, _ in kstatus(unseen)} <= {"InProgress"}
    assert {status for status, _ in argo_health(unseen)} <= {"Progressing"}


@pytest.mark.parametrize(("life", "kind"), ALL)
def test_kstatus_and_argo_agree_on_every_state(life: str, kind: str) -> None:
    seen = states(life, kind)

    for state, (judged, _), (health, _) in zip(seen, kstatus(seen), argo_health(seen), strict=True):
        is_suspended = condition(state, "Ready").get("reason") == "Suspended" and judged == "Failed"
        assert health == ("Suspended" if is_suspended and kind == "MTPModel" else ARGO_OF[judged])


@pytest.mark.parametrize("life", ["nothing measured", "settings that cannot work"])
def test_a_failure_says_why(life: str) -> None:
    last = states(life, "MTPModel")[-1]
    why = condition(last, "Stalled")["message"]

    assert why
    assert kstatus([last])[0] == ("Failed", why)
    assert why in argo_health([last])[0][1]


@pytest.mark.parametrize(("life", "kind"), ALL)
def test_no_state_is_reconciling_and_stalled_at_once(life: str, kind: str) -> None:
    for state in states(life, kind):
        holds = {
            type_ for type_ in ("Ready", "Reconciling", "Stalled") if condition(state, type_).get("status") == "True"
        }
        assert len(holds) == (1 if state["status"].get("conditions") else 0)


def test_a_model_that_serves_is_not_waited_for_again_while_it_is_measured_again() -> None:
    seen = states("measured again", "MTPModel")
    served = next(number for number, (status, _) in enumerate(kstatus(seen)) if status == "Current")

    later = [
        state for state in seen[served:] if state["status"]["observedGeneration"] == state["metadata"]["generation"]
    ]

    assert {status for status, _ in kstatus(later)} == {"Current"}
    assert "Tuning" in {condition(state, "Ready")["reason"] for state in later}
