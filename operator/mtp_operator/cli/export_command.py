"""`mtp export`: what a tuning run found, for who serves elsewhere."""

import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from mtp_operator.api.base import MAX_N_SPEC

FAILED: Final = 1
"""Exit status if there is nothing to export."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="An MTPTuningRun as YAML or JSON; - is standard input.")],
    to: Annotated[
        str,
        typer.Option(
            help="args (a command line), compose, kserve, llmkube, kaito, aiconfigurator, or vllm-recipe (vllm serve "
            "--config)."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the run, where RUN contains several.")] = None,
    n_spec: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_N_SPEC, help="Another n_spec that was measured. Default: the chosen one."),
    ] = None,
) -> None:
    """Print the engine as it was measured with the n_spec that was chosen, with the figures as comments.

    kubectl get mtpr NAME -o yaml | mtp export - --to args
    """
    from mtp_operator.report.export import Format, exported
    from mtp_operator.report.exported_engine import ExportError
    from mtp_operator.report.source import ReportError, run_in

    if to not in tuple(Format):
        _refuse(f"--to: must be one of {', '.join(Format)}, not {to}")
    try:
        text = sys.stdin.read() if str(run) == "-" else run.read_text(encoding="utf-8")
        sys.stdout.write(exported(run_in(text, str(run), name), Format(to), n_spec))
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"{run}: {error}")
    except (ReportError, ExportError) as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
