"""What a person who waits gets to see."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class _Terminal:
    """Lines from several threads: a step's end completes its line if nothing was said since, else says it anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unfinished: str | None = None

    def begin(self, title: str) -> None:
        with self._lock:
            self._end_line()
            print(f"{title} … ", end="", flush=True)
            self._unfinished = title

    def end(self, title: str, outcome: str) -> None:
        with self._lock:
            if self._unfinished != title:
                self._end_line()
                print(f"{title} … ", end="")
            print(outcome, flush=True)
            self._unfinished = None

    def line(self, text: str) -> None:
        with self._lock:
            self._end_line()
            print(text, flush=True)

    def _end_line(self) -> None:
        if self._unfinished is not None:
            print()
            self._unfinished = None


_terminal = _Terminal()
#: Prints one line, whatever other threads are in the middle of.
tell = _terminal.line


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints what is being done, and the seconds it took once it is done; several threads may do so at a time."""
    _terminal.begin(title)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        _terminal.end(title, "failed")
        raise
    _terminal.end(title, f"{time.monotonic() - begin:.1f} s")


class Share:
    """How far something is whose parts are known, told now and then with the time that is left.

    Args:
        title: what is being done to the parts.
        parts: the names of all of them.
    """

    INTERVAL_SECONDS = 30.0

    def __init__(self, title: str, parts: Iterable[str]) -> None:
        self._title = title
        self._left = set(parts)
        self._whole = len(self._left)
        self._begin = self._told = time.monotonic()

    def advance(self, part: str) -> None:
        """A part is done; what is none of the parts counts for nothing."""
        self._left.discard(part)
        now = time.monotonic()
        done = self._whole - len(self._left)
        if self._left and done and now - self._told >= self.INTERVAL_SECONDS:
            self._told = now
            minutes = round((now - self._begin) / done * len(self._left) / 60) or 1
            tell(f"  {self._title}: {done} of {self._whole}, about {minutes} min left")
