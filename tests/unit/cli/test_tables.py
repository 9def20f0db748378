"""Tables at 80 columns cut no digit."""

import re

import pytest

from .tables import COLUMNS, GOLDEN, TABLES, rendered


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_shown_as_recorded(name: str) -> None:
    assert rendered(name) == (GOLDEN / f"{name}.txt").read_text(), "if the change is meant, run `make generate`"


@pytest.mark.parametrize("name", TABLES)
def test_no_digit_is_cut(name: str) -> None:
    narrow, wide = rendered(name), rendered(name, 400)

    assert max(map(len, narrow.splitlines())) <= COLUMNS
    assert "…" not in narrow
    assert figures(narrow) == figures(wide)


def figures(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:\.\d+)?%?", text))
