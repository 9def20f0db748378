"""The language of pages and messages: plain American technical English, one term for each thing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import messages
from tests.docs.pages import REPOSITORY, pages, tokens

BANNED = {
    r"mend(s|ed)?\b": "fix",
    r"anew\b": "again",
    r"(told|tells)\b": "reported, shown",
    r"(stands|stand) (?!for\b|by\b)|(speaks of|lies|lie)\b": "is, is about",
    r"goes on|went on|(comes|come|came) up\b": "continues, starts",
    r"some(body|one)\b|whoever\b": "another client, other traffic, a person who",
    r"likewise\b": "also",
    r"(?<!there )is (no|none)\b(?! longer| such)": "is not a",
    r"arms?\b": "candidate, trial",
    r"boot(s|ed|ing)?\b": "trial, start",
    r"speed-ups?\b": "speedup",
    r"[0-9}`] %": "5% without a blank",
    r"(by|of) (itself|themselves) to be|chosen by itself|by nobody": "automatically, never",
    r"(was|is|are|were) given up|gives? up\b": "failed, stops trying",
    r"(not|does not) let .{0,30}\bin\b": "rejected at admission",
    r"a person\b": "a user, you",
    r"held against": "compared with",
    r"interval (`code`|[0-9.]+) to\b|[0-9`] times n": "2.10x (95% CI 1.82-2.44)",
    r"(?<![\w.])n=[0-9`]": "n_spec=",
    r"tokens/step": "acceptance length",
    r"(?<!<)(?<!&lt;)claims?\b": "PVC (a request for GPUs is a ResourceClaim)",
    r"where they lie|what .{0,20}is compared with|no way to\b": "name what it is",
}
"""Words that no page and no message has -> what to write instead."""


CODE = re.compile(r"`[^`]*`|--[a-z][-\w]*|\b[a-z]\w*(\.\w+)+|\{[^{}]*\}(?! %)")
"""Code, flags, paths of fields, and fields of a message: names, not words."""


def _complaints(prose: str) -> Iterator[str]:
    plain = CODE.sub("`code`", prose)
    for banned, better in BANNED.items():
        for match in re.finditer(rf"(?i)(?<![\w-])(?:{banned})", plain):
            yield f"{match[0]!r}: write {better!r}: {plain[max(0, match.start() - 40) : match.end() + 30]!r}"


@pytest.mark.parametrize(
    "page", [*pages(), REPOSITORY / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_no_banned_word_on_a_page(page: Path) -> None:
    found = [
        f"line {(token.map or [0])[0] + 1}: {complaint}"
        for token in tokens(page)
        if token.type == "inline"
        for complaint in _complaints(token.content)
    ]

    assert found == []


@pytest.mark.parametrize("source", messages.collected())
def test_no_banned_word_in_a_message(source: str) -> None:
    found = [complaint for text in messages.collected()[source] for complaint in _complaints(text)]

    assert found == []
