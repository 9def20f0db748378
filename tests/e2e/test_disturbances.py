"""Whoever is killed while a run goes on: the same end, each Job once, never two trials at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from mtp_operator.api.run import MTPTuningRun, TrialCounters, TrialStatus
from mtp_operator.reconcile import trial_conversion
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Measure, Verdict

from . import harness

pytestmark = pytest.mark.alone

NAME = "demo-simulated"
TIMES_AS_FAST = 4
UNSERVED: dict[str, Any] = {"spec__serving": {"replicas": 0}}
ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"


@contextmanager
def watched(namespace: str) -> Iterator[None]:
    """Checks all along that no two trials hold a GPU, and at the end that each Job was created exactly once."""
    offset = harness.audit_offset()
    crowds: list[list[str]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            live = [
                pod["metadata"]["name"]
                for pod in harness.items("pods", namespace, "mtp-operator.dev/run")
                if pod["status"]["phase"] not in ("Succeeded", "Failed")
            ]
            if len(live) > 1:
                crowds.append(live)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join()
    assert crowds == []
    created = Counter(harness.jobs_created(namespace, offset))
    assert created
    assert max(created.values()) == 1, created


def begin(namespace: str, **changes: Any) -> None:
    """Applies the sample, to be tuned and not served; a trial takes some ten seconds."""
    harness.ensure_simulated_claim(namespace)
    harness.apply(harness.simulated(TIMES_AS_FAST, **UNSERVED, **changes), namespace)


def trial(namespace: str, *states: str, place: int = -1) -> dict[str, Any] | None:
    """The last trial (or the one at `place`) of the only run, if it is in one of these states."""
    runs = harness.items("mtptuningruns", namespace)
    trials = runs[0]["status"].get("trials", []) if runs else []
    found = trials[place] if len(trials) > place else None
    return found if found is not None and found["state"] in states else None


def trial_pod(namespace: str, *phases: str) -> dict[str, Any] | None:
    """A trial's pod in one of these phases."""
    return next((pod for pod in harness.items("pods", namespace) if pod["status"]["phase"] in phases), None)


def kill_operator() -> None:
    """Deletes the operator's pods at once, without a chance to finish."""
    selector = f"--selector=app.kubernetes.io/instance={harness.RELEASE}"
    harness.kubectl(
        "delete", "pods", "-n", harness.OPERATOR_NAMESPACE, selector, "--force", "--grace-period=0", "--wait=false"
    )


def test_tuned_and_served_although_the_operator_is_killed_ten_times(namespace: str) -> None:
    harness.ensure_simulated_claim(namespace)
    with watched(namespace):
        # Trials long enough for everything that happens within one of them, and candidates enough for ten kills: few
        # are decided on after two trials.
        harness.apply(harness.sample(NAME), namespace)
        moments: list[Callable[[], object]] = [
            lambda: True,
            lambda: harness.items("mtptuningruns", namespace),
            lambda: trial(namespace, "Planned", "Running"),
            lambda: harness.items("jobs", namespace),
            lambda: trial_pod(namespace, "Pending", "Running"),
            lambda: trial_pod(namespace, "Running"),
            lambda: trial_pod(namespace, "Succeeded"),
            lambda: trial(namespace, "Planned", "Running", place=1),
            lambda: len(harness.items("jobs", namespace)) >= 2,
        ]
        for number, moment in enumerate(moments):
            harness.wait_until(moment, f"moment {number}", lambda: harness.story(namespace, NAME))
            kill_operator()
        # The tenth moment: between a Job's end and the status that says so. A trial may end before the operator has:
        # then it is the next one's.
        running = harness.wait_until(lambda: stopped_in_a_trial(namespace), "a trial that outlives the operator")
        assert running is not None
        harness.wait_until(lambda: is_complete(namespace, running["jobName"]), "the end of the Job")
        assert trial(namespace, "Running") == running
        harness.scale_operator(1)
        model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "Selected")

    assert model["status"]["gpuProduct"] == "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
    assert model["status"]["servedNSpec"] == model["status"]["nSpec"] >= 4
    run = harness.run_of(model)
    harness.assert_unsuspected(run)
    assert_decided_by_the_trials(run)
    assert "ownerReferences" not in run["metadata"]
    assert "NSpecChosen" in harness.kubectl("describe", "mtpm", "-n", namespace)
    harness.wait_until(lambda: harness.items("jobs", namespace) == [], "no Job left")

    offset = harness.audit_offset()
    harness.restart_operator()
    harness.wait_until(lambda: watches_of_the_operator(offset) >= {"deployments", "pods"}, "it watches again")
    time.sleep(10)
    assert writes_of_the_operator(offset) <= {("create", "leases"), ("update", "leases")}


