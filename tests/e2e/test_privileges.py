"""Least privilege, from the audit log of all that ran before: what is granted is used, what was asked was allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import Document, of_kind, template

from . import harness

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("operator")]

ACCOUNT = f"system:serviceaccount:{harness.OPERATOR_NAMESPACE}:{harness.RELEASE}"
UNUSED: dict[tuple[str, str], str] = {}
"""Resource and verb that are granted and that no test calls for -> why."""


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
    assert granted() - used == UNUSED.keys()
