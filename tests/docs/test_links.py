"""Every link of a page leads to a file and a heading that exist."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from release import settings
from tests.docs.pages import DOCS, REPOSITORY, Link, anchors, links

FORGE = f"https://github.com/{settings.OWNER}/{settings.REPOSITORY}"


def broken(link: Link) -> str | None:
    """What is wrong with a link; None where nothing is. Other hosts are not asked."""
    parts = urlsplit(link.target)
    if link.target.startswith((f"{FORGE}/blob/main/", f"{FORGE}/tree/main/")):
        target = REPOSITORY / link.target.removeprefix(FORGE).split("/main/", 1)[1]
    elif parts.scheme:
        return None
    else:
        target = (link.page.parent / unquote(parts.path)).resolve() if parts.path else link.page
        if DOCS in link.page.parents and DOCS not in target.parents:
            return f"leaves docs/: write {FORGE}/blob/main/…, because the site has nothing else"
    return _missing(target, parts.fragment)


def _missing(target: Path, fragment: str) -> str | None:
    if not target.exists():
        return "there is no such file"
    if fragment and fragment not in anchors(target):
        return f"there is no heading {fragment}"
    return None


def test_every_link_leads_somewhere() -> None:
    found = links()

    assert len(found) > 150
    assert [f"{link}: {why}" for link in found if (why := broken(link))] == []


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("how-to/nothing.md", "there is no such file"),
        ("glossary.md#nothing", "there is no heading nothing"),
        ("../SECURITY.md", f"leaves docs/: write {FORGE}/blob/main/…, because the site has nothing else"),
        (f"{FORGE}/blob/main/nothing.md", "there is no such file"),
        ("glossary.md#n_spec0", None),
    ],
)
def test_a_broken_link_is_seen(target: str, why: str | None) -> None:
    assert broken(Link(DOCS / "index.md", target)) == why


def test_the_navigation_has_every_page_once() -> None:
    def pages_in(entries: list[dict[str, Any]]) -> Iterator[str]:
        for entry in entries:
            for value in entry.values():
                if isinstance(value, str):
                    yield value
                else:
                    yield from pages_in(value)

    navigation = tomllib.loads((REPOSITORY / "zensical.toml").read_text())["project"]["nav"]

    assert sorted(pages_in(navigation)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
