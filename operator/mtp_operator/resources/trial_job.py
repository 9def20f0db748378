"""The Job of one trial: the engine as a native sidecar, and the bench that measures it."""

import json
import math
from typing import Any, Final

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.run import MTPTuningRun, TrialStatus
from mtp_operator.api.trial_documents import PlannedLevel, TrialPlan
from mtp_operator.engines import BESIDE_THE_BENCH, LOG_FOLDER, Engine, engine_for

from .engine_pod import (
    container_security,
    engine_container,
    engine_volumes,
    literal,
    pod_basics,
    pod_metadata,
    without_mesh,
)
from .helper_resources import helper_resources
from .labels import QUEUE_LABEL, trial_labels
from .private_cache import cache_maker
from .prompt_volumes import planned_prompts, prompt_mounts, prompt_volumes
from .weights_volumes import cache_mounts, mounts, pull_seconds, sources

BENCH_CONTAINER: Final = "bench"

DEADLINE_MARGIN_SECONDS: Final = 120
"""What the pod may take beside the bench's own times: pulling the bench image, starting, writing the result."""

_BENCH_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    # Far above what it needs: a throttled client would measure itself.
    "limits": {"cpu": "2", "memory": "512Mi"},
}

_NOT_TO_BE_MOVED: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""What keeps autoscalers from emptying a trial's node: the trial would have to start again."""

GRACE_SECONDS: Final = 10
"""Bench and engine have nothing to finish, and the next trial waits until the GPU is free."""


def trial_job(
    run: MTPTuningRun, trial: TrialStatus, pinned_node: str | None, *, ready_seconds: float, level_seconds: float
) -> dict[str, Any]:
    """The Job of one attempt of a trial. It is created once and never changed.

    Args:
        run: the run with its settings; it owns the Job.
        trial: which candidate, and the Job's name.
        pinned_node: the node of the run's first trial, once there is one: n is never compared across machines.
        ready_seconds: time until a completion must work.
        level_seconds: time for one concurrency level.
    """
    # The bench beside it asks it, and nobody else may: load from elsewhere would be measured.
    engine = engine_for(run.spec.engine.type, place=BESIDE_THE_BENCH)
    plan = trial_plan(run, trial, ready_seconds=ready_seconds, level_seconds=level_seconds)
    labels = trial_labels(run.spec.model_name, run.metadata.name, trial.candidate, trial.n_spec)
    queue = run.spec.queue_name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": trial.job_name,
            "namespace": run.metadata.namespace,
            "labels": {**labels, **({QUEUE_LABEL: queue} if queue else {})},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "MTPTuningRun",
                    "name": run.metadata.name,
                    "uid": run.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            # Whether a trial is repeated is decided by why it ended, which only the operator can tell.
            "backoffLimit": 0,
            # A lost pod is replaced by nothing before it has let go of its GPU.
            "podReplacementPolicy": "Failed",
            # From here on it is the queue's to say when the Job runs.
            **({"suspend": True} if queue else {}),
            "template": {
                "metadata": _metadata(run, engine, labels),
                "spec": _pod(run, trial, engine, plan, pinned_node),
            },
        },
    }


def _metadata(run: MTPTuningRun, engine: Engine, labels: dict[str, str]) -> dict[str, Any]:
    metadata = without_mesh(pod_metadata(engine, labels, run.spec.template))
    return {**metadata, "annotations": {**metadata["annotations"], **_NOT_TO_BE_MOVED}}


def trial_plan(run: MTPTuningRun, trial: TrialStatus, *, ready_seconds: float, level_seconds: float) -> TrialPlan:
    """What the bench container of this trial does."""
    engine = engine_for(run.spec.engine.type)
    workload = run.spec.workload
    return TrialPlan(
        engine=run.spec.engine.type,
        url=f"http://{BESIDE_THE_BENCH.host}:{engine.port}",
        served_name=served_name(run),
        candidate=trial.candidate,
        n_spec=trial.n_spec,
        prompts=planned_prompts(workload.prompt_source),
        sampling=workload.sampling,
        output_tokens=workload.output_tokens,
        levels=tuple(PlannedLevel(concurrency=level.concurrency) for level in workload.levels),
        level_seconds=level_seconds,
        ready_seconds=ready_seconds,
        drafts_every_step=engine.drafts_every_step(run.spec),
        model_path=sources(run.spec)[0].container_path,
        engine_log=engine.log_path,
        maximize=run.spec.objective.maximize,
        limits=run.spec.objective.constraints,
    )


def _pod(
    run: MTPTuningRun, trial: TrialStatus, engine: Engine, plan: TrialPlan, pinned_node: str | None
) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        # The pod's, not the Job's: it runs from kubelet's start, and time without a node is no fault of the engine.
        "activeDeadlineSeconds": math.ceil(plan.longest_seconds + DEADLINE_MARGIN_SECONDS + pull_seconds(run.spec)),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        **pod_basics(run.spec, run.spec.template, run.spec.model_name, pinned_node),
        # A native sidecar without a startup probe: the bench starts beside it and can say why it does not come up.
        "initContainers": [
            *cache_maker(run.spec, run.spec.template, run.spec.bench_image),
            {
                **engine_container(
                    run.spec,
                    trial.n_spec,
                    served_name(run),
                    engine,
                    run.spec.template,
                    cache_mounts=cache_mounts(run.spec),
                ),
                "restartPolicy": "Always",
            },
        ],
        "containers": [_bench_container(run, plan)],
        "volumes": [
            *engine_volumes(run.spec, engine, run.spec.template),
            *prompt_volumes(run.spec.workload.prompt_source),
        ],
    }


def _bench_container(run: MTPTuningRun, plan: TrialPlan) -> dict[str, Any]:
    return {
        "name": BENCH_CONTAINER,
        "image": run.spec.bench_image,
        "args": ["trial", "--plan", literal(json.dumps(plan.to_wire()))],
        "terminationMessagePolicy": "File",
        "resources": helper_resources(run.spec.template, _BENCH_RESOURCES),
        "securityContext": container_security(),
        "volumeMounts": [
            *mounts(sources(run.spec)),
            *prompt_mounts(run.spec.workload.prompt_source),
            {"name": "log", "mountPath": LOG_FOLDER, "readOnly": True},
        ],
    }


def served_name(run: MTPTuningRun) -> str:
    """What clients put into `model` of a request."""
    return run.spec.model.served_name or run.spec.model_name
