"""Each fault of an engine meets its outcome, says so, and leaves the other trials of its run unharmed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.cluster.images import IMAGES

from . import harness

pytestmark = [pytest.mark.usefixtures("faults"), pytest.mark.alone]

NAMESPACE = "faults"
LLAMACPP, SIMULATED = "demo-llamacpp", "demo-simulated"
FAULTY_ENGINES = {LLAMACPP: IMAGES["faulty-engine"].reference, SIMULATED: IMAGES["faulty-simulated-gpu"].reference}
TOKENS = 64
TIMES_AS_FAST = 8
"""As its curve is the simulated GPU: about as fast as llama.cpp is with our small model."""

READY_SECONDS = 60
"""Until a completion has worked: enough for an engine without a fault on a busy machine; one that hangs is given it."""

SCORED = {LLAMACPP: 256, SIMULATED: 1024}
"""Tokens of the output that are scored: of few answers, where the server works at one at a time and says so."""

LIMITS = {"default": {"memory": "768Mi"}, "defaultRequest": {"memory": "64Mi"}}
"""Of a container that states none: the engine does not."""


class Expected(NamedTuple):
    """What becomes of the trial whose engine has the fault."""

    state: str
    reason: str | None
    words: tuple[str, ...] = ()
    """In its message."""
    warnings: tuple[str, ...] = ()
    """What was tolerated."""


TOLERATED = {
    "FirstRequestsSlow": Expected("Measured", None),
    "UsageMissing": Expected("Measured", None, warnings=("UsageMissing",)),
    "MetricsMissing": Expected("Measured", None, warnings=("MetricsMissing", "DraftsFromAnswers")),
    "TokensBunched": Expected("Measured", None, warnings=("LatenciesUnmeasurable",)),
}

DISQUALIFIED = {
    "SpeculationDropped": Expected("Failed", "SpeculationNotEngaged", ("counted no draft",)),
    "DrafterUseless": Expected("Failed", "AcceptanceTooLow", ("0.0% of the drafts", "does not fit the model")),
    "TokensReplaced": Expected("Failed", "OutputChanged", ("256 tokens are not what the model says", "instead of")),
    "TextAltered": Expected("Failed", "OutputChanged", ("are not the text of their own tokens", "comes 'oops")),
    "OutOfMemory": Expected("Failed", "OOMKilled", ("more memory than its limit",)),
    "CrashAtStart": Expected("Failed", "EngineCrashed", ("exited with code 3", "cannot speculate with this model")),
    "RequestsFail": Expected("Failed", "RequestsFailed", ("HTTP 500",)),
    "StreamsCut": Expected("Failed", "StreamsCut", ("answers broke off", "the answer is cut")),
    "Sinking": Expected("Failed", "Unstable", ("throughput sank", "in both attempts")),
    "HangAfterHealth": Expected("Failed", "NotReady", ("it is healthy, but a completion of 64 tokens did not finish",)),
}

DOUBTED = {
    "CountersMissing": Expected("Measured", "SpeculationUnverified", ("nothing proves", "spec.speculation.nSpec")),
    "DiesWhileScoring": Expected("Measured", "OutputUnverified", ("ended while its output was checked",)),
}

BUNCHED_WITH_LIMIT = "TokensBunched-with-limit"

EXPECTED = {
    **TOLERATED,
    **DISQUALIFIED,
    **DOUBTED,
    BUNCHED_WITH_LIMIT: Expected("Failed", "Unmeasurable", ("P95TimeToFirstToken", "withholds tokens")),
}


RUNS: tuple[tuple[str, dict[int, str]], ...] = (
    # What is judged by what this engine alone has: its counters in answers, its log-probabilities, a drafter that it
    # can pretend to be useless. A trial that does not count ends no run: the next n has the next fault.
    (LLAMACPP, {1: "SpeculationDropped", 2: "DrafterUseless", 3: "TokensReplaced", 4: "TextAltered"}),
    (LLAMACPP, {0: "TokensBunched", 1: "MetricsMissing"}),
    # What the simulated GPU is late with comes at once, as if it had withheld it.
    (LLAMACPP, {1: BUNCHED_WITH_LIMIT}),
    # vLLM's metrics have counters of drafts: where it says nothing of them there were none.
    (LLAMACPP, {1: "CountersMissing"}),
    (SIMULATED, {0: "FirstRequestsSlow", 1: "UsageMissing"}),
    (SIMULATED, {1: "OutOfMemory", 2: "CrashAtStart", 3: "RequestsFail", 4: "StreamsCut"}),
    (SIMULATED, {1: "Sinking"}),
    (SIMULATED, {1: "HangAfterHealth"}),
    (SIMULATED, {1: "DiesWhileScoring"}),
)
"""A sample, and which n of its engine has which fault in one model."""


def model_name(faults: dict[int, str]) -> str:
    """The model whose engine has these faults."""
    return faults[1].lower()


def model(sample: str, faults: dict[int, str]) -> dict[str, Any]:
    """Each n is measured once."""
    objective, tokens = {}, TOKENS
    if BUNCHED_WITH_LIMIT in faults.values():
        # Long enough for no pause of a busy machine to bunch what n=0 says.
        tokens = 8 * TOKENS
        limit = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": 10_000}
        objective = {"objective": {"constraints": [limit]}}
    planted = [f"--plant={fault.partition('-')[0]}:{n}" for n, fault in faults.items()]
    changes = {
        "metadata__name": model_name(faults),
        "spec__engine__image": FAULTY_ENGINES[sample],
        "spec__serving": {"replicas": 0},
        "spec__tuning": {
            "maxNSpec": max(faults),
            "budget": {"maxTrials": max(faults) + 1},
            "workload": {
                "prompts": {"builtIn": ["Chat"]},
                "outputTokens": tokens,
                "levels": [{"concurrency": 1}],
                "sampling": {"mode": "Greedy"},
            },
            **objective,
        },
    }
    is_simulated = sample == SIMULATED
    document = harness.simulated(TIMES_AS_FAST, **changes) if is_simulated else harness.sample(sample, **changes)
    if not is_simulated:
        # One thread works all the time, and on a node with two cores there is room for two of them.
        document["spec"]["template"]["resources"] = {"requests": {"cpu": "700m"}}
    engine = document["spec"]["engine"]
    engine["extraArgs"] = [*engine.get("extraArgs", ()), *planted]
    return document


@pytest.fixture(scope="module")
def faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """All models at once: they take turns at the node's GPUs."""
    request.getfixturevalue("operator")
    harness.install_tested_operator(level_seconds=5, ready_seconds=READY_SECONDS)
    harness.ensure_namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
    harness.ensure_model_claim(NAMESPACE, folder=harness.small_model_folder())
    ranges = {"limits": [{"type": "Container", **LIMITS}]}
    harness.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "engine"}, "spec": ranges}, NAMESPACE)
    harness.ensure_simulated_claim(NAMESPACE)
    harness.apply({"apiVersion": "v1", "kind": "List", "items": list(itertools.starmap(model, RUNS))}, NAMESPACE)
    yield
    harness.clear(NAMESPACE)
    harness.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    harness.install_tested_operator()


