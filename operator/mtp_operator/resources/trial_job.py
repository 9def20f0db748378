"""The Job of one trial: the engine as a native sidecar, and the bench that measures it."""

import json
import math
from typing import Any, Final

from mtp_operator.api.base import API_VERSION, GROUP
from mtp_operator.api.run import ArmStatus, MTPTuningRun
from mtp_operator.api.trial import PlannedLevel, TrialPlan
from mtp_operator.engines import CONFIGURATION_FOLDER, HOME, LOG_FOLDER, Engine, engine_for

from .labels import trial_labels
from .placement import gpu_affinity, gpu_tolerations
from .prompts import planned_prompts, prompt_mounts, prompt_volumes
from .weights import cache_folder, cache_mounts, mounts, sources, volumes

ENGINE_CONTAINER: Final = "engine"
BENCH_CONTAINER: Final = "bench"

DEADLINE_MARGIN_SECONDS: Final = 120
"""What the pod may take beside the bench's own times: pulling the bench image, starting, writing the result."""

GRACE_SECONDS: Final = 10
"""Bench and engine have nothing to finish, and the next trial waits until the GPU is free."""

ENGINE_CPU_REQUEST: Final = "1"
"""What an engine's own loop needs beside the GPU."""

USER_ID: Final = 65532
"""Numeric, so that kubelet can tell that an image whose own user is root does not run as root."""

_CONFIGURATION_ANNOTATION: Final = f"{GROUP}/engine-configuration"

_NO_MESH_LABELS: Final = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
_NO_MESH_ANNOTATIONS: Final = {"linkerd.io/inject": "disabled"}


def trial_job(
    run: MTPTuningRun, arm: ArmStatus, pinned_node: str | None, *, ready_seconds: float, level_seconds: float
) -> dict[str, Any]:
    """The Job that boots one arm and measures it. It is created once and never changed.

    Args:
        run: the run with its settings; it owns the Job.
        arm: which n, and the Job's name.
        pinned_node: the node of the run's first trial, once there is one: n is never compared across machines.
        ready_seconds: time until a completion must work.
        level_seconds: time for one concurrency level.
    """
    engine = engine_for(run.spec.engine.type)
    plan = trial_plan(run, arm, ready_seconds=ready_seconds, level_seconds=level_seconds)
    labels = trial_labels(run.spec.model_name, run.metadata.name, arm.n_spec)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": arm.job_name,
            "namespace": run.metadata.namespace,
            "labels": labels,
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
            "template": {
                "metadata": {
                    "labels": {**labels, **_NO_MESH_LABELS},
                    "annotations": {**_NO_MESH_ANNOTATIONS, **_configuration_annotations(engine)},
                },
                "spec": _pod(run, arm, engine, plan, pinned_node),
            },
        },
    }


def trial_plan(run: MTPTuningRun, arm: ArmStatus, *, ready_seconds: float, level_seconds: float) -> TrialPlan:
    """What the bench container of this arm is told."""
    engine = engine_for(run.spec.engine.type)
    workload = run.spec.workload
    return TrialPlan(
        engine=run.spec.engine.type,
        url=f"http://127.0.0.1:{engine.port}",
        served_name=_served_name(run),
        n_spec=arm.n_spec,
        prompts=planned_prompts(workload.prompt_source),
        sampling=workload.sampling,
        output_tokens=workload.output_tokens,
        levels=tuple(PlannedLevel(concurrency=level.concurrency) for level in workload.levels),
        level_seconds=level_seconds,
        ready_seconds=ready_seconds,
        model_path=sources(run.spec)[0].container_path,
        engine_log=engine.log_path,
        maximize=run.spec.objective.maximize,
        limits=run.spec.objective.constraints,
    )


