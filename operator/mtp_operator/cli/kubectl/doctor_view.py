"""`kubectl mtp doctor` as text."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .documents import DoctorDocument
from .text import BAD, BUSY, GOOD, QUIET

_MARKS: Final = {"ok": ("✔", GOOD), "warning": ("!", BUSY), "failed": ("✖", BAD), "unknown": ("?", QUIET)}


def doctor_view(document: DoctorDocument) -> RenderableType:
    """One line for each check, below it what to do."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for one in document.checks:
        mark, color = _MARKS[one.result]
        words = Text(one.message)
        if one.action:
            words.append(f"\nWhat to do: {one.action}", style=color)
        table.add_row(Text(mark, style=color), one.name, words)
    failed = sum(one.result == "failed" for one in document.checks)
    unknown = sum(one.result == "unknown" for one in document.checks)
    closing = f"{failed} of {len(document.checks)} checks failed" if failed else "No check failed"
    closing += f"; {unknown} could not be made" if unknown else ""
    return Group(table, Text(f"\n{closing} (namespace {document.namespace}).", style=BAD if failed else GOOD))
