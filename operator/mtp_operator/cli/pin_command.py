"""`mtp pin`: what a tuning run chose, written into a manifest for a pull request."""

import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

FAILED: Final = 1
"""Exit status if nothing could be written."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("pin")(pin)


def pin(
    manifest: Annotated[Path, typer.Argument(metavar="MODEL", help="The manifest with the MTPModel; it is changed.")],
    run: Annotated[
        Path,
        typer.Option("--from", metavar="RUN", help="The MTPTuningRun as YAML or JSON; - is standard input."),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the run, where RUN contains several.")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the change instead of making it.")] = False,
) -> None:
    """Set spec.speculation.nSpec of a manifest to what a tuning run chose; comments and layout stay.

    kubectl get mtpr NAME -o yaml | mtp pin model.yaml --from -
    """
    from mtp_operator.api.verdicts import CHOICES
    from mtp_operator.report.source import ReportError, run_in

    from .pin import PinError, pinned

    try:
        found = run_in(_read(run), str(run), name)
        verdict = found.status.verdict
        if verdict is None or verdict.type not in CHOICES or verdict.n_spec is None:
            said = f"its verdict is {verdict.type.value}" if verdict is not None else "it has no verdict yet"
            _refuse(f"{run}: {found.metadata.name} chose no n_spec: {said}")
        before = _read(manifest)
        after = pinned(before, str(manifest), found.spec.model_name, verdict.n_spec)
    except (ReportError, PinError) as error:
        _refuse(str(error))
    if diff:
        sys.stdout.write(_unified(before, after, str(manifest)))
    elif after == before:
        print(f"{manifest}: nSpec is {verdict.n_spec} already")
    else:
        try:
            manifest.write_bytes(after.encode())
        except OSError as error:
            _refuse(f"{manifest}: {error.strerror}")
        print(f"{manifest}: nSpec is {verdict.n_spec} now. {verdict.message}")


def _unified(before: str, after: str, name: str) -> str:
    from difflib import unified_diff

    return "".join(unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, name))


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_bytes().decode()
    except OSError as error:
        _refuse(f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(f"{file}: not UTF-8 text")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
