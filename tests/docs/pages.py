"""The pages for people, their blocks of code and their links, as Markdown has them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/*/README.md", "images/*/README.md")


def pages() -> list[Path]:
    """Every page, those of the site first."""
    return [*sorted(DOCS.rglob("*.md")), *(path for pattern in OTHERS for path in sorted(REPOSITORY.glob(pattern)))]


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: where it is.
        line: its first line there.
        language: the word after the fence; empty where there is none.
        text: what it holds.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link or a picture."""

    page: Path
    target: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}: {self.target}"


@functools.cache
def tokens(page: Path) -> tuple[Token, ...]:
    """What a page consists of."""
    return tuple(MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")))


def blocks() -> list[Block]:
    """Every block of code, fenced or indented."""
    return [
        Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for page in pages()
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    ]


def links() -> list[Link]:
    """Every link and picture."""
    return [Link(page, target) for page in pages() for target in _targets(tokens(page))]


def _targets(found: tuple[Token, ...] | list[Token]) -> Iterator[str]:
    for token in found:
        target = token.attrs.get("href") or token.attrs.get("src")
        if target:
            yield str(target)
        yield from _targets(token.children or [])


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that headings get, on the site and on a forge alike."""
    found = tokens(page)
    headings = [found[index + 1].content for index, token in enumerate(found) if token.type == "heading_open"]
    return frozenset(_slug(heading) for heading in headings)


def _slug(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words.lower()).strip())
