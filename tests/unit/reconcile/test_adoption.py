"""Evidence outlives its run: no boot that has been made is made again."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.api.trial_documents import Latencies, LatencySummary, TrialResult
from mtp_operator.reconcile.run import adopt
from mtp_operator.resources.labels import MEASUREMENT_LABEL

from .givens import NODE, SPEEDS, disqualified, model_body, result
from .world import World

TWO_LEVELS = {"type": "VLLM", "vllm": {"maxNumSeqs": 8}}
"""What the engine decodes together: concurrency 1 and 8 are measured."""


MEAN_DECIDES = {"slowerLevels": "Allow"}


def newest(world: World) -> dict[str, Any]:
    """The run that was made last."""
    return list(world.runs.values())[-1]


def boots(run: dict[str, Any]) -> set[str]:
    """The Jobs of the trials that a run has measured or taken over."""
    return {trial["jobUID"] for trial in run["status"]["trials"] if trial["state"] == "Measured"}


def own(run: dict[str, Any]) -> list[int]:
    """The n that a run has booted itself, in order."""
    return [trial["nSpec"] for trial in run["status"]["trials"] if "adoptedFrom" not in trial]


def two_levels(n_spec: int) -> TrialResult:
    """Alone n=3 is best; eight at a time n=0 is. Time to first token: 95 % within 300 ms, 99 % within 900 ms."""
    alone = result(n_spec, SPEEDS[n_spec]).levels[0]
    together = {"concurrency": 8, "windows": tuple(400 / (1 + n_spec / 4) * f for f in (0.995, 1.0, 1.005, 1.0))}
    told = Latencies(
        time_to_first_token=LatencySummary(mean=150, p50=100, p95=300, p99=900),
        time_per_output_token=LatencySummary(mean=10, p50=10, p95=12, p99=15),
        request_latency=LatencySummary(mean=900, p50=900, p95=1500, p99=2000),
    )
    levels = [alone, alone.model_copy(update=together)]
    return result(n_spec, SPEEDS[n_spec]).replace(
        levels=tuple(level.model_copy(update={"requests": 200, "latencies": told}) for level in levels)
    )


def one_level(n_spec: int) -> TrialResult:
    return result(n_spec, SPEEDS[n_spec])


def finish(world: World, measure: Callable[[int], TrialResult] = one_level) -> World:
    """All trials run to a good end."""
    world.settle()
    for _ in range(60):
        if not any(not job["status"].get("conditions") for job in world.jobs.values()):
            return world
        job = world.open_job()
        pod = world.start_pod(job)
        world.settle()
        world.tick(30)
        world.end_bench(pod, 0, measure(int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])).encode())
        world.settle()
    raise AssertionError("the run does not end")


@functools.cache
def _tuned() -> World:
    return finish(World())


@functools.cache
def _tuned_at_two_levels() -> World:
    tuning = {"maxNSpec": 6, "objective": MEAN_DECIDES}
    return finish(World(model_body(engine=TWO_LEVELS, tuning=tuning)), two_levels)


def tuned() -> World:
    return copy.deepcopy(_tuned())


def test_a_raised_budget_goes_on_where_the_old_one_ended() -> None:
    world = finish(World(model_body(tuning={"maxNSpec": 6, "budget": {"maxTrials": 3}})))
    before = newest(world)
    assert before["status"]["verdict"]["reason"] == "BudgetExhausted"

    world.change_spec(tuning={"maxNSpec": 6, "budget": {"maxTrials": 24}})
    finish(world)
    after = newest(world)

    assert after["metadata"]["name"] != before["metadata"]["name"]
    assert boots(before) < boots(after)
    assert after["status"]["counters"]["measured"] == len(own(after)) > 0
    assert world.model is not None
    assert (world.model["status"]["nSpec"], world.model_condition("Ready")["status"]) == (3, "True")
    (said,) = [message for reason, message in world.events if reason == "TrialsAdopted"]
    assert said.startswith(f"3 trials of MTPTuningRun {before['metadata']['name']} reused")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"tuning": {"maxNSpec": 6, "budget": {"maxTrials": 40}}}, id="more trials"),
        pytest.param({"tuning": {"maxNSpec": 6, "budget": {"maxTrials": 2}}}, id="fewer trials"),
        pytest.param({"model": {"uri": "pvc://weights/gemma", "servedName": "other"}}, id="another served name"),
    ],
)
def test_what_changes_no_measurement_boots_nothing(change: dict[str, Any]) -> None:
    world = tuned()
    before = newest(world)

    world.change_spec(**change)
    world.settle()

    after = newest(world)
    assert after is not before
    assert own(after) == []
    assert after["status"]["verdict"]["type"] == "Selected"
    assert {trial["adoptedFrom"] for trial in after["status"]["trials"]} == {before["metadata"]["name"]}
    assert world.model_condition("Ready")["status"] == "True"


def test_a_narrower_search_boots_only_what_was_never_booted() -> None:
    world = tuned()
    known = {trial["nSpec"] for trial in newest(world)["status"]["trials"]}

    world.change_spec(tuning={"maxNSpec": 4})
    finish(world)

    assert known.isdisjoint(own(newest(world)))
    assert newest(world)["status"]["verdict"]["nSpec"] == 3


def test_levels_that_may_be_slower_no_more_change_the_choice_and_boot_nothing() -> None:
    world = copy.deepcopy(_tuned_at_two_levels())
    assert newest(world)["status"]["verdict"]["nSpec"] == 3

    world.change_spec(tuning={"maxNSpec": 6})
    finish(world, two_levels)

    assert set(own(newest(world))) <= {0}
    assert newest(world)["status"]["verdict"]["type"] == "SpeculationOff"


def test_other_weights_change_the_choice_and_boot_nothing() -> None:
    world = copy.deepcopy(_tuned_at_two_levels())
    levels = [{"concurrency": 1, "weight": 1}, {"concurrency": 8, "weight": 100}]
    before = newest(world)

    world.change_spec(tuning={"maxNSpec": 6, "objective": MEAN_DECIDES, "workload": {"levels": levels}})
    world.settle()

    after = newest(world)
    assert own(after) == []
    assert after["status"]["verdict"]["type"] == "SpeculationOff" != before["status"]["verdict"]["type"]
    speeds = [
        next(trial["outputTokensPerSecond"] for trial in run["status"]["trials"] if trial["nSpec"] == 0)
        for run in (before, after)
    ]
    assert speeds[0] != speeds[1]


@pytest.mark.parametrize(("milliseconds", "n_spec"), [(2000, 3), (200, 0)])
def test_other_limits_are_judged_by_the_quantiles_that_were_kept(milliseconds: int, n_spec: int) -> None:
    world = copy.deepcopy(_tuned_at_two_levels())
    limit = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": milliseconds}

    world.change_spec(tuning={"maxNSpec": 6, "objective": {**MEAN_DECIDES, "constraints": [limit]}})
    world.settle()

    assert own(newest(world)) == []
    assert newest(world)["status"]["verdict"]["nSpec"] == n_spec


def test_a_limit_whose_latency_was_not_kept_is_measured() -> None:
    world = tuned()
    limit = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": 800}

    world.change_spec(tuning={"maxNSpec": 6, "objective": {"constraints": [limit]}})
    world.settle()

    assert own(newest(world)) == [0]
    assert len(newest(world)["status"]["trials"]) == 1


def neighbour(world: World, name: str = "second", **spec: Any) -> World:
    """Another model of the namespace, beside the runs of this one."""
    other = World(model_body(name, **spec))
    other.now = world.now
    other.uids = itertools.count(1000)
    other.relatives = list(world.runs.values())
    return other


def test_a_second_model_of_the_same_weights_boots_nothing() -> None:
    other = neighbour(tuned())
    other.settle()

    assert own(other.run()) == []
    assert other.jobs == {}
    assert other.model is not None
    assert other.model["status"]["nSpec"] == 3


def test_runs_that_have_finished_no_trial_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of models that begin at once would read each other's runs in vain."""
    read: list[str] = []
    monkeypatch.setattr(adopt, "view_run", lambda body: read.append(body["metadata"]["name"]))
    world = tuned()
    for trial in newest(world)["status"]["trials"]:
        trial["state"] = "Running"

    other = neighbour(world)
    other.settle()

    assert own(other.run()) != []
    assert read == []


