"""Metrics of the operator itself; those of the models are in `model_metrics`.

docs/reference/metrics.md names them all. Labels have few values, whatever is in the cluster.
"""

from importlib.metadata import version
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Info

from mtp_operator.reconcile.observed import Lane

Info("mtp_operator_build", "Version of the operator.").info({"version": version("mtp-operator")})
DECISIONS: Final = Counter(
    "mtp_operator_decisions", "Decisions about one model, by outcome: settled, written, stale or failed.", ["outcome"]
)
DECISION_SECONDS: Final = Histogram(
    "mtp_operator_decision_duration_seconds", "Time from observing one model to the last write of its plan."
)
WRITES: Final = Counter("mtp_operator_writes", "Writes that changed something, by verb and kind.", ["verb", "kind"])
LANE_FAILURES: Final = Counter(
    "mtp_operator_lane_failures", "Writes that failed, by the lane that they belong to: weights, tuning, …", ["lane"]
)
REQUEST_ERRORS: Final = Counter(
    "mtp_operator_request_errors", "Requests that failed, by method and code (0: no answer).", ["method", "code"]
)
INVALID_OBJECTS: Final = Counter(
    "mtp_operator_invalid_objects", "Objects that were set aside because this version cannot read them."
)
QUEUE_DEPTH: Final = Gauge("mtp_operator_queue_depth", "Models that wait for a decision.")
LEADING: Final = Gauge("mtp_operator_leading", "1 while this process holds the Lease.")
SWEEP_AGE_SECONDS: Final = Gauge(
    "mtp_operator_sweep_age_seconds", "Time since the last complete check of the caches; 0 while not leading."
)

# A series that begins at 1 has no rate: without these, no alert would see the first failure.
for _outcome in ("settled", "written", "stale", "failed"):
    DECISIONS.labels(outcome=_outcome)
for _lane in Lane:
    LANE_FAILURES.labels(lane=_lane.value)
