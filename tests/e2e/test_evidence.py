"""Evidence outlives its run: whatever is asked next of the same engine and load, no boot is made a second time."""

from __future__ import annotations

from typing import Any

from . import harness

NAME = "demo-simulated"


def asked(name: str = NAME, **changes: Any) -> dict[str, Any]:
    """The sample with few candidates and boots that take seconds, tuned and not served."""
    few = {"spec__tuning__maxNSpec": 3, "spec__serving": {"replicas": 0}}
    return harness.simulated(6, metadata__name=name, **{**few, **changes})


def next_run(namespace: str, document: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Applies the model; the run that answers what it asks, once it has its verdict. `known` runs are none."""
    harness.apply(document, namespace)

    def finished() -> dict[str, Any] | None:
        runs = harness.items("mtptuningruns", namespace)
        new = (run for run in runs if run["metadata"]["name"] not in known)
        return next((run for run in new if "verdict" in run.get("status", {})), None)

    name = document["metadata"]["name"]
    found = harness.wait_until(finished, "another run with a verdict", lambda: harness.story(namespace, name))
    assert found is not None
    return found


def test_no_boot_is_made_twice_whatever_is_asked_next(namespace: str) -> None:
    harness.ensure_simulated_claim(namespace)
    offset = harness.audit_offset()
    # The one latency that a trial always has: on a busy machine, tokens this fast may arrive in lumps.
    limit = {"metric": "P95RequestLatency", "concurrency": 1, "maxMilliseconds": 100_000}
    more = {"maxTrials": 12}
    asks = [
        asked(spec__tuning__budget={"maxTrials": 1}),
        asked(spec__tuning__budget=more),
        asked(spec__tuning__budget=more, spec__tuning__maxNSpec=2),
        asked(spec__tuning__budget=more, spec__tuning__workload__levels=[{"concurrency": 1, "weight": 3}]),
        asked(spec__tuning__budget=more, spec__tuning__objective={"constraints": [limit]}),
        asked(spec__tuning__budget=more, spec__model__servedName="renamed"),
        asked("second", spec__tuning__budget=more, spec__tuning__historyLimit=7),
    ]
    # Kept, all of them: a run that is collected takes its evidence with it.
    for document in asks:
        document["spec"]["tuning"]["historyLimit"] = 7

    runs: dict[str, dict[str, Any]] = {}
    booted: set[str] = set()
    measured: dict[str, int] = {}
    for document in asks:
        run = next_run(namespace, document, runs)
        runs[run["metadata"]["name"]] = run
        trials = run["status"]["trials"]
        adopted = {trial["jobName"] for trial in trials if trial.get("adoptedFrom")}
        largest = run["spec"]["maxNSpec"]
        # A failure may count for nothing: where n=0 has none but failures, say.
        assert adopted >= {job for job, n_spec in measured.items() if n_spec <= largest}, (trials, measured)
        new = [trial for trial in trials if trial["jobName"] not in adopted]
        booted |= {trial["jobName"] for trial in new}
        measured |= {trial["jobName"]: trial["nSpec"] for trial in new if trial["state"] == "Measured"}

    verdicts = [run["status"]["verdict"] for run in runs.values()]
    assert verdicts[0]["reason"] == "BudgetExhausted"
    assert {verdict["type"] for verdict in verdicts[1:]} == {"Selected"}, verdicts
    created = harness.jobs_created(namespace, offset)
    assert len(created) == len(set(created))
    # A trial that is lost or drifts is repeated, under another name.
    first_attempts = {name for name in created if name.endswith("-a0")}
    assert first_attempts == {f"{name.rpartition('-a')[0]}-a0" for name in booted}
