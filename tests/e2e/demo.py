"""The demo: install the operator, apply a sample model, and show what was measured.

python -m tests.e2e.demo simulated|llamacpp|vllm
"""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.cluster import paths
from tests.cluster.progress import step

from . import harness

NAMESPACE = "mtp-demo"
SIMULATED = "simulated"
ENGINES = (SIMULATED, "llamacpp", "vllm")
TIMEOUT_SECONDS = 1200


def main(engine: str) -> None:
    """Runs the demo with one engine."""
    if engine not in ENGINES:
        sys.exit(f"ENGINE={engine}: must be one of {', '.join(ENGINES)}")
    name = f"demo-{engine}"
    if engine != SIMULATED:
        with step("Making a small model with real MTP heads"):
            harness.model_folder()
    with step("helm install mtp-operator charts/mtp-operator"):
        harness.install_operator()
        harness.restart_operator()
    with step(f"kubectl apply -f docs/samples/{name}.yaml"):
        harness.ensure_namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
        harness.kubectl("delete", "mtptuningruns", "--all", "-n", NAMESPACE)
        harness.clear(NAMESPACE)
        if engine == SIMULATED:
            harness.ensure_simulated_claim(NAMESPACE)
        else:
            harness.ensure_model_claim(NAMESPACE)
        harness.apply(harness.manifest(name), NAMESPACE)
    model = follow(name)
    print()
    print(harness.kubectl("get", "mtpm", "-n", NAMESPACE))
    show_trials(harness.run_of(model))
    print(harness.condition(model, "Tuned")["message"])
    print(f"""
It is served: {model["status"]["url"]} in the cluster, with n_spec={model["status"]["servedNSpec"]}.

Look further:
  export KUBECONFIG={paths.kubeconfig()}
  kubectl describe mtpm -n {NAMESPACE}      the story: conditions and Events
  kubectl get mtpr -n {NAMESPACE} -o yaml   the evidence: each trial with its windows and counters
  kubectl explain mtpm.spec.tuning
  make demo-down                         ends the cluster""")


def follow(name: str) -> dict[str, Any]:
    """Prints what the model says of itself until it is tuned or stalled."""
    said = ""
    begin = time.monotonic()
    while time.monotonic() - begin < TIMEOUT_SECONDS:
        model = harness.get("mtpmodels", NAMESPACE, name)
        tuned = harness.condition(model, "Tuned")
        if tuned and tuned["message"] != said:
            said = tuned["message"]
            print(f"  {time.monotonic() - begin:5.0f} s  {said}", flush=True)
        if model is not None and harness.condition(model, "Ready").get("status") == "True":
            return model
        if harness.condition(model, "Stalled").get("status") == "True":
            sys.exit(f"The model is stalled:\n{harness.story(NAMESPACE, name)}")
        time.sleep(0.5)
    sys.exit(f"The model is not tuned after {TIMEOUT_SECONDS} s:\n{harness.story(NAMESPACE, name)}")


def show_trials(run: dict[str, Any]) -> None:
    """The evidence as a table."""
    table = Table(title=f"What was measured (MTPTuningRun {run['metadata']['name']})", title_justify="left")
    for column in ("n", "tok/s", "acceptance length", "accepted per position", "state"):
        table.add_column(column, justify="left" if column == "state" else "right")
    for trial in sorted(run["status"]["trials"], key=lambda trial: (trial["nSpec"], trial["repeat"])):
        shares = [
            f"{accepted / level['drafts']:.2f}"
            for level in trial.get("levels", ())[:1]
            if level.get("drafts")
            for accepted in level.get("acceptedPerPosition", ())
        ]
        table.add_row(
            str(trial["nSpec"]),
            trial.get("outputTokensPerSecond", ""),
            trial.get("acceptanceLength", "1" if trial["nSpec"] == 0 else ""),
            " ".join(shares),
            trial["state"] if trial["state"] == "Measured" else f"{trial['state']}: {trial.get('message', '')}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else SIMULATED)
