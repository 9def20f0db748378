"""What the commands' tables have in common: at 80 columns no figure is cut, and text breaks instead."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

FILE_WIDTH: Final = 160
"""Columns where the output is not a terminal."""


def figures_table(*columns: str, text: Sequence[str] = (), title: str | None = None) -> Table:
    """A table with a row for each thing that was measured.

    Args:
        columns: their headings; a line break in one is kept.
        text: the columns of words, which break where the table would be too wide; figures never do.
        title: of the table.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for column in columns:
        if column in text:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, no_wrap=True, justify="right")
    return table


def metrics_table(heading: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> Table:
    """A table with a column for each thing that was measured, and a row for each metric.

    Args:
        heading: what the columns' headings are.
        columns: their headings.
        rows: each metric's name and its figures, one a column; metrics without any figure are left out.
    """
    table = figures_table(heading, *columns, text=(heading,))
    for name, figures in rows:
        if any(figures):
            table.add_row(name, *figures)
    return table
