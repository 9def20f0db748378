"""Labels and names that every child carries."""

from typing import Final

from mtp_operator.api.base import GROUP

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "mtp-operator"
"""Value of the managed-by label, and the field manager of every write."""

MODEL_LABEL: Final = f"{GROUP}/model"
RUN_LABEL: Final = f"{GROUP}/run"
N_SPEC_LABEL: Final = f"{GROUP}/n-spec"

MANAGED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGER}"


def child_labels(model_name: str) -> dict[str, str]:
    """Labels of every child of a model; labels of the model itself are never copied."""
    return {MANAGED_BY_LABEL: MANAGER, MODEL_LABEL: model_name}


def trial_labels(model_name: str, run_name: str, n_spec: int) -> dict[str, str]:
    """Labels of a trial's Job and pod."""
    return {**child_labels(model_name), RUN_LABEL: run_name, N_SPEC_LABEL: str(n_spec)}
