"""The pod of `helm test`: what it may do, and that it tunes what the API accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtp_operator.api.validation import complaints
from tests.chart.rendering import Document, RefusedError, deployment, names, of_kind, template
from tests.chart.test_values import ALL_MONITORING

ENABLED: dict[str, Any] = {"enabled": True, "engineImage": "registry.example/simulated-gpu:1", "claim": "any"}


def hooks(release: str = "mtp-operator", test: dict[str, Any] | None = None, **values: Any) -> list[Document]:
    found = template({"test": ENABLED | (test or {})} | values, release=release)
    return [one for one in found if "helm.sh/hook" in one["metadata"].get("annotations", {})]


def the_pod(found: list[Document]) -> Document:
    (one,) = of_kind(found, "Pod")
    return one


def model_of(found: list[Document]) -> Document:
    (argument,) = (one for one in the_pod(found)["spec"]["containers"][0]["args"] if one.startswith("--model="))
    model: Document = json.loads(argument.removeprefix("--model="))
    return model


def test_there_is_no_test_unless_it_is_asked_for() -> None:
    assert of_kind(template(), "Pod") == []
    assert template({"test": {**ENABLED, "enabled": False}}) == template()


def test_all_that_is_added_is_a_hook_that_helm_removes_again() -> None:
    added = names(template({"test": ENABLED})) - names(template())

    assert names(hooks()) == added
    assert sorted(kind for kind, _, _ in added) == ["Pod", "Role", "RoleBinding", "ServiceAccount"]
    assert {one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in hooks()} == {
        "before-hook-creation,hook-succeeded"
    }


def test_the_pod_may_do_nothing_but_create_get_and_delete_its_model() -> None:
    found = hooks()
    (role,), (binding,), (account,) = (of_kind(found, kind) for kind in ("Role", "RoleBinding", "ServiceAccount"))
    name = model_of(found)["metadata"]["name"]

    assert {(*one["resources"], *one["verbs"], *one.get("resourceNames", ())) for one in role["rules"]} == {
        ("mtpmodels", "create"),
        ("mtpmodels", "get", "delete", name),
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [one["name"] for one in binding["subjects"]] == [account["metadata"]["name"]]
    assert the_pod(found)["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("release", ["mtp-operator", "o", "a-release-of-a-name-as-long-as-helm-lets-it-be-53"])
def test_the_model_is_one_that_the_api_accepts(release: str) -> None:
    model = model_of(hooks(release, {"products": ["NVIDIA-L4"], "resourceName": "example.com/gpu"}))

    assert complaints(model) == []
    assert model["metadata"]["namespace"] == "mtp-system"
    assert model["spec"]["model"]["uri"] == "pvc://any"
    assert model["spec"]["engine"]["image"] == ENABLED["engineImage"]
    assert model["spec"]["accelerator"] == {
        "architecture": "Any",
        "products": ["NVIDIA-L4"],
        "resourceName": "example.com/gpu",
    }


def test_the_pod_is_as_restricted_as_the_operators_own() -> None:
    found = template({"test": ENABLED})
    own, tests = deployment(found)["spec"]["template"]["spec"], the_pod(found)["spec"]

    assert tests["securityContext"] == own["securityContext"]
    assert tests["containers"][0]["securityContext"] == own["containers"][0]["securityContext"]
    assert tests["containers"][0]["image"] == own["containers"][0]["image"]
    assert tests["activeDeadlineSeconds"] > 900


def test_no_selector_of_the_operator_selects_the_tests_pod() -> None:
    found = template({"test": ENABLED, "replicas": 2} | ALL_MONITORING)
    labels = the_pod(found)["metadata"]["labels"]
    kinds = ("Deployment", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy")
    selectors = [one["spec"].get("selector", one["spec"].get("podSelector")) for one in of_kind(found, *kinds)]

    assert len(selectors) >= len(kinds)
    assert [one for one in selectors if one["matchLabels"].items() <= labels.items()] == []


def test_extra_labels_are_on_the_tests_objects() -> None:
    assert [one for one in hooks(extraLabels={"team": "llm"}) if one["metadata"]["labels"].get("team") != "llm"] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test": {"enabled": True}}, "/test/engineImage"),
        ({"test": {"enabled": True, "engineImage": "a:1"}}, "/test/claim"),
        ({"test": {"claim": "Not A Claim"}}, "/test/claim"),
        ({"test": {"resourceName": "a b"}}, "/test/resourceName"),
        ({"test": {"products": ["NVIDIA L4"]}}, "/test/products/0"),
        ({"test": {"timeoutSeconds": 0}}, "/test/timeoutSeconds"),
        ({"test": ENABLED, "watchNamespaces": ["team"]}, "namespace mtp-system, which watchNamespaces does not name"),
    ],
)
def test_what_cannot_be_tested_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        template(values)


def test_an_operator_of_some_namespaces_is_tested_in_one_of_them() -> None:
    assert hooks(watchNamespaces=["team", "mtp-system"])
