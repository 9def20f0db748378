"""`mtp self-test`: what the pod of `helm test` runs."""

import json
import signal
import sys
import time
from typing import Annotated, Any, Final

import typer

FAILED: Final = 1
"""Exit status if the model was not tuned."""

REFUSED: Final = 2
"""Exit status if the model is not an MTPModel with a name and a namespace."""


def register(app: typer.Typer) -> None:
    """Add the command to the `mtp` command."""
    app.command("self-test", hidden=True)(self_test)


def self_test(
    model: Annotated[str, typer.Option(help="What to tune: an MTPModel as JSON.")],
    timeout_seconds: Annotated[float, typer.Option(min=0, help="That its tuning may take.")],
) -> None:
    """Tune a model in this cluster, print the verdict and delete the model (what the pod of `helm test` runs)."""
    from .kubectl.cluster import ClusterError, Connection
    from .kubectl.self_testing import tune_and_delete

    # A pod that is deleted gets SIGTERM, and its model goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    manifest = _manifest(model)
    connection = Connection(manifest["metadata"]["namespace"])
    try:
        is_tuned = tune_and_delete(connection, manifest, timeout_seconds)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    finally:
        connection.close()
    if not is_tuned:
        raise typer.Exit(FAILED)


def _manifest(model: str) -> dict[str, Any]:
    """The model with a request of its own, so that no test takes over the trials of an earlier one."""
    from .kubectl.retuning import MOST_REQUESTS

    try:
        manifest: dict[str, Any] = json.loads(model)
        is_named = {"name", "namespace"} <= manifest["metadata"].keys()
        manifest["spec"].setdefault("tuning", {})["request"] = 1 + int(time.time()) % MOST_REQUESTS
    except (AttributeError, LookupError, TypeError, ValueError):
        is_named = False
    if not is_named:
        print("--model: must be an MTPModel as JSON, with metadata.name, metadata.namespace and spec", file=sys.stderr)
        raise typer.Exit(REFUSED)
    return manifest
