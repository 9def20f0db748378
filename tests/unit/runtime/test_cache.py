import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mtp_operator.reconcile.observed import ModelKey
from mtp_operator.resources.labels import MEASUREMENT_LABEL
from mtp_operator.runtime.api_client import JOBS, MODELS, NODES, PODS, RUNS, Resource
from mtp_operator.runtime.object_cache import TOMBSTONE_SECONDS, Cache, Resisted

from . import bodies
from .clock import Clock

KEY = ModelKey(bodies.NAMESPACE, "tiny")


def test_everything_that_belongs_to_a_model_is_found_by_its_key() -> None:
    cache = Cache()
    cache.watched(MODELS, bodies.model())
    cache.watched(RUNS, bodies.run())
    cache.watched(JOBS, bodies.job())
    cache.watched(JOBS, bodies.job("other-n0", "other-uid", of="other"))
    cache.watched(NODES, bodies.node())

    seen = cache.snapshot(KEY)

    assert seen.model is not None
    assert seen.model["metadata"]["uid"] == "model-uid"
    assert [one["metadata"]["uid"] for one in (*seen.runs, *seen.jobs, *seen.nodes)] == [
        "run-uid",
        "job-uid",
        "node-uid",
    ]
    assert set(cache.take_changed()) == {KEY, ModelKey(bodies.NAMESPACE, "other")}


@pytest.mark.parametrize("trials", [[], [{"state": "Planned"}], [{"state": 7}], [{}], 3, None])
def test_runs_that_have_finished_no_trial_are_no_relatives(trials: Any) -> None:
    """Hundreds of models that begin at once would read each other's runs in vain."""
    cache = Cache()
    cache.watched(RUNS, bodies.run(of="other", status={"trials": trials}))

    assert cache.snapshot(KEY).relatives == []


@pytest.mark.parametrize("state", ["Measured", "Failed"])
def test_runs_of_other_models_of_the_namespace_are_relatives_until_they_are_gone(state: str) -> None:
    cache = Cache()
    cache.watched(RUNS, bodies.run())
    other = bodies.run(status={"trials": [{"state": "Planned"}]})
    other["metadata"] |= {"uid": "other-run-uid", "name": "other-run", "labels": {MEASUREMENT_LABEL: "0" * 16}}
    other["spec"] = {"modelName": "other"}
    cache.watched(RUNS, other)
    finished = {**other, "status": {"trials": [{"state": state}]}}
    cache.watched(RUNS, {**finished, "metadata": {**other["metadata"], "resourceVersion": "2"}})

    (relative,) = cache.snapshot(KEY).relatives
    assert (relative["metadata"]["uid"], relative["spec"]) == ("other-run-uid", {"modelName": "other"})
    # By it a run that begins finds those that measured the same.
    assert relative["metadata"]["labels"] == {MEASUREMENT_LABEL: "0" * 16}
    assert cache.snapshot(ModelKey("elsewhere", "tiny")).relatives == []

    cache.forget("other-run-uid")
    assert cache.snapshot(KEY).relatives == []


def test_a_version_that_says_nothing_new_wakes_nobody() -> None:
    cache = Cache()
    cache.watched(JOBS, bodies.job(version=5, status={"active": 0}))
    list(cache.take_changed())

    cache.watched(JOBS, bodies.job(version=6, status={"active": 1}))
    assert list(cache.take_changed()) == []
    assert cache.version("job-uid") == 6

    cache.watched(JOBS, bodies.job(version=7, status={"conditions": [{"type": "Failed", "status": "True"}]}))
    assert list(cache.take_changed()) == [KEY]


def test_the_reply_to_a_write_is_newer_than_what_the_watch_still_brings() -> None:
    cache = Cache()
    cache.watched(RUNS, bodies.run(version=5))

    assert cache.written(RUNS, bodies.run(version=9, status={"n": 9}))
    cache.watched(RUNS, bodies.run(version=7, status={"n": 7}))

    assert cache.snapshot(KEY).runs[0]["status"] == {"n": 9}


def test_a_key_lags_until_its_watch_has_brought_our_write() -> None:
    clock = Clock()
    cache = Cache(clock)
    cache.watched(RUNS, bodies.run(version=5))
    cache.written(RUNS, bodies.run(version=9))
    list(cache.take_changed())

    cache.watched(RUNS, bodies.run(version=7))
    assert [entry.floor_raised_at for entry in cache.lagging(KEY)] == [clock()]

    cache.watched(RUNS, bodies.run(version=9))
    assert cache.lagging(KEY) == []
    assert list(cache.take_changed()) == [KEY]


def test_a_live_get_ends_the_lag_but_does_not_count_as_the_watch() -> None:
    cache = Cache()
    cache.written(RUNS, bodies.run(version=9))

    assert not cache.fetched(RUNS, bodies.run(version=9))

    assert cache.lagging(KEY) == []
    assert not cache.has_seen("run-uid", 9)


def test_a_write_without_effect_changes_nothing_and_does_not_lag() -> None:
    cache = Cache()
    cache.watched(RUNS, bodies.run(version=9))

    assert not cache.written(RUNS, bodies.run(version=9))

    assert cache.lagging(KEY) == []


def test_the_end_of_an_object_ends_the_reply_too_even_if_that_comes_later() -> None:
    cache = Cache()
    cache.written(RUNS, bodies.run(version=9))

    cache.forget("run-uid", 10)
    assert not cache.written(RUNS, bodies.run(version=9))

    assert cache.snapshot(KEY).runs == []
    assert cache.lagging(KEY) == []


def test_an_object_that_matches_the_selector_again_comes_back() -> None:
    cache = Cache()
    cache.watched(JOBS, bodies.job(version=5))
    cache.forget("job-uid", 6)

    cache.watched(JOBS, bodies.job(version=7))

    assert len(cache.snapshot(KEY).jobs) == 1


