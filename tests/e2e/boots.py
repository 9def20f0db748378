"""Single boots of an engine, each measured and judged as a trial is, without an operator that chooses among them."""

from __future__ import annotations

from collections.abc import Iterable

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import ArmState, ArmStatus, MTPTuningRun
from mtp_operator.reconcile import arm_conversion, trial
from mtp_operator.reconcile.losslessness import judged_outputs
from mtp_operator.reconcile.views import view_job, view_pod
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.tuning_run import run_settings, tuning_run

from . import harness

BENCH_IMAGE = f"{harness.OPERATOR_IMAGE}:dev"
ENGINE_IMAGES = {"demo-llamacpp": "llamacpp-cpu", "demo-vllm": "vllm-cpu"}
Ended = trial.Measured | trial.Failed | trial.Lost | trial.Drifted | trial.MustEnd | trial.Broken

READY_SECONDS = 300
LEVEL_SECONDS = 8
OUTPUT_TOKENS = 64
"""Of an answer: what is asked here is whether a gate closes, not how fast an engine is."""


def boot_all(sample: str, n_specs: Iterable[int], namespace: str) -> tuple[ArmStatus, ...]:
    """The arms of these boots of a sample's engine, judged together; the same n may come again.

    Args:
        sample: one of docs/samples.
        n_specs: draft tokens per step of each boot, in their order.
        namespace: where all this happens.
    """
    harness.ensure_model_claim(namespace, folder=harness.small_model_folder())
    run = _run(sample, namespace)
    arms: list[ArmStatus] = []
    for n_spec in n_specs:
        boot = sum(arm.n_spec == n_spec for arm in arms)
        arms.append(_boot(run, n_spec, boot))
        print(f"{sample} n={n_spec} boot {boot}: {arms[-1].state}, {arms[-1].reason or 'no fault'}", flush=True)
    return judged_outputs(arms)


def _run(sample: str, namespace: str) -> MTPTuningRun:
    document = harness.sample(sample, spec__tuning__workload__outputTokens=OUTPUT_TOKENS)
    meta = {"namespace": namespace, "uid": "0", "creationTimestamp": "2026-01-01T00:00:00Z"}
    model = MTPModel.from_wire({**document, "metadata": {**document["metadata"], **meta}})
    settings = run_settings(model, f"localhost/mtp-operator/{ENGINE_IMAGES[sample]}:dev", BENCH_IMAGE)
    body = tuning_run(model, settings)
    return MTPTuningRun.from_wire({**body, "metadata": {**body["metadata"], **meta}})


def _boot(run: MTPTuningRun, n_spec: int, boot: int) -> ArmStatus:
    name = f"{run.spec.model_name}-n{n_spec}-b{boot}"
    arm = ArmStatus(n_spec=n_spec, boot=boot, job_name=name, state=ArmState.RUNNING)
    judgement = _trial(run, arm)
    if isinstance(judgement, trial.Drifted):
        # Once it may have been the machine.
        judgement = _trial(run, arm)
    if isinstance(judgement, trial.Measured):
        return arm_conversion.measured_arm(arm, judgement.result, run.spec.workload.levels)
    reason = judgement.reason if isinstance(judgement, trial.Failed) else type(judgement).__name__
    return arm.model_copy(update={"state": ArmState.FAILED, "reason": reason, "message": judgement.message})


def _trial(run: MTPTuningRun, arm: ArmStatus) -> Ended:
    job = trial_job(run, arm, None, ready_seconds=READY_SECONDS, level_seconds=LEVEL_SECONDS)
    # Nobody's: the operator shall not look for its run, nor the garbage collector for its owner.
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        metadata["labels"] = {}
        metadata.pop("ownerReferences", None)
    namespace = run.metadata.namespace
    harness.kubectl("create", "--namespace", namespace, "--filename=-", document=job)

    def read() -> Ended | None:
        seen = harness.get("jobs", namespace, arm.job_name)
        pods = harness.items("pods", namespace, f"batch.kubernetes.io/job-name={arm.job_name}")
        judgement = trial.judge(arm, view_job(seen) if seen else None, view_pod(pods[0]) if pods else None)
        return None if isinstance(judgement, trial.Going) else judgement

    judgement = harness.wait_until(read, f"the end of {arm.job_name}", 600)
    assert judgement is not None
    harness.kubectl("delete", "job", arm.job_name, "--namespace", namespace, "--cascade=foreground")
    return judgement
