"""Least privilege, from the audit log of all that ran before: what is granted is used, what was asked was allowed.

The ways of installing have clusters of their own: an operator whose Role is removed before its pod asks in vain.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import Document, of_kind, template

from . import harness

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("operator")]

ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
_CREATED_BY_APPLY = "an apply that makes the object is authorized as create too, and logged as patch"
_THERE_ALREADY = "an object of that name is there already: a create was answered late, or another client made it"
_NOT_WANTED_ANY_MORE = "a model that turns to serving.replicas: 0, or to fewer servers"
SELDOM: dict[tuple[str, str], str] = {
    ("deployments", "create"): _CREATED_BY_APPLY,
    ("services", "create"): _CREATED_BY_APPLY,
    ("poddisruptionbudgets", "create"): _CREATED_BY_APPLY,
    ("deployments", "delete"): _NOT_WANTED_ANY_MORE,
    ("services", "delete"): _NOT_WANTED_ANY_MORE,
    ("networkpolicies", "delete"): _NOT_WANTED_ANY_MORE,
    ("poddisruptionbudgets", "delete"): _NOT_WANTED_ANY_MORE,
    ("events", "list"): "a pod that does not start, for a reason that only its Events give",
    ("mtpmodels", "get"): "a status that was written at the same time as the spec",
    ("mtptuningruns", "delete"): "evidence beyond tuning.historyLimit, or older than 30 days",
    ("jobs", "get"): _THERE_ALREADY,
    ("mtptuningruns", "get"): _THERE_ALREADY,
    ("resourceclaimtemplates", "get"): _THERE_ALREADY,
}
"""Resource and verb -> when it is needed, where no run of the tests need call for it."""


def granted() -> set[tuple[str, str]]:
    """Resource and verb of every rule that the operator's account is bound to."""
    found = template()
    bound = {one["roleRef"]["name"] for one in of_kind(found, "ClusterRoleBinding", "RoleBinding")}
    rules: list[Document] = [
        rule
        for role in of_kind(found, "ClusterRole", "Role")
        if role["metadata"]["name"] in bound
        for rule in role["rules"]
    ]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def requested() -> list[dict[str, Any]]:
    """What the operator has asked of the API server about objects."""
    return [one for one in harness.audit() if one["user"]["username"] == ACCOUNT and "objectRef" in one]


def resource_of(entry: dict[str, Any]) -> str:
    reference = entry["objectRef"]
    return "/".join(filter(None, (reference["resource"], reference.get("subresource"))))


def test_every_request_was_allowed() -> None:
    forbidden = {
        (entry["verb"], resource_of(entry))
        for entry in requested()
        if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
    }

    assert forbidden == set()


def test_every_permission_was_used() -> None:
    used = {(resource_of(entry), entry["verb"]) for entry in requested()}

    assert used
    assert granted() - used <= SELDOM.keys()
