"""What the views have in common: marks, colors by meaning, and figures that fit."""

from collections.abc import Iterable
from typing import Final

from rich.table import Table
from rich.text import Text

from mtp_operator.report.data import Interval
from mtp_operator.report.words import bounds, ratio

GOOD: Final = "green"
BAD: Final = "red"
BUSY: Final = "yellow"
QUIET: Final = "dim"

WIDE_COLUMNS: Final = 110
"""Width from which on a table has the columns of less interest."""


def short_speedup(interval: Interval) -> str:
    """Such as `2.50x (2.22-2.93)`: in a table whose heading says what the interval is."""
    return f"{ratio(interval)} ({bounds(interval)})"


def plain_table(*columns: str, text: Iterable[str] = ()) -> Table:
    """A table without lines: figures to the right, words to the left, headings as kubectl has them."""
    words = set(text)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        if column in words:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, no_wrap=True, justify="right")
    return table


def labelled(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Labels to the left, what they are to the right, broken below itself."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(label, value)
    return table


def heading(title: str) -> Text:
    """A section's title."""
    return Text(f"\n{title}", style="bold")


def counted(number: int, thing: str) -> str:
    """Such as `1 trial` or `3 trials`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def hanging(rows: Iterable[tuple[str, Text]]) -> Table:
    """A mark, and words that break below themselves."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    for mark, words in rows:
        table.add_row(mark, words)
    return table
