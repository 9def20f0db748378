"""`mtp init`: an MTPModel from what people start engines with today."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

FAILED: Final = 1
"""Exit status if nothing can be made of the input."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("init", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(init)


def init(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="`vllm serve …`, `llama-server …` or `docker run …`, as you run it."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="A compose file, Kubernetes manifests, or a command line; - is stdin."),
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="The service of the compose file, where several start engines.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the MTPModel. Default: from what was found.")] = None,
) -> None:
    """Write an MTPModel for a deployment that you have: its flags, variables, image, GPUs and pod settings.

    Every flag goes into a field or into extraArgs; what is left out is in a comment with its reason.
    """
    from mtp_operator.convert.document import converted, to_yaml
    from mtp_operator.convert.found import ConvertError
    from mtp_operator.convert.sources import deployed_in

    if bool(command) == (file is not None):
        _refuse("give either a command line or --file")
    try:
        text = shlex.join(command) if command else _read(file or Path("-"))
        document, draft = converted(deployed_in(text, service))
    except ConvertError as error:
        _refuse(str(error))
    if name:
        document["metadata"]["name"] = name
    sys.stdout.write(to_yaml(document, draft))


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"{file}: {error}")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
