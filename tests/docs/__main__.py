"""Builds the site of docs/ into site/, strictly, and finds links that lead nowhere and what other hosts would serve.

python -m tests.docs       (`make docs`)
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.cluster import tools

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "site"
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}
"""Elements that a browser loads something for, and the attribute that names it."""


class _Page(HTMLParser):
    """Anchors and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps what the element names."""
        attributes = {name: value for name, value in attrs if value}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        elif tag in LOADED and LOADED[tag] in attributes:
            self.loaded.add(attributes[LOADED[tag]])


@functools.cache
def _page(file: Path) -> _Page:
    return _Page(file.read_text(encoding="utf-8"))


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a site, one line each."""
    for file in sorted(site.rglob("*.html")):
        # The page for addresses that do not exist is served at any depth.
        if file.name == "404.html":
            continue
        for address in sorted(_page(file).loaded | _page(file).links):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in _page(file).loaded:
                    yield f"{file.relative_to(site)}: loads {address} from another host"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{file.relative_to(site)}: {address}: there is no such file"
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _page(target).anchors:
                yield f"{file.relative_to(site)}: {address}: there is no such anchor"


def main() -> int:
    """Builds and looks; answers the exit status."""
    programs = tools.python_tool("docs", REPOSITORY / "docs" / "requirements.txt")
    command = [str(programs / "zensical"), "build", "--clean", "--strict"]
    status = subprocess.run(command, cwd=REPOSITORY, check=False, env={**os.environ, "NO_COLOR": "1"}).returncode
    if status:
        return status
    found = list(faults(SITE))
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(list(SITE.rglob('*.html')))} pages, {len(found)} faults: {SITE / 'index.html'}")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
