"""The tables of values in the charts' READMEs, from the comments of their values.yaml.

`python docs/scripts/chart_values.py` writes them, `--check` compares.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[2] / "charts"
BEGIN, END = "<!-- begin of values -->\n", "<!-- end of values -->\n"


@dataclass(frozen=True)
class Value:
    """One value of a chart."""

    path: str
    default: Any
    meaning: str
    """The comment above it; a heading's comment where it has none of its own."""


def values_of(text: str) -> list[Value]:
    """Every value that a values.yaml has, with the comment right above its key."""
    return list(_values(yaml.compose(text), text.splitlines(), "", ""))


def _values(node: yaml.Node, lines: list[str], prefix: str, heading: str) -> Iterator[Value]:
    for key, value in node.value:
        comment = _comment_above(lines, key.start_mark.line)
        path = f"{prefix}{key.value}"
        if _is_group(value, lines):
            yield from _values(value, lines, f"{path}.", comment)
        elif comment or heading:
            yield Value(path, yaml.safe_load(yaml.serialize(value)), comment or heading)
        else:
            raise SystemExit(f"values.yaml: {path}: write a comment above it that says what it means")


def _is_group(node: yaml.Node, lines: list[str]) -> bool:
    """Whether members are values of their own: some member below has a comment."""
    return isinstance(node, yaml.MappingNode) and any(
        _comment_above(lines, key.start_mark.line) or _is_group(value, lines)
        for key, value in node.value
        if not node.flow_style
    )


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("#").strip())
    return " ".join(found)


def table(values: list[Value]) -> str:
    """The values as a Markdown table."""
    rows = [f"| `{one.path}` | `{json.dumps(one.default)}` | {one.meaning.replace('|', '&#124;')} |" for one in values]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"


def readme_of(chart: Path) -> str:
    """The chart's README with its table as it should be."""
    text = (chart / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return (
        before
        + BEGIN
        + "\n"
        + table(values_of((chart / "values.yaml").read_text(encoding="utf-8")))
        + "\n"
        + END
        + after
    )


def main() -> int:
    """Writes the READMEs that differ; with --check, names them and fails."""
    stale = [
        chart for chart in sorted(CHARTS.iterdir()) if (chart / "README.md").read_text("utf-8") != readme_of(chart)
    ]
    for chart in stale:
        readme = chart / "README.md"
        if "--check" in sys.argv[1:]:
            print(f"{readme} does not show the comments of values.yaml: run `make generate`", file=sys.stderr)
        else:
            readme.write_text(readme_of(chart), encoding="utf-8")
            print(f"wrote {readme}")
    return int("--check" in sys.argv[1:] and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