def finished_run(faults: dict[int, str]) -> dict[str, Any]:
    """The run of a model, once it has its verdict."""
    name = model_name(faults)

    def read() -> dict[str, Any] | None:
        runs = harness.items("mtptuningruns", NAMESPACE)
        mine = (run for run in runs if run["spec"]["modelName"] == name)
        return next((run for run in mine if "verdict" in run.get("status", {})), None)

    run = harness.wait_until(read, f"a verdict on {name}", lambda: harness.story(NAMESPACE, name))
    assert run is not None
    return run


def trials_of(fault: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trial of n=0 and that with the fault, of a finished run."""
    faults, at = next((faults, n) for _, faults in RUNS for n, planted in faults.items() if planted == fault)
    trials = {trial["nSpec"]: trial for trial in finished_run(faults)["status"]["trials"]}
    assert set(trials) == set(range(max(faults) + 1))
    return trials[0], trials[at]


@pytest.mark.parametrize("fault", EXPECTED)
def test_fault(fault: str) -> None:
    expected = EXPECTED[fault]
    _, found = trials_of(fault)
    assert (found["state"], found.get("reason")) == (expected.state, expected.reason), found
    for words in expected.words:
        assert words in found["message"]
    for warning in expected.warnings:
        assert any(one.startswith(f"{warning}: ") for one in found["warnings"])
    if expected.state == "Measured":
        (level,) = found["levels"]
        assert level["outputTokens"] == TOKENS * level["requests"]


@pytest.mark.parametrize(
    ("sample", "faults"),
    [pytest.param(*one, id=model_name(one[1])) for one in RUNS if 0 not in one[1]],
)
def test_without_a_sound_trial_speculation_stays_off(sample: str, faults: dict[int, str]) -> None:
    run = finished_run(faults)
    assert_unharmed(run["status"]["trials"][0], run["spec"]["workload"]["outputTokens"], SCORED[sample])
    verdict = run["status"]["verdict"]
    assert (verdict["type"], verdict["nSpec"]) == ("SpeculationOff", 0)


def assert_unharmed(trial: dict[str, Any], tokens: int, positions: int) -> None:
    """Measured and checked as if there were no faults at all."""
    assert trial["nSpec"] == 0
    assert (trial["state"], trial.get("reason")) == ("Measured", None), trial.get("message")
    (level,) = trial["levels"]
    assert level["outputTokens"] == tokens * level["requests"]
    assert not level.get("drafts")
    check = trial["outputCheck"]
    assert (check["status"], check["positions"]) == ("Scored", positions)
    assert (check["violations"], check["alteredTexts"]) == (0, 0)
    assert check["jsonSchema"] == "Passed"


def test_slow_first_requests_do_not_count() -> None:
    _, trial = trials_of("FirstRequestsSlow")
    (level,) = trial["levels"]

    # Two requests make a pass; those of the first pass are slow, and belong to no level that was measured again.
    again = any(warning.startswith("ThroughputSank: ") for warning in trial["warnings"])
    assert again or len(level["windows"]) < level["requests"] // 2


def test_latencies_that_cannot_be_told_are_not_told() -> None:
    _, trial = trials_of("TokensBunched")
    (level,) = trial["levels"]

    assert "withholds tokens" in level["unmeasurable"]
    assert "timeToFirstToken" not in level
    assert "requestLatency" in level


def test_a_drifting_trial_is_repeated_once() -> None:
    _, trial = trials_of("Sinking")

    assert trial["attempt"] == 1


def test_sound_speculation_is_not_suspected() -> None:
    """n=0 has no counters; at n=1 all of them agree."""
    control, trial = trials_of("UsageMissing")

    assert "acceptanceLength" not in control
    (level,) = trial["levels"]
    assert level["drafts"] > 0
    assert trial["outputCheck"]["violations"] == 0
