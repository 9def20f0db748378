"""What counts as changed behind our back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.runtime.drift import drift

GOLDEN = Path(__file__).parents[1] / "cli" / "golden"
OBJECTS = [body for path in sorted(GOLDEN.glob("*.yaml")) for body in yaml.safe_load_all(path.read_text()) if body]

scalars = st.none() | st.booleans() | st.integers() | st.sampled_from(["claim", "/models", "1Gi", "a.b"])
fields = st.sampled_from(["name", "mountPath", "containerPort", "uid", "limits", "spec"])
bodies = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=4), max_leaves=20
)


@pytest.mark.parametrize(
    ("applied", "live"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 2, "paused": False}, "status": {}}),
        ({"limits": {"memory": "0.5Gi", "cpu": "1"}}, {"limits": {"memory": "512Mi", "cpu": "1000m"}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"containers": [{"name": "a"}]}, {"containers": [{"name": "injected"}, {"name": "a", "tty": False}]}),
        ({"args": ["--a", "1"]}, {"args": ["--a", "1"]}),
        ({"add": []}, {}),
        (
            {"volumeMounts": [{"name": "claim", "mountPath": "/a"}, {"name": "claim", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "claim", "mountPath": "/a"}, {"name": "claim", "mountPath": "/b"}]},
        ),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, {"ports": [{"port": 53, "protocol": "UDP", "endPort": 60}]}),
    ],
)
def test_what_others_add_and_how_a_quantity_is_spelt_is_no_drift(applied: Any, live: Any) -> None:
    assert list(drift(applied, live)) == []


@pytest.mark.parametrize(
    ("applied", "live", "path"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, ".spec.replicas"),
        ({"spec": {"replicas": 2}}, {"spec": {}}, ".spec.replicas"),
        ({"spec": {"replicas": 2}}, {}, ".spec"),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ".limits.cpu"),
        # Outside of quantities 1 and 1000m are different words.
        ({"args": ["1"]}, {"args": ["1000m"]}, ".args[0]"),
        ({"args": ["--a"]}, {"args": ["--a", "--b"]}, ".args"),
        ({"containers": [{"name": "a", "image": "x:1"}]}, {"containers": [{"name": "b"}]}, ".containers[0]"),
        ({"containers": [{"name": "a", "image": "x:1"}]}, {"containers": [{"name": "a"}]}, ".containers[0].image"),
    ],
)
def test_a_field_that_was_applied_and_is_different_is_named(applied: Any, live: Any, path: str) -> None:
    assert list(drift(applied, live)) == [path]


@pytest.mark.parametrize("body", OBJECTS, ids=lambda body: f"{body['kind']}/{body['metadata']['name']}")
def test_an_object_that_nobody_changed_has_not_drifted(body: dict[str, Any]) -> None:
    assert list(drift(body, body)) == []


@given(bodies)
def test_nothing_drifts_from_itself(body: Any) -> None:
    assert list(drift(body, body)) == []


def test_two_mounts_of_one_volume_are_told_apart() -> None:
    mounts = [{"name": "claim", "mountPath": path} for path in ("/models", "/drafter")]

    assert list(drift({"volumeMounts": mounts}, {"volumeMounts": mounts})) == []
    assert list(drift({"volumeMounts": mounts}, {"volumeMounts": mounts[:1]})) == [".volumeMounts[1]"]


def test_every_field_that_changed_is_named() -> None:
    applied = {"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2, "paused": True}}
    live = {"metadata": {}, "spec": {"replicas": 3, "paused": True}}

    assert list(drift(applied, live)) == [".metadata.labels", ".spec.replicas"]


@pytest.mark.parametrize("body", OBJECTS, ids=lambda body: f"{body['kind']}/{body['metadata']['name']}")
def test_no_object_has_metadata_that_the_api_server_drops(body: dict[str, Any]) -> None:
    template = body.get("spec", {}).get("template", {})
    metadata = [body["metadata"], template.get("metadata", {})]

    assert [one for part in metadata for one in part.values() if one == {}] == []