def stopped_in_a_trial(namespace: str) -> dict[str, Any] | None:
    """Ends the operator while a trial runs: the trial, as the operator's last word has it; None if it ended first."""
    if trial(namespace, "Running") is None:
        return None
    harness.scale_operator(0)
    running = trial(namespace, "Running")
    if running is None or is_complete(namespace, running["jobName"]):
        harness.scale_operator(1)
        return None
    return running


def assert_decided_by_the_trials(document: dict[str, Any]) -> None:
    """Each trial, and the verdict, is what the tuner says of the trials before it: no kill had a part in a decision."""
    run = MTPTuningRun.model_validate(document)
    spec, trials = run.spec, run.status.trials

    def decision(known: Sequence[TrialStatus]) -> Measure | Verdict:
        counters = TrialCounters(gpu_seconds=sum(trial.gpu_seconds or 0 for trial in known))
        settings = trial_conversion.tuner_settings(spec, known, counters)
        return next_step(trial_conversion.tuner_arms(known, spec.objective, spec.speculation.method), settings)

    for place, trial in enumerate(trials):
        step = decision(trials[:place])
        assert isinstance(step, Measure)
        assert (step.n_spec, step.boot, step.why) == (trial.n_spec, trial.repeat, trial.rationale)
    verdict = decision(trials)
    assert isinstance(verdict, Verdict)
    assert trial_conversion.verdict_status(verdict, trials, spec) == run.status.verdict


def is_complete(namespace: str, job_name: str) -> bool:
    """Whether a Job has ended well."""
    return harness.condition(harness.get("jobs", namespace, job_name), "Complete").get("status") == "True"


def writes_of_the_operator(offset: int) -> set[tuple[str, str]]:
    """Verb and resource of everything that the operator has written since."""
    return {
        (entry["verb"], entry["objectRef"]["resource"])
        for entry in harness.audit(offset)
        if entry["user"]["username"] == ACCOUNT and entry["verb"] not in ("get", "list", "watch")
    }


def watches_of_the_operator(offset: int) -> set[str]:
    """What the operator lists or watches since."""
    return {
        entry["objectRef"]["resource"]
        for entry in harness.audit(offset)
        if entry["verb"] in ("list", "watch") and entry["user"]["username"].endswith(f":{harness.RELEASE}")
    }


def test_trials_deleted_by_force_and_a_second_replica_that_takes_over(namespace: str) -> None:
    harness.scale_operator(2)
    try:
        with watched(namespace):
            begin(namespace, spec__tuning__maxNSpec=2, spec__tuning__budget__maxTrials=3)
            pod = harness.wait_until(lambda: trial_pod(namespace, "Running"), "a running trial")
            assert pod is not None
            harness.kubectl("delete", "pod", pod["metadata"]["name"], "-n", namespace, "--force", "--grace-period=0")

            second = harness.wait_until(lambda: trial(namespace, "Running", place=1), "the second trial")
            assert second is not None
            harness.kubectl("delete", "job", second["jobName"], "-n", namespace, "--wait=false")

            lease = harness.get("leases", harness.OPERATOR_NAMESPACE, "mtp-operator")
            assert lease is not None
            holder = lease["spec"]["holderIdentity"].split("_")[0]
            harness.kubectl("delete", "pod", holder, "-n", harness.OPERATOR_NAMESPACE, "--force", "--grace-period=0")
            model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "")
            run = harness.run_of(model)
    finally:
        harness.scale_operator(1)
    assert run["status"]["counters"]["lost"] == 2
    assert run["status"]["counters"]["failed"] == 0


def test_model_deleted_while_the_operator_is_down(namespace: str) -> None:
    begin(namespace)
    harness.wait_until(lambda: trial_pod(namespace, "Running"), "a running trial")
    harness.scale_operator(0)
    try:
        begun = time.monotonic()
        harness.kubectl("delete", "mtpm", NAME, "-n", namespace)
        assert time.monotonic() - begun < 5
        for kind in ("mtptuningruns", "jobs", "pods"):
            harness.wait_until(lambda kind=kind: harness.items(kind, namespace) == [], f"no {kind} left")  # type: ignore[misc]
    finally:
        harness.scale_operator(1)


def test_pin_in_the_middle_of_a_run(namespace: str) -> None:
    begin(namespace)
    harness.wait_until(lambda: trial_pod(namespace, "Running"), "a running trial")
    begin(namespace, spec__speculation={"method": "MTP", "nSpec": 1})
    model = harness.wait_for_condition(namespace, NAME, "Ready", "True", "Pinned")
    assert model["status"]["nSpec"] == 1
    harness.wait_until(lambda: harness.items("pods", namespace) == [], "no trial left")
