"""What counts as changed behind our back."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.runtime.drift import drift


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
    assert drift(applied, live) == ""


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
    assert drift(applied, live) == path
