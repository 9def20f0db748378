"""`mtp report`: what a tuning run found, as a page, as Markdown or as JSON."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from mtp_operator.report.data import ReportData

FAILED: Final = 1
"""Exit status if no report can be made."""


class Output(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("report")(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="An MTPTuningRun as YAML or JSON; - is standard input.")],
    name: Annotated[str | None, typer.Option(help="Name of the run, where RUN contains several.")] = None,
    output: Annotated[Output, typer.Option(help="A page for a browser, Markdown, or JSON.")] = Output.HTML,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Default: standard output.")] = None,
) -> None:
    """Report a tuning run: verdict, curve, evidence, cost and provenance. No cluster is asked.

    kubectl get mtpr NAME -o yaml | mtp report - --to report.html
    """
    from mtp_operator.report.extract import report_data
    from mtp_operator.report.source import ReportError, run_in

    try:
        text = written(report_data(run_in(_read(run), str(run), name)), output)
    except ReportError as error:
        _refuse(str(error))
    deliver(text, to)


def deliver(text: str, to: Path | None) -> None:
    """Write a report to a file, or to standard output."""
    if to is None:
        sys.stdout.write(text)
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        _refuse(f"{to}: {error.strerror}")


def written(data: "ReportData", output: Output) -> str:
    """The report in one of its forms; ends the command where what that form needs is not installed."""
    match output:
        case Output.HTML:
            return _page(data)
        case Output.MARKDOWN:
            from mtp_operator.report.markdown import markdown

            return markdown(data)
        case Output.JSON:
            import json

            return json.dumps(data.to_wire(), indent=2) + "\n"


def _page(data: "ReportData") -> str:
    try:
        from mtp_operator.report.page import page
    except ModuleNotFoundError as error:
        _refuse(f"--output html needs {error.name}: pip install 'mtp-operator[report]', or use --output md or json")
    return page(data)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        _refuse(f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(f"{file}: not UTF-8 text")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