def test_namesakes_are_kept_apart_by_uid_and_the_newer_model_is_meant() -> None:
    cache = Cache()
    cache.watched(MODELS, bodies.model(uid="new", version=8))
    cache.watched(MODELS, bodies.model(uid="old", version=3))

    model = cache.snapshot(KEY).model
    assert model is not None
    assert model["metadata"]["uid"] == "new"

    cache.forget("old", 9)
    model = cache.snapshot(KEY).model
    assert model is not None
    assert model["metadata"]["uid"] == "new"


def test_a_job_whose_label_is_changed_wakes_the_old_and_the_new_model() -> None:
    cache = Cache()
    cache.watched(JOBS, bodies.job(version=5))
    list(cache.take_changed())

    cache.watched(JOBS, bodies.job(version=6, of="other"))

    assert set(cache.take_changed()) == {KEY, ModelKey(bodies.NAMESPACE, "other")}
    assert cache.snapshot(KEY).jobs == []


def test_a_node_is_kept_as_name_and_labels_and_its_heartbeat_wakes_nobody() -> None:
    cache = Cache()
    cache.watched(MODELS, bodies.model())
    product = "nvidia.com/gpu.product"
    cache.watched(NODES, bodies.node(version=1, **{product: "B200", "nvidia.com/gfd.timestamp": "1", "pool": "a"}))
    list(cache.take_changed())

    cache.watched(NODES, bodies.node(version=2, **{product: "B200", "nvidia.com/gfd.timestamp": "2", "pool": "b"}))
    assert list(cache.take_changed()) == []
    assert cache.has_seen("node-uid", 2)

    cache.watched(NODES, bodies.node(version=3, **{product: "B300"}))
    assert list(cache.take_changed()) == [KEY]
    assert cache.snapshot(KEY).nodes == [
        {"metadata": {"name": "gpu-1", "uid": "node-uid", "labels": {product: "B300"}}}
    ]


def test_events_that_were_looked_up_are_news_once_and_end_with_their_object() -> None:
    cache = Cache()
    cache.watched(JOBS, bodies.job())
    at = datetime(2026, 1, 1, tzinfo=UTC)
    event = {"metadata": {"resourceVersion": "7"}, "reason": "FailedCreate"}

    assert cache.keep_events("job-uid", at, [event])
    assert not cache.keep_events("job-uid", at, [event])
    assert cache.snapshot(KEY).events == {"job-uid": (at, [event])}

    cache.forget("job-uid")
    assert not cache.keep_events("job-uid", at, [event])


def test_tombstones_are_forgotten_once_no_reply_can_contradict_them() -> None:
    clock = Clock()
    cache = Cache(clock)
    cache.watched(RUNS, bodies.run(version=5))
    cache.forget("run-uid", 6)

    cache.prune()
    assert cache.has_seen("run-uid", 6)

    clock.advance(TOMBSTONE_SECONDS + 1)
    cache.prune()
    assert not cache.has_seen("run-uid", 6)


def test_managed_fields_are_not_kept() -> None:
    cache = Cache()
    body = bodies.run()
    body["metadata"]["managedFields"] = [{}]

    cache.watched(RUNS, body)

    assert "managedFields" not in cache.snapshot(KEY).runs[0]["metadata"]


def test_what_resisted_being_applied_is_forgotten_with_its_object() -> None:
    cache = Cache()
    cache.watched(JOBS, bodies.job())
    resisted = Resisted(frozenset({".spec"}), "hash")
    cache.keep_resisted("job-uid", resisted)
    assert cache.resisted("job-uid") == resisted

    cache.forget("job-uid")
    cache.keep_resisted("job-uid", resisted)

    assert cache.resisted("job-uid") is None


FAT = "x" * 1_000_000


def size(body: Any) -> int:
    return len(json.dumps(body))


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        (JOBS, bodies.job(spec={"template": FAT}, status={"conditions": [], "uncountedTerminatedPods": FAT})),
        (PODS, bodies.pod(spec={"containers": FAT}, status={"phase": "Running", "x": FAT})),
        (MODELS, bodies.model()),
        (RUNS, bodies.run()),
    ],
    ids=["job", "pod", "model", "run"],
)
@pytest.mark.parametrize("owners", [[], [{"kind": "ConfigMap", "uid": "x", "controller": True}], None])
def test_what_strangers_write_into_an_object_is_not_kept(
    resource: Resource, body: dict[str, Any], owners: list[dict[str, Any]] | None
) -> None:
    """A hundred Jobs of 1 MB with one label ended the operator for all namespaces."""
    cache = Cache()
    metadata = body["metadata"] | {"annotations": {"a": FAT}, "managedFields": [FAT], "finalizers": [FAT]}
    metadata["labels"] = metadata.get("labels", {}) | {f"label-{number}": "x" * 63 for number in range(1000)}
    if owners is not None:
        metadata["ownerReferences"] = owners
    cache.watched(resource, {**body, "metadata": metadata})

    kept = cache.body(metadata["uid"])
    assert kept is not None
    assert size(kept) < 2000
    assert kept["metadata"]["name"] == metadata["name"]


@pytest.mark.parametrize("owners", [[], [{"kind": "ConfigMap", "name": "x", "uid": "x", "controller": True}]])
def test_a_job_that_no_run_and_no_model_controls_is_no_models(owners: list[dict[str, Any]]) -> None:
    cache = Cache()
    body = bodies.job()
    body["metadata"]["ownerReferences"] = owners
    cache.watched(JOBS, body)

    assert cache.snapshot(KEY).jobs == []
    assert list(cache.take_changed()) == []
    assert cache.has_seen("job-uid", 1)
