"""`mtp render`: what the operator would make, to read before it does."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

FAILED: Final = 1
"""Exit status if some document could not be used."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("render")(render)


def render(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Manifests with MTPModels; - is standard input.")
    ],
    namespace: Annotated[str, typer.Option(help="Namespace of models that state none.")] = "default",
    vllm_image: Annotated[
        str | None, typer.Option(help="Image of vLLM, where the model states none. Default: the chart's.")
    ] = None,
    llama_cpp_image: Annotated[
        str | None, typer.Option(help="Image of llama.cpp, where the model states none. Default: the chart's.")
    ] = None,
    bench_image: Annotated[str | None, typer.Option(help="Image of the bench container. Default: the chart's.")] = None,
    ready_seconds: Annotated[
        int | None, typer.Option(min=10, help="As trials.readySeconds of the chart, whose default it has.")
    ] = None,
    level_seconds: Annotated[
        int | None, typer.Option(min=1, help="As trials.levelSeconds of the chart, whose default it has.")
    ] = None,
) -> None:
    """Print the objects that the operator would make for the MTPModels in the files; no cluster is asked.

    Which n are measured, and how often, follows from what is measured: here there is one trial for each n. Servers are
    printed where their n is known: pinned, with tuning disabled, or n_spec=0 while tuning. What only a cluster knows is
    left out (owners, the node of the first trial); a commit that only the hub knows is zeros. A mistake that the API
    server would find ends this with the lines of `mtp validate`.
    """
    from .render import Installation, RenderError, models_in, rendered_objects, to_yaml

    stated: dict[str, Any] = {
        "vllm_image": vllm_image,
        "llama_cpp_image": llama_cpp_image,
        "bench_image": bench_image,
        "ready_seconds": ready_seconds,
        "level_seconds": level_seconds,
    }
    installation = Installation(**{name: value for name, value in stated.items() if value is not None})
    try:
        objects = [
            rendered
            for file in files
            for model in models_in(_read(file), str(file), namespace)
            for rendered in rendered_objects(model, installation)
        ]
    except RenderError as error:
        _refuse(str(error))
    sys.stdout.write(to_yaml(objects))


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"{file}: {error}")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(FAILED)
