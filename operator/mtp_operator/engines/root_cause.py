"""Which lines of a dead engine's log say why it died."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

ROOT_CAUSE_LIMIT: Final = 700
"""Characters of the lines together: they travel in a termination message beside everything else."""

_LINE_LIMIT: Final = 300

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")

_PREFIX: Final = re.compile(
    r"^(?:\([^()]*pid=\d+\) ?)?"  # the process, where vLLM has several
    r"(?:"
    r"(?P<word>DEBUG|INFO|WARNING|ERROR|CRITICAL) +[\d-]+ [\d:,.]+ +(?:\[[^\]]*\] ?)?"  # Python's logging
    r"|\d+\.\d\d\.\d{3}\.\d{3} (?P<letter>[A-Z]) "  # llama.cpp's, with its clock
    r")?"
)

_HARMLESS: Final = frozenset({"DEBUG", "INFO", "WARNING", "D", "T", "I", "W"})

_EXCEPTION: Final = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b")

_ALARM: Final = re.compile(
    r"\b(?:error|fatal|failed|aborted)\b|out of memory|GGML_ASSERT|terminate called|what\(\):|segmentation fault",
    re.IGNORECASE,
)

_TRACEBACK: Final = "Traceback (most recent call last):"


@dataclass(frozen=True)
class _Line:
    level: str
    text: str

    @property
    def is_alarming(self) -> bool:
        if self.level in _HARMLESS or self.text.startswith((" ", _TRACEBACK)):
            return False
        return bool(self.level or _EXCEPTION.search(self.text) or _ALARM.search(self.text))


def root_cause_lines(text: str, limit: int = ROOT_CAUSE_LIMIT) -> str:
    """The lines of a log that name the cause, joined by "; "; empty where nothing went wrong.

    The cause comes first: the exception of the first traceback, else the first error. What follows is what the engine
    said last, as far as there is room: the end of a log tells how an engine gave up, seldom why.

    Args:
        text: the log or a part of it, of any engine.
        limit: most characters of the answer.
    """
    lines = [_read(line) for line in text.splitlines()]
    errors = list(dict.fromkeys(line.text.strip()[:_LINE_LIMIT] for line in lines if line.is_alarming))
    cause = next(_raised(lines), None) or next(iter(errors), None)
    if cause is None:
        return ""
    reported = cause[:limit]
    room = limit - len(reported)
    last: list[str] = []
    for line in reversed(errors):
        if line == cause:
            break
        room -= len(line) + 2
        if room < 0:
            break
        last.append(line)
    return "; ".join([reported, *reversed(last)])


def _read(line: str) -> _Line:
    line = _COLOURS.sub("", line)
    prefix = _PREFIX.match(line)
    if prefix is None:
        return _Line("", line)
    return _Line(prefix["word"] or prefix["letter"] or "", line[prefix.end() :].rstrip())


def _raised(lines: list[_Line]) -> Iterator[str]:
    """The last line of each traceback: the exception, the first line after the frames that is not indented."""
    in_traceback = False
    for line, following in pairwise([*lines, _Line("", "")]):
        if line.text.startswith(_TRACEBACK):
            in_traceback = True
        elif in_traceback and line.text and not line.text.startswith(" "):
            in_traceback = False
            # pydantic counts first, and says what is wrong in the next line.
            is_count = "validation error" in line.text and following.text.startswith(" ")
            yield (f"{line.text}: {following.text.strip()}" if is_count else line.text)[:_LINE_LIMIT]
