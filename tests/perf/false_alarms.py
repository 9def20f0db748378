"""How often a gate suspects an engine that has no fault: boots of both engines at n 0 to 4, all measured as trials are.

    python -m tests.perf.false_alarms [BOOTS]

Prints what was suspected, and the bound that the number of boots allows: with none of N suspected, the share of false
alarms is below 1 - 0.05^(1/N) with 95 % confidence (Clopper and Pearson 1934). Asserts nothing.
"""

from __future__ import annotations

import math
import sys

from mtp_operator.api.run import TrialState, TrialStatus
from tests.cluster.lifecycle import ensure_cluster
from tests.e2e import harness
from tests.e2e.boots import boot_all

NAMESPACE = "false-alarms"
N_SPECS = (0, 1, 2, 3, 4)
SAMPLES = ("demo-llamacpp", "demo-vllm")
CONFIDENCE = 0.95


def main(boots: int) -> None:
    """Boots each engine half as often as told."""
    ensure_cluster()
    harness.ensure_namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
    each = boots // len(SAMPLES)
    n_specs = [N_SPECS[index % len(N_SPECS)] for index in range(each)]
    trials = [trial for sample in SAMPLES for trial in boot_all(sample, n_specs, NAMESPACE)]
    suspected = [trial for trial in trials if is_suspected(trial)]
    for trial in suspected:
        print(f"n={trial.n_spec}: {trial.reason}: {trial.message}")
    print(f"{len(suspected)} of {len(trials)} healthy boots were suspected")
    if not suspected:
        print(f"the share of false alarms is below {bound(len(trials)):.1%} ({CONFIDENCE:.0%} confidence)")
    harness.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def is_suspected(trial: TrialStatus) -> bool:
    """Whether a trial is out, or never chosen by itself."""
    return trial.state is not TrialState.MEASURED or trial.reason is not None


def bound(boots: int) -> float:
    """The largest share of false alarms under which none in so many boots is not yet a surprise."""
    return 1 - math.exp(math.log(1 - CONFIDENCE) / boots)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
