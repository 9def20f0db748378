"""Which pod's engine log belongs to a model now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mtp_operator.api.model import MTPModel
from mtp_operator.resources.engine_pod import ENGINE_CONTAINER
from mtp_operator.resources.fetch_job import FETCH_CONTAINER
from mtp_operator.resources.labels import COMPONENT_LABEL, MODEL_LABEL, RUN_LABEL, SERVER

_ALIVE: Final = ("Running", "Pending")


@dataclass(frozen=True)
class LogSource:
    """A container of a pod."""

    pod: str
    container: str
    what: str
    """What it is, in words."""


def selector(model: MTPModel) -> str:
    """What selects all pods of a model."""
    return f"{MODEL_LABEL}={model.metadata.name}"


def log_source(pods: Sequence[Mapping[str, Any]]) -> LogSource | None:
    """The log that says most now: of the trial under way, else of the newest server, else of a fetch or an ended trial.

    Args:
        pods: of the model, as the API server has them.
    """
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    alive = [pod for pod in newest if pod.get("status", {}).get("phase") in _ALIVE]
    for candidates in (alive, newest):
        for what, matches in (("trial", _is_trial), ("server", _is_server), ("fetch", _is_fetch)):
            found = next((pod for pod in candidates if matches(pod)), None)
            if found is not None:
                container = FETCH_CONTAINER if what == "fetch" else ENGINE_CONTAINER
                return LogSource(str(found["metadata"]["name"]), container, what)
    return None


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return labels


def _is_trial(pod: Mapping[str, Any]) -> bool:
    return RUN_LABEL in _labels(pod)


def _is_server(pod: Mapping[str, Any]) -> bool:
    return _labels(pod).get(COMPONENT_LABEL) == SERVER


def _is_fetch(pod: Mapping[str, Any]) -> bool:
    return not _is_trial(pod) and not _is_server(pod)
