"""What is watched, and when what a reflector brings wakes a model."""

from typing import Any

from mtp_operator.api.model import MTPModel
from mtp_operator.reconcile.observed import ModelKey
from mtp_operator.resources.network_policy import network_policy, trials_network_policy
from mtp_operator.runtime.api_client import JOBS, MODELS, NETWORK_POLICIES, NODES, RUNS
from mtp_operator.runtime.installation import Settings
from mtp_operator.runtime.mirror import Mirror
from mtp_operator.runtime.object_cache import Cache
from mtp_operator.runtime.reflector import Scope, watched_scopes
from tests.unit.reconcile.givens import model_body

from . import bodies

KEY = ModelKey(bodies.NAMESPACE, "tiny")


def settings(**more: object) -> Settings:
    return Settings.model_validate(
        {"engine_image_vllm": "v", "engine_image_llama_cpp": "l", "bench_image": "b", **more}
    )


def test_each_kind_is_watched_in_each_namespace_and_nodes_only_where_they_may_be_read() -> None:
    everywhere = watched_scopes(settings())
    some = watched_scopes(settings(namespaces=("a", "b"), nodes_readable=False))

    assert {scope.namespace for scope in everywhere} == {None}
    assert NODES in {scope.resource for scope in everywhere}
    assert len(some) == 2 * 8
    assert NODES not in {scope.resource for scope in some}
    assert Scope(JOBS, "b").selector == "app.kubernetes.io/managed-by=mtp-operator"
    assert Scope(MODELS, "b").selector == ""


def test_of_network_policies_those_of_servers_are_watched_and_those_of_trials_are_not() -> None:
    wanted = set(Scope(NETWORK_POLICIES, "b").selector.split(","))

    def labels(policy: dict[str, Any]) -> set[str]:
        return {f"{name}={value}" for name, value in policy["metadata"]["labels"].items()}

    model = MTPModel.from_wire(model_body())
    assert wanted <= labels(network_policy(model))
    assert not wanted <= labels(trials_network_policy(model))


def test_nothing_is_decided_on_half_a_list() -> None:
    cache, woken = Cache(), list[ModelKey]()
    mirror = Mirror(cache, woken.append)

    mirror.seen(MODELS, bodies.model())
    assert woken == []
    assert cache.snapshot(KEY).model is not None
    mirror.seen(RUNS, bodies.run())
    mirror.primed()

    assert woken == [KEY]


def test_what_changes_or_ends_wakes_its_model_and_old_news_does_not() -> None:
    cache, woken = Cache(), list[ModelKey]()
    mirror = Mirror(cache, woken.append)
    mirror.primed()

    mirror.seen(JOBS, bodies.job(version=7))
    assert woken == [KEY]
    mirror.seen(JOBS, bodies.job(version=6))
    assert woken == [KEY]
    mirror.deleted(JOBS, bodies.job(version=8))

    assert woken == [KEY, KEY]
    assert cache.snapshot(KEY).jobs == []
    mirror.seen(JOBS, bodies.job(version=7))
    assert woken == [KEY, KEY]