def test_a_model_that_is_renamed_boots_nothing() -> None:
    world = tuned()
    world.model = None
    world.tick(60)
    world.settle()

    renamed = neighbour(world, "gemma-prod")
    renamed.settle()

    assert own(renamed.run()) == []
    assert renamed.model is not None
    assert renamed.model["status"]["nSpec"] == 3


def test_a_run_that_is_given_up_leaves_its_trials_to_the_next() -> None:
    world = World()
    world.settle()
    for _ in range(2):
        world.run_trial()
        world.settle()
    before = newest(world)
    world.change_spec(tuning={"maxNSpec": 6, "suspend": True})
    world.settle()
    world.change_spec(tuning={"maxNSpec": 6})
    world.settle()
    after = newest(world)

    assert before["status"]["verdict"]["type"] == "Superseded"
    assert (before["spec"]["epoch"], after["spec"]["epoch"]) == (0, 1)
    assert boots(before) == boots(after)
    assert len(own(after)) == 1
    finish(world)
    assert newest(world)["status"]["verdict"]["type"] == "Selected"


def _newer_bench(world: World) -> None:
    world.settings = type(world.settings)(engine_images=world.settings.engine_images, bench_image="operator:2")


def _label(name: str, value: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        labels = {**NODE["metadata"]["labels"], name: value}  # type: ignore[dict-item]
        world.nodes = [{"metadata": {"name": "node-a", "labels": labels}}]

    return change


@pytest.mark.parametrize(
    ("spec", "change"),
    [
        pytest.param({"engine": {"type": "VLLM", "vllm": {"maxNumSeqs": 1, "maxModelLen": 4096}}}, None, id="engine"),
        pytest.param({"model": {"uri": "pvc://weights/other"}}, None, id="weights"),
        pytest.param({"tuning": {"maxNSpec": 6, "workload": {"outputTokens": 64}}}, None, id="load"),
        pytest.param({"tuning": {"maxNSpec": 6, "retuneRequest": 1}}, None, id="asked to measure again"),
        pytest.param({}, _newer_bench, id="another bench"),
        pytest.param({}, lambda world: world.nodes.clear(), id="node is gone"),
        pytest.param({}, _label("nvidia.com/cuda.driver-version.full", "590.1"), id="another driver"),
        pytest.param({}, _label("nvidia.com/gpu.product", "NVIDIA-B200"), id="another GPU"),
    ],
)
def test_what_measured_something_else_is_not_taken_over(
    spec: dict[str, Any], change: Callable[[World], None] | None
) -> None:
    other = neighbour(tuned(), **spec)
    other.nodes = [NODE]
    if change is not None:
        change(other)
    other.settle()

    assert own(other.run()) == [0]


def forged(**changes: Any) -> dict[str, Any]:
    """A run as the operator made it for the same model under another name, but for these fields."""
    run = copy.deepcopy(newest(tuned()))
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = run
        for parent in parents:
            at = at[parent]
        at[last] = value
    return run


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(forged(metadata__name="gemma-0123456789"), id="a name of its own"),
        pytest.param(forged(spec__maxNSpec=5), id="other settings than its hash"),
        pytest.param(forged(status__verdict=None), id="no verdict and no owner"),
        pytest.param(forged(metadata__labels={MEASUREMENT_LABEL: "0" * 16}), id="another label"),
        pytest.param(forged(metadata__labels="none"), id="odd labels"),
        pytest.param(forged(status__trials=7), id="odd trials"),
        pytest.param(forged(status__trials={"measured": 4}), id="trials of an older version"),
        pytest.param(forged(status__observed={"node": "node-b"}), id="a node that is not there"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_run_that_the_operator_did_not_make_is_not_taken_over(run: dict[str, Any]) -> None:
    other = World(model_body("second"))
    other.relatives = [run]
    other.settle()

    assert own(other.run()) == [0]
    assert len(other.run()["status"]["trials"]) == 1


def test_a_speed_that_cannot_be_is_no_evidence_and_stops_nothing() -> None:
    run = copy.deepcopy(newest(tuned()))
    run["status"]["trials"][0]["levels"][0]["windows"] = ["0.00"]
    other = World(model_body("second"))
    other.relatives = [run]
    other.settle()

    assert own(other.run()) == [0]


def test_a_failed_baseline_is_no_evidence() -> None:
    world = finish(World(), lambda n_spec: disqualified(n_spec, "NoUsableGPU", "no GPU was used"))
    assert newest(world)["status"]["verdict"]["type"] == "Failed"

    other = neighbour(world)
    other.settle()

    assert own(other.run()) == [0]
    assert len(other.run()["status"]["trials"]) == 1


def test_an_image_that_is_another_one_by_now_sets_aside_what_was_taken_over() -> None:
    world = finish(World(model_body(tuning={"maxNSpec": 6, "budget": {"maxTrials": 3}})))
    world.change_spec(tuning={"maxNSpec": 6, "budget": {"maxTrials": 24}})
    world.settle()
    pod = world.start_pod(world.open_job())
    pod["status"]["initContainerStatuses"][0]["imageID"] = "vllm@sha256:2"
    world.settle()
    world.end_trial()
    world.settle()

    trials = newest(world)["status"]["trials"]
    assert {trial["reason"] for trial in trials if trial["state"] == "Invalidated"} == {"ImageChanged"}
    assert {trial["state"] for trial in trials if "adoptedFrom" in trial} == {"Invalidated"}
    assert trials[-1]["nSpec"] == 0


def test_servers_do_not_stop_for_a_search_that_has_nothing_to_measure() -> None:
    serving = {"replicas": 1, "rollout": {"strategy": "InPlace"}}
    world = finish(World(model_body(serving=serving, tuning={"maxNSpec": 6, "disruption": "Allowed"})))
    world.replace_servers()
    world.settle()
    world.writes.clear()

    world.change_spec(tuning={"maxNSpec": 6, "disruption": "Allowed", "budget": {"maxTrials": 40}})
    world.settle()

    assert own(newest(world)) == []
    assert [write for write in world.writes if "Deployment" in write] == []
    assert world.model_condition("Ready")["status"] == "True"


def test_a_trial_that_waits_for_the_node_of_others_says_how_to_measure_elsewhere() -> None:
    world = finish(World(model_body(tuning={"maxNSpec": 6, "budget": {"maxTrials": 3}})))
    world.change_spec(tuning={"maxNSpec": 6, "budget": {"maxTrials": 24}})
    world.settle()
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient gpu"}
    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[full], initContainerStatuses=[])
    pod["spec"].pop("nodeName")
    world.tick(3700)
    world.settle()

    said = world.model_condition("Tuned")["message"]
    assert "1 Insufficient gpu; it waits for node node-a, where the reused trials ran" in said
    assert "Increase spec.tuning.retuneRequest" in said


EDITS: list[dict[str, Any]] = [
    {"tuning": {"maxNSpec": 6}},
    {"tuning": {"maxNSpec": 4}},
    {"tuning": {"maxNSpec": 6, "budget": {"maxTrials": 2}}},
    {"tuning": {"maxNSpec": 6, "budget": {"maxTrials": 4}}},
    {"tuning": {"maxNSpec": 6, "suspend": True}},
    {"speculation": {"method": "MTP", "nSpec": 2}},
    {"speculation": {"method": "MTP"}},
    {"model": {"uri": "pvc://weights/gemma", "servedName": "other"}},
]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EDITS), st.integers(min_value=0, max_value=3)), max_size=6))
def test_whatever_is_edited_a_run_that_begins_has_every_boot_that_was_made_before(
    edits: list[tuple[dict[str, Any], int]],
) -> None:
    world = World(model_body(tuning={"maxNSpec": 4, "historyLimit": 20}))
    made: dict[str, int] = {}
    known: set[str] = set()
    for edit, boots_left in [({}, 1), *edits, (EDITS[6], 1), (EDITS[0], 60)]:
        tuning = {"tuning": {**edit["tuning"], "historyLimit": 20}} if "tuning" in edit else {}
        world.change_spec(**{**edit, **tuning})
        world.settle()
        for name in world.runs.keys() - known:
            run = world.runs[name]
            assert boots(run) == {uid for uid, n_spec in made.items() if n_spec <= run["spec"]["maxNSpec"]}
        known = set(world.runs)
        for _ in range(boots_left):
            if not any(not job["status"].get("conditions") for job in world.jobs.values()):
                break
            world.run_trial()
            world.settle()
        for run in world.runs.values():
            trials = [trial for trial in run["status"].get("trials", ()) if trial["state"] == "Measured"]
            made |= {trial["jobUID"]: trial["nSpec"] for trial in trials}

    assert all(run["status"]["verdict"] for run in world.runs.values())
