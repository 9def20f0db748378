"""The test cluster's commands: `python -m tests.cluster --help`."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from tests.cluster import images, lifecycle, node, paths, tools

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("tools")
def install_tools() -> None:
    """Get everything that the cluster needs: build what is missing, install Debian packages."""
    tools.install()
    for tool in tools.TOOLS:
        for command in tool.commands:
            print(tools.find(command))


@app.command()
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE...", help=f"Of {', '.join(images.IMAGES)}.")],
) -> None:
    """Build the tools, and the images meanwhile: the ones keep the processor busy, the others wait for the network."""
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(tools.ensure, *tools.TOOLS), pool.submit(_build_images, names)]:
            job.result()


def _build_images(names: list[str]) -> None:
    tools.install_packages()
    images.build_all(names)


@app.command()
def up(
    gpus: Annotated[int, typer.Option(min=0, max=64, help="How many GPUs the node pretends to have.")] = (
        lifecycle.DEFAULT_GPUS
    ),
) -> None:
    """Start the cluster, or whatever of it does not run."""
    lifecycle.up(gpus)


@app.command()
def down() -> None:
    """End the cluster and remove all it took from this machine but images and logs."""
    lifecycle.down()


@app.command()
def kubeconfig() -> None:
    """Print the path of the cluster's kubeconfig."""
    print(paths.kubeconfig())


@app.command()
def status() -> None:
    """Print how each component is; exit code 1 if one is not well."""
    raise typer.Exit(0 if lifecycle.status() else 1)


@app.command()
def volume(
    namespace: Annotated[str, typer.Option(help="The claim's namespace, which exists.")],
    claim: Annotated[str, typer.Option(help="The claim's name.")],
    path: Annotated[Path, typer.Option(help="The folder of this machine that the volume shows.")],
) -> None:
    """Create a claim that is bound to a folder of this machine."""
    node.create_volume(namespace, claim, path)


if __name__ == "__main__":
    try:
        app()
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
