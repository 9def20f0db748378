"""What `mtp validate` takes, the operator takes, over 2,000 specs.

tests/cluster/test_generated_specs.py asks the API server of the same.
"""

from __future__ import annotations

from typing import Any

from mtp_operator.api.model import MTPModel
from mtp_operator.api.validation import complaints
from mtp_operator.cli.render import Installation, RenderError, model_of, rendered_objects
from tests.generated_specs import COUNT, specs


def refused_by_the_operator(document: dict[str, Any]) -> str:
    """Why the operator would make nothing of a model that the API server has taken; empty if it would."""
    try:
        model: MTPModel = model_of(document, "default")
        rendered_objects(model, Installation())
    except RenderError as error:
        return str(error)
    return ""


def test_what_is_taken_without_a_cluster_the_operator_takes() -> None:
    taken = [one for one in specs() if not complaints(one)]

    assert {one["metadata"]["name"]: why for one in taken if (why := refused_by_the_operator(one))} == {}
    # Neither verdict may be a rarity: then the specs would test nothing.
    assert COUNT / 4 < len(taken) < COUNT * 3 / 4


def test_specs_are_the_same_at_each_call() -> None:
    assert list(specs(count=50)) == list(specs(count=50))
    assert list(specs(seed=1, count=50)) != list(specs(count=50))