def _pod(run: MTPTuningRun, arm: ArmStatus, engine: Engine, plan: TrialPlan, pinned_node: str | None) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        # The pod's, not the Job's: it runs from kubelet's start, and time without a node is no fault of the engine.
        "activeDeadlineSeconds": math.ceil(plan.longest_seconds + DEADLINE_MARGIN_SECONDS),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        # Variables of a Service named like the engine would be read as its settings (VLLM_PORT).
        "enableServiceLinks": False,
        # No fsGroup: kubelet would change the owner of every file on the claim, at each trial anew.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": gpu_affinity(run.spec.accelerator, pinned_node),
        "tolerations": gpu_tolerations(),
        "initContainers": [_engine_container(run, arm, engine)],
        "containers": [_bench_container(run, plan)],
        "volumes": [
            *volumes(sources(run.spec)),
            *prompt_volumes(run.spec.workload.prompt_source),
            {"name": "home", "emptyDir": {}},
            {"name": "log", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},
            *_configuration_volumes(engine),
        ],
    }


def _engine_container(run: MTPTuningRun, arm: ArmStatus, engine: Engine) -> dict[str, Any]:
    model, *drafter = sources(run.spec)
    arguments = engine.arguments(
        run.spec,
        arm.n_spec,
        _served_name(run),
        model.container_path,
        drafter[0].container_path if drafter else None,
    )
    gpus = {run.spec.accelerator.resource_name: str(run.spec.accelerator.count)}
    # Without a share of the CPU of its own, whatever else runs on the node would be measured.
    requests = {"cpu": ENGINE_CPU_REQUEST, **gpus}
    return {
        "name": ENGINE_CONTAINER,
        "image": run.spec.engine.image,
        "args": [literal(argument) for argument in arguments],
        "env": [{"name": name, "value": literal(value)} for name, value in _environment(run, engine).items()],
        "ports": [{"name": "http", "containerPort": engine.port}],
        # A native sidecar without a startup probe: the bench starts beside it and can say why it does not come up.
        "restartPolicy": "Always",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"limits": gpus, "requests": requests},
        "securityContext": container_security(),
        "volumeMounts": [
            *mounts(sources(run.spec)),
            *cache_mounts(run.spec),
            {"name": "home", "mountPath": HOME},
            {"name": "log", "mountPath": LOG_FOLDER},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
            *_configuration_mounts(engine),
        ],
    }


def _bench_container(run: MTPTuningRun, plan: TrialPlan) -> dict[str, Any]:
    return {
        "name": BENCH_CONTAINER,
        "image": run.spec.bench_image,
        "args": ["trial", "--plan", literal(json.dumps(plan.to_wire()))],
        "terminationMessagePolicy": "File",
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            # Far above what it needs: a throttled client would measure itself.
            "limits": {"cpu": "2", "memory": "512Mi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [
            *mounts(sources(run.spec)),
            *prompt_mounts(run.spec.workload.prompt_source),
            {"name": "log", "mountPath": LOG_FOLDER, "readOnly": True},
        ],
    }


def container_security() -> dict[str, Any]:
    """What Pod Security "restricted" asks of a container, and a root file system that nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _environment(run: MTPTuningRun, engine: Engine) -> dict[str, str]:
    folder = cache_folder(run.spec)
    return {**engine.environment(), **(engine.cache_environment(folder) if folder else {})}


def _served_name(run: MTPTuningRun) -> str:
    return run.spec.model.served_name or run.spec.model_name


def _configuration_annotations(engine: Engine) -> dict[str, str]:
    """The engine's files travel as annotations of the pod itself: no ConfigMap to make, own and collect."""
    return {
        f"{_CONFIGURATION_ANNOTATION}-{index}": content
        for index, content in enumerate(engine.configuration_files().values())
    }


def _configuration_volumes(engine: Engine) -> list[dict[str, Any]]:
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{_CONFIGURATION_ANNOTATION}-{index}']"}}
        for index, name in enumerate(engine.configuration_files())
    ]
    return [{"name": "configuration", "downwardAPI": {"items": items}}] if items else []


def _configuration_mounts(engine: Engine) -> list[dict[str, Any]]:
    if not engine.configuration_files():
        return []
    return [{"name": "configuration", "mountPath": CONFIGURATION_FOLDER, "readOnly": True}]


def literal(text: str) -> str:
    """The text with Kubernetes' own expansion of $(NAME) turned off."""
    return text.replace("$(", "$$(")
