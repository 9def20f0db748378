"""The commands of a block for a shell, taken apart as a shell would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.pages import Block, blocks

OPERATORS = {"|", "||", "&&", ";"}
REDIRECTIONS = {">", ">>", "<"}
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        block: where it is.
        words: the program and its arguments.
        output: the file that its output goes to, if any.
    """

    block: Block
    words: tuple[str, ...]
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words)}"

    @property
    def program(self) -> str:
        """What is run."""
        return self.words[0]

    @property
    def verb(self) -> str:
        """The program with its subcommand."""
        return " ".join(self.words[:2])

    def option(self, *names: str) -> list[str]:
        """What follows each occurrence of an option, with a blank or `=`."""
        following = [word for option, word in zip(self.words, self.words[1:], strict=False) if option in names]
        return following + [
            word.partition("=")[2] for word in self.words if word.partition("=")[0] in names and "=" in word
        ]


def commands() -> list[Command]:
    """Every command of every page."""
    return [command for block in blocks() if block.language == "shell" for command in _commands(block)]


def _commands(block: Block) -> Iterator[Command]:
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        output = None
        rest = iter(lexer)
        for word in rest:
            if word in OPERATORS:
                yield Command(block, tuple(words), output)
                words, output = [], None
            elif word in REDIRECTIONS:
                output = next(rest) if word != "<" else next(rest) and None
            elif words or not _ASSIGNMENT.fullmatch(word):
                words.append(word)
        if words:
            yield Command(block, tuple(words), output)
