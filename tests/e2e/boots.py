"""Single boots of an engine, each measured and judged as a trial is, without an operator that chooses among them."""

from __future__ import annotations

from collections.abc import Iterable

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun, TrialState, TrialStatus
from mtp_operator.reconcile import trial_conversion
from mtp_operator.reconcile.judgment import Drifted, Failed, Lost, Measured, RunFailed, Running, Terminate, judge
from mtp_operator.reconcile.losslessness import verify_outputs
from mtp_operator.reconcile.run import planned
from mtp_operator.reconcile.views import view_job, view_pod
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.tuning_run import run_settings, tuning_run

from . import harness

BENCH_IMAGE = f"{harness.OPERATOR_IMAGE}:dev"
ENGINE_IMAGES = {"demo-llamacpp": "llamacpp-cpu", "demo-vllm": "vllm-cpu"}
Ended = Measured | Failed | Lost | Drifted | Terminate | RunFailed

READY_SECONDS = 300
LEVEL_SECONDS = 8
OUTPUT_TOKENS = 64
"""Of an answer: what is asked here is whether a gate closes, not how fast an engine is."""


def boot_all(sample: str, n_specs: Iterable[int], namespace: str) -> tuple[TrialStatus, ...]:
    """The trials of these boots of a sample's engine, judged together; the same n may come again.

    Args:
        sample: one of docs/samples.
        n_specs: draft tokens per step of each boot, in their order.
        namespace: where all this happens.
    """
    harness.ensure_model_claim(namespace, folder=harness.small_model_folder())
    run = _run(sample, namespace)
    trials: list[TrialStatus] = []
    for n_spec in n_specs:
        trial = _measured(run, planned(run, trials, n_spec, None))
        trials.append(trial)
        print(
            f"{sample} {trial.candidate} repeat {trial.repeat}: {trial.state}, {trial.reason or 'no fault'}", flush=True
        )
    return verify_outputs(trials)


def _run(sample: str, namespace: str) -> MTPTuningRun:
    document = harness.sample(sample, spec__tuning__workload__outputTokens=OUTPUT_TOKENS)
    meta = {"namespace": namespace, "uid": "0", "creationTimestamp": "2026-01-01T00:00:00Z"}
    model = MTPModel.from_wire({**document, "metadata": {**document["metadata"], **meta}})
    settings = run_settings(model, f"localhost/mtp-operator/{ENGINE_IMAGES[sample]}:dev", BENCH_IMAGE)
    body = tuning_run(model, settings)
    return MTPTuningRun.from_wire({**body, "metadata": {**body["metadata"], **meta}})


def _measured(run: MTPTuningRun, trial: TrialStatus) -> TrialStatus:
    trial = trial.replace(state=TrialState.RUNNING)
    judgment = _trial(run, trial)
    if isinstance(judgment, Drifted):
        # Once it may have been the machine.
        judgment = _trial(run, trial)
    if isinstance(judgment, Measured):
        return trial_conversion.measured_trial(trial, judgment.result, run.spec.workload.levels)
    reason = judgment.reason if isinstance(judgment, Failed) else type(judgment).__name__
    return trial.model_copy(update={"state": TrialState.FAILED, "reason": reason, "message": judgment.message})


def _trial(run: MTPTuningRun, trial: TrialStatus) -> Ended:
    job = trial_job(run, trial, None, ready_seconds=READY_SECONDS, level_seconds=LEVEL_SECONDS)
    # Nobody's: the operator shall not look for its run, nor the garbage collector for its owner.
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        metadata["labels"] = {}
        metadata.pop("ownerReferences", None)
    namespace = run.metadata.namespace
    harness.kubectl("create", "--namespace", namespace, "--filename=-", document=job)

    def read() -> Ended | None:
        seen = harness.get("jobs", namespace, trial.job_name)
        pods = harness.items("pods", namespace, f"batch.kubernetes.io/job-name={trial.job_name}")
        judgment = judge(trial, view_job(seen) if seen else None, view_pod(pods[0]) if pods else None)
        return None if isinstance(judgment, Running) else judgment

    judgment = harness.wait_until(read, f"the end of {trial.job_name}")
    assert judgment is not None
    harness.kubectl("delete", "job", trial.job_name, "--namespace", namespace, "--cascade=foreground")
    return judgment
