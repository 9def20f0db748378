"""`kubectl mtp compare` as text."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .documents import CompareDocument, ComparisonRow
from .text import BAD, GOOD, QUIET, heading


def compare_view(document: CompareDocument) -> RenderableType:
    """Figures, then what was measured differently."""
    parts: list[RenderableType] = [_table(document, document.rows)]
    if document.differences:
        parts += [heading("What was measured differently"), _table(document, document.differences)]
    else:
        parts += [heading("Both measured the same."), Text()]
    return Group(*parts)


def _table(document: CompareDocument, rows: tuple[ComparisonRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    has_change = any(row.change for row in rows)
    for column in ("", document.left, document.right, *(["CHANGE"] if has_change else [])):
        table.add_column(column, overflow="fold")
    for row in rows:
        change = Text(row.change, style=_color(row))
        if row.is_noise:
            change.append(" within noise")
        table.add_row(row.label, row.left, row.right, *([change] if has_change else []))
    return table


def _color(row: ComparisonRow) -> str:
    if row.is_noise is None or row.is_noise:
        return QUIET
    return GOOD if row.change.startswith("+") else BAD
