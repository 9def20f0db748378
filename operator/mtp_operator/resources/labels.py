"""Labels and names that every child carries."""

from typing import Any, Final

from mtp_operator.api.base import API_VERSION, GROUP
from mtp_operator.api.model import MTPModel

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "mtp-operator"
"""Value of the managed-by label, and the field manager of every write."""

MODEL_LABEL: Final = f"{GROUP}/model"
RUN_LABEL: Final = f"{GROUP}/run"
CANDIDATE_LABEL: Final = f"{GROUP}/candidate"
N_SPEC_LABEL: Final = f"{GROUP}/n-spec"
SETTINGS_LABEL: Final = f"{GROUP}/settings"
MEASUREMENT_LABEL: Final = f"{GROUP}/measurement"
"""On a run: what its trials measured, by which other runs find them."""
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's own, on a trial's Job."""
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
TRACK_LABEL: Final = f"{GROUP}/track"
STABLE: Final = "stable"
"""Value of the track label of what serves for good. A selector is immutable, and without it would select a canary."""

KNOWN_LABELS: Final = frozenset(
    {
        MANAGED_BY_LABEL,
        MODEL_LABEL,
        RUN_LABEL,
        CANDIDATE_LABEL,
        N_SPEC_LABEL,
        SETTINGS_LABEL,
        MEASUREMENT_LABEL,
        COMPONENT_LABEL,
        TRACK_LABEL,
    }
)
"""Labels that the operator writes; of its objects' others nothing depends."""

APPLIED_ANNOTATION: Final = f"{GROUP}/applied"
"""Hash of what was last applied to an object: a field that is not applied any more shows in nothing else."""

SERVER: Final = "server"
"""Value of the component label of servers' pods, which trials' pods do not have."""

MANAGED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGER}"


def child_labels(model_name: str) -> dict[str, str]:
    """Labels of every child of a model; labels of the model itself are never copied."""
    return {MANAGED_BY_LABEL: MANAGER, MODEL_LABEL: model_name}


def trial_labels(model_name: str, run_name: str, candidate: str, n_spec: int) -> dict[str, str]:
    """Labels of a trial's Job and pod."""
    return {
        **child_labels(model_name),
        RUN_LABEL: run_name,
        CANDIDATE_LABEL: candidate,
        N_SPEC_LABEL: str(n_spec),
    }


def measurement_label(measurement_hash: str) -> str:
    """The value of the measurement label: enough of the hash to find runs by."""
    return measurement_hash.removeprefix("sha256:")[:16]


def server_labels(model_name: str) -> dict[str, str]:
    """Labels of everything that serves; they select a model's servers, whatever they serve."""
    return {**child_labels(model_name), COMPONENT_LABEL: SERVER, TRACK_LABEL: STABLE}


def server_selector(model_name: str) -> dict[str, str]:
    """What selects the servers' pods of a model."""
    return {MODEL_LABEL: model_name, COMPONENT_LABEL: SERVER, TRACK_LABEL: STABLE}


def owned_by(model: MTPModel) -> list[dict[str, Any]]:
    """The owner references of a model's child, which goes when the model goes."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": "MTPModel",
            "name": model.metadata.name,
            "uid": model.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
