"""`mtp validate`: whether MTPModels are in order, before a cluster sees them."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

FAILED: Final = 1
"""Exit status if some model is not in order, or there is none."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("validate")(validate)


def validate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR|-...", help="Manifests, folders of them (*.yaml, *.yml, *.json), - is stdin."),
    ],
) -> None:
    """Check the MTPModels in the files as the API server and the operator would; no cluster is asked.

    Prints one line for each mistake, `file:line: field: message`, and exits with 1 if there is one. Objects of other
    kinds are passed over. What only a cluster knows (Secrets, PVCs, GPUs, policies) is not checked.
    """
    from .manifests import ManifestError, texts
    from .validate import judged

    in_order = problems = 0
    try:
        for source, text in texts(files):
            if "MTPModel" not in text:
                continue
            try:
                for one in judged(text, source):
                    in_order += not one.problems
                    problems += len(one.problems)
                    for problem in one.problems:
                        print(problem, file=sys.stderr)
            except ManifestError as error:
                problems += 1
                print(error, file=sys.stderr)
    except ManifestError as error:
        problems += 1
        print(error, file=sys.stderr)
    if problems:
        raise typer.Exit(FAILED)
    if not in_order:
        print("no MTPModel found in " + ", ".join(map(str, files)), file=sys.stderr)
        raise typer.Exit(FAILED)
    print(f"{in_order} MTPModel{'s' if in_order != 1 else ''} in order")
