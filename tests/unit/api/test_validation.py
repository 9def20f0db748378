"""That an object is judged without an API server as with one; the one says so in tests/cluster/test_api.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtp_operator.api.engines import FLAGS
from mtp_operator.api.validation import complaints
from tests.mistakes import ARGUMENTS, MISTAKES, model

REPOSITORY = Path(__file__).parents[3]
IN_ORDER = sorted([*(REPOSITORY / "docs" / "samples").glob("*.yaml"), *Path(__file__).parent.glob("real_*/*.yaml")])


def said(document: dict[str, Any]) -> list[str]:
    return list(map(str, complaints(document)))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_message(mistake: str) -> None:
    document, field, allowed = MISTAKES[mistake]

    (complaint,) = said(document)

    assert complaint.startswith(f"{field}: ")
    assert allowed in complaint


@pytest.mark.parametrize("path", IN_ORDER, ids=lambda path: path.stem)
def test_what_is_in_order_is_taken(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document["kind"] == "MTPModel":
            assert said(document) == []


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_rules_and_the_operator_say_the_same_of_an_argument(argument: str) -> None:
    expected = [one.replace(": ", ": Invalid value: ", 1) for one in FLAGS.complaints([argument])]

    assert said(model(("spec.engine.extraArgs", [argument]))) == expected
