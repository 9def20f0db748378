"""What the rules of a cluster refuse is said in their words; the field that answers it lets the model be tuned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster import paths

from . import harness, rules
from .rules import NAME
from .traffic import SERVERS

PREFIX = "rule-"
LABEL_MESSAGE = "each pod needs the label example.com/team"
TAINT = {"key": "example.com/reserved", "value": "team", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Rule:
    """A rule of a namespace.

    Attributes:
        objects: what sets it.
        refusal: words of the message of a model that does not answer it.
        answer: the spec.template that answers it.
        holds: whether a pod that was let in shows the answer.
        before: the spec.template that does not answer it.
        refuses_every_pod: whether pods of other owners are refused as well.
    """

    objects: tuple[dict[str, Any], ...]
    refusal: tuple[str, ...]
    answer: dict[str, Any]
    holds: Callable[[dict[str, Any]], bool]
    before: dict[str, Any] = field(default_factory=dict)
    refuses_every_pod: bool = True


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])}


def limit_range() -> dict[str, Any]:
    limits = {
        "type": "Container",
        "default": {"cpu": "1", "memory": "1Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "256Mi"},
        "min": {"cpu": "50m", "memory": "128Mi"},
        "max": {"cpu": "1", "memory": "1Gi"},
        "maxLimitRequestRatio": {"cpu": "10", "memory": "4"},
    }
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": [limits]}}


def quota() -> dict[str, Any]:
    hard = {"requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "3", "limits.memory": "2Gi"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}


def runtime_class() -> dict[str, Any]:
    # The only handler that the node has.
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "example-runtime"},
        "handler": "runc",
    }


def within_limits(pod: dict[str, Any]) -> bool:
    """The engine has what the LimitRange gives, and the others what the model says."""
    limits = {name: one["resources"]["limits"] for name, one in containers(pod).items()}
    return limits.pop("engine").items() >= {"cpu": "1", "memory": "1Gi"}.items() and all(
        one == {"cpu": "500m", "memory": "512Mi"} for one in limits.values()
    )


def states_all_amounts(pod: dict[str, Any]) -> bool:
    amounts = [one["resources"][kind] for one in containers(pod).values() for kind in ("requests", "limits")]
    return all({"cpu", "memory"} <= one.keys() for one in amounts)


HELPERS = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}

RULES = {
    "limits": Rule(
        (limit_range(),),
        ("maximum cpu usage per Container is 1, but limit is 2",),
        {"helperResources": HELPERS},
        within_limits,
    ),
    "quota": Rule(
        (quota(),),
        ("failed quota: team", "must specify", "requests.memory for: engine"),
        {"resources": HELPERS, "helperResources": HELPERS},
        states_all_amounts,
    ),
    "label": Rule(
        rules.pod_policy(
            "label-of-pods",
            f"{PREFIX}label",
            "has(object.metadata.labels) && 'example.com/team' in object.metadata.labels",
            LABEL_MESSAGE,
        ),
        ("ValidatingAdmissionPolicy 'label-of-pods'", LABEL_MESSAGE),
        {"labels": {"example.com/team": "search"}},
        lambda pod: pod["metadata"]["labels"]["example.com/team"] == "search",
    ),
    "runtime": Rule(
        (runtime_class(),),
        ('RuntimeClass "nowhere" not found',),
        {"runtimeClassName": "example-runtime"},
        lambda pod: pod["spec"]["runtimeClassName"] == "example-runtime",
        before={"runtimeClassName": "nowhere"},
        refuses_every_pod=False,
    ),
}


def place_of(rule: str) -> str:
    return f"{PREFIX}{rule}"


@pytest.fixture
def places(operator: None) -> Iterator[None]:
    """A namespace for each rule, in which it is in force."""
    del operator
    with ExitStack() as stack:
        for name, rule in RULES.items():
            place = stack.enter_context(harness.restricted_namespace(place_of(name)))
            harness.ensure_simulated_claim(place)
            for one in rule.objects:
                stack.enter_context(applied(one, place))
        for name, rule in RULES.items():
            if rule.refuses_every_pod:
                place = place_of(name)
                harness.wait_until(lambda place=place: rules.refusal_of_a_pod(place), f"{name} in force")  # type: ignore[misc]
        yield


@contextmanager
def applied(document: dict[str, Any], namespace: str) -> Iterator[None]:
    harness.apply(document, namespace)
    try:
        yield
    finally:
        harness.kubectl("delete", document["kind"], document["metadata"]["name"], "-n", namespace)


@pytest.mark.usefixtures("places")
def test_rules_of_namespaces_are_told_and_then_kept() -> None:
    for name, rule in RULES.items():
        harness.apply(rules.quick_model(**rule.before), place_of(name))
    for name, rule in RULES.items():
        model = harness.wait_for_condition(place_of(name), NAME, "Ready", "False", "TrialRefused")
        message = harness.condition(model, "Ready")["message"]
        for words in rule.refusal:
            assert words in message
        assert harness.condition(model, "Stalled")["status"] == "True", "no waiting helps"

    for name, rule in RULES.items():
        harness.apply(rules.quick_model(**rule.answer), place_of(name))

    # Each gives its GPU back as soon as it is done: other tests want them too.
    waiting, seen = set(RULES), {name: set[str]() for name in RULES}
    end = time.monotonic() + harness.HANG_SECONDS
    while waiting:
        for name in sorted(waiting):
            place, rule = place_of(name), RULES[name]
            for pod in harness.items("pods", place):
                seen[name].add("server" if is_server(pod) else "trial")
                assert rule.holds(pod), pod
            found = harness.get("mtpmodels", place, NAME)
            if found is not None and harness.condition(found, "Ready").get("status") == "True":
                rules.assert_tuned_and_served(found)
                assert seen[name] == {"trial", "server"}
                harness.clear(place)
                waiting.remove(name)
        assert time.monotonic() < end, "\n".join(harness.story(place_of(name), NAME) for name in waiting)
        time.sleep(0.5)


def is_server(pod: dict[str, Any]) -> bool:
    key, _, value = SERVERS.partition("=")
    return bool(pod["metadata"]["labels"].get(key) == value)


@pytest.fixture
def tainted(operator: None) -> Iterator[None]:
    """The only node is reserved; what runs there already stays, the operator for one."""
    del operator
    taint = f"{TAINT['key']}={TAINT['value']}:{TAINT['effect']}"
    harness.kubectl("taint", "node", paths.node_name(), taint)
    yield
    harness.kubectl("taint", "node", paths.node_name(), f"{taint}-")


@pytest.mark.alone
@pytest.mark.usefixtures("tainted")
def test_a_taint_is_told_and_then_tolerated(namespace: str) -> None:
    harness.ensure_simulated_claim(namespace)
    harness.apply(rules.quick_model(), namespace)
    refused = harness.wait_for_condition(namespace, NAME, "Ready", "False", "NoNodeFits")
    message = harness.condition(refused, "Ready")["message"]
    # Kubernetes 1.34 and later do not say which one.
    assert "untolerated taint" in message
    assert "spec.template.tolerations" in message

    toleration = {**TAINT, "operator": "Equal"}
    harness.apply(rules.quick_model(tolerations=[toleration]), namespace)

    rules.assert_tuned_and_served(harness.wait_for_condition(namespace, NAME, "Ready", "True"))
