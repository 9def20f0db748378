"""What `kubectl mtp plan` asks the cluster."""

from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from mtp_operator.api.model import MTPModel
from mtp_operator.cli.manifests import ManifestError, texts
from mtp_operator.cli.render import RenderError, models_in

from .cluster import ClusterError, Connection
from .documents import PlannedModel
from .plan_document import planned_model
from .seen import ask


def planned(connection: Connection, files: Iterable[Path]) -> tuple[PlannedModel, ...]:
    """What each model of the files would bring about.

    Raises:
        ClusterError: a file is not in order, or the cluster cannot be asked.
    """
    nodes = ask(lambda: connection.items("/api/v1/nodes", "Nodes"))
    pods = ask(lambda: connection.items("/api/v1/pods", "Pods of all namespaces"))
    found = []
    try:
        for source, text in texts(files):
            for stated in models_in(text, source, connection.namespace):
                there = replace(connection, chosen_namespace=stated.metadata.namespace)
                try:
                    live = _live(there, stated.metadata.name)
                    found.append(planned_model(stated, live, there.runs(), nodes, pods))
                finally:
                    there.close()
    except (ManifestError, RenderError) as error:
        raise ClusterError(str(error)) from None
    return tuple(found)


def _live(connection: Connection, name: str) -> MTPModel | None:
    try:
        return connection.model(name)
    except ClusterError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
