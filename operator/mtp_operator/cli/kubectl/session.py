"""What all verbs have in common: the options, the output, and how an error is said."""

import functools
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType

from mtp_operator.api.base import Schema

from .cluster import ClusterError, Connection

FAILED: Final = 1
"""Exit status if the cluster refuses, or if what was looked at is not in order."""

FILE_COLUMNS: Final = 120
"""Width where the output is not a terminal."""


class Output(StrEnum):
    """How a verb answers."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class Session:
    """One call of a verb: where it asks and how it answers."""

    connection: Connection
    output: Output
    console: Console

    def show(self, document: Schema, view: Callable[[Any], RenderableType]) -> None:
        """Print a document, by its view or as JSON."""
        if self.output is Output.JSON:
            print(as_json(document))
        else:
            self.console.print(view(document))


def as_json(document: Schema, indent: int | None = 2) -> str:
    """The document as `-o json` prints it."""
    return json.dumps(document.to_wire(), indent=indent, ensure_ascii=False)


def console_for(width: int | None = None, *, no_color: bool = False) -> Console:
    """A console of the terminal's width, or of `FILE_COLUMNS` where there is none; NO_COLOR counts too."""
    is_terminal = sys.stdout.isatty()
    columns = width or (None if is_terminal else FILE_COLUMNS)
    # No markup: what objects of the cluster say is text, whatever brackets it has.
    return Console(width=columns, highlight=False, markup=False, no_color=no_color or None)


_NAMESPACE = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Default: the namespace of the context.", show_default=False)
]
_CONTEXT = Annotated[str | None, typer.Option(help="Default: the current context.", show_default=False)]
_KUBECONFIG = Annotated[str | None, typer.Option(help="Default: KUBECONFIG, else ~/.kube/config.", show_default=False)]
_OUTPUT = Annotated[Output, typer.Option("--output", "-o", help="text, or json for programs.")]
_NO_COLOR = Annotated[bool, typer.Option("--no-color", help="No colors; the same as NO_COLOR=1.")]

_SHARED: Final = {
    "namespace": (_NAMESPACE, None),
    "context": (_CONTEXT, None),
    "kubeconfig": (_KUBECONFIG, None),
    "output": (_OUTPUT, Output.TEXT),
    "no_color": (_NO_COLOR, False),
}


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """The function as a command that has the shared options beside its own, and gets a `Session` first.

    An option of its own takes the place of a shared one of the same name.
    """
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = {name: one for name, one in _SHARED.items() if name not in {parameter.name for parameter in own}}

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        told: dict[str, Any] = {
            name: arguments.pop(name) if name in shared else default for name, (_, default) in _SHARED.items()
        }
        connection = Connection(told["namespace"], told["context"], told["kubeconfig"])
        try:
            function(Session(connection, told["output"], console_for(no_color=told["no_color"])), **arguments)
        except ClusterError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        finally:
            connection.close()

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [one.replace(kind=keyword) for one in own] + [
        inspect.Parameter(name, keyword, default=default, annotation=type_) for name, (type_, default) in shared.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command
