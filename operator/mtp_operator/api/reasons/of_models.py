"""Reasons of the conditions of a model: settings, weights, tuning, serving."""

from typing import Final

from .entry import Place, Reason, Who

_MODEL: Final = (Place.MODEL,)
_BOTH: Final = (Place.MODEL, Place.RUN)
_TROUBLE: Final = (Place.MODEL, Place.EVENT)
_ANYWHERE: Final = (Place.MODEL, Place.RUN, Place.EVENT)

GENERAL: Final = (
    Reason(
        "InvalidSettings",
        _MODEL,
        Who.AUTHOR,
        "The engine cannot start with these settings. Running servers keep their settings.",
        "Change the field that the message names; `mtp validate FILE` shows the same without a cluster.",
        "spec.engine.extraArgs: --api-key is refused",
    ),
    Reason(
        "Unreadable",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "An object of this model cannot be read by this version of the operator, for example after a downgrade.",
        "Delete or correct the object that the message names, or install the operator version that wrote it.",
        "this version of the operator cannot read MTPTuningRun qwen-84b1df9796: fix it or delete it",
    ),
    Reason(
        "WriteRefused",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "The API server refused a write of the operator: RBAC, a quota or an admission policy.",
        "Read the quoted refusal; grant the right, raise the quota, or exempt the namespace from the policy.",
        "jobs.batch is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1",
    ),
    Reason(
        "APIServerFailing",
        _ANYWHERE,
        Who.OPERATOR,
        "The API server has not answered the operator's writes for a while, or answers with its own errors.",
        "Wait; if it lasts, check the health of the control plane and of its admission webhooks.",
        "503 Service Unavailable: etcdserver: leader changed",
    ),
    Reason(
        "NameInUse",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "An object that the operator must create has the name of one that is still being deleted.",
        "Find out which finalizer holds the old object: `kubectl get KIND NAME -o yaml`.",
        'PersistentVolumeClaim "qwen-weights" is being deleted',
    ),
    Reason(
        "UnmanagedRun",
        _ANYWHERE,
        Who.AUTHOR,
        "An MTPTuningRun exists that the operator did not create. It is ignored; its name may block a run.",
        "Delete that MTPTuningRun. To start a run, create or change an MTPModel.",
        "MTPTuningRun qwen-84b1df9796 was not created by the operator: delete it",
    ),
)

WEIGHTS: Final = (
    Reason(
        "NoDownloadNeeded",
        _MODEL,
        Who.NOBODY,
        "Weights are read from an existing PVC (pvc://), so that nothing is downloaded.",
        "Nothing.",
        "Nothing to download: weights are read from pvc://weights/qwen",
    ),
    Reason(
        "PulledByNode",
        _MODEL,
        Who.NOBODY,
        "Weights are an OCI image (oci://): a node pulls it before it starts the first pod that mounts it.",
        "Nothing.",
        "registry.example.com/models/qwen:1: a node pulls it before it starts the first pod with it",
    ),
    Reason(
        "Fetching",
        _MODEL,
        Who.NOBODY,
        "The weights are being downloaded from the hub.",
        "Wait; the message has size, rate and remaining time.",
        "fetching hf://Qwen/Qwen3.6-27B-FP8: 12.1 of 28.9 GB (41%), 118 MB/s, about 2m22s left",
    ),
    Reason(
        "Fetched",
        _MODEL,
        Who.NOBODY,
        "The weights are on the PVC and verified.",
        "Nothing.",
        "hf://Qwen/Qwen3.6-27B-FP8 at 0123456789ab: 28.9 GB on PVC qwen-weights",
    ),
    Reason(
        "ClaimUnusable",
        _ANYWHERE,
        Who.AUTHOR,
        "A PVC that a pod mounts does not exist, or is not bound.",
        "Create the PVC that the message names, or correct the field; `kubectl describe pvc` says why it is not bound.",
        'spec.model.uri: persistentvolumeclaim "weights" not found',
    ),
    Reason(
        "ClaimOnAnotherNode",
        _ANYWHERE,
        Who.AUTHOR,
        "A ReadWriteOnce PVC is in use on another node, so that the pod's node cannot attach it.",
        "Use a ReadWriteMany StorageClass, or stop the pod that holds the PVC.",
        'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) qwen-0',
    ),
)

TUNING: Final = (
    Reason(
        "Tuning",
        _BOTH,
        Who.NOBODY,
        "A run is under way: trials are being measured.",
        "Wait, or follow it with `kubectl mtp watch NAME`.",
        "3 of up to 24 trials measured. Now: n_spec=4: predicted 2.55x (95% CI 2.10-3.08), expected to improve the "
        "choice by 3.1%",
    ),
    Reason(
        "Pinned",
        _MODEL,
        Who.NOBODY,
        "The spec pins n_spec (spec.speculation.nSpec); nothing is measured.",
        "Nothing. Remove spec.speculation.nSpec to let the operator measure.",
        "n_spec=4 is pinned by spec.speculation.nSpec",
    ),
    Reason(
        "Disabled",
        _MODEL,
        Who.NOBODY,
        "Tuning is Disabled (spec.tuning.mode) and no n_spec is pinned: n_spec=0, speculation is off.",
        "Nothing. Set spec.tuning.mode to Auto to measure.",
        "tuning is disabled by spec.tuning.mode: n_spec=0",
    ),
    Reason(
        "Suspended",
        _MODEL,
        Who.AUTHOR,
        "Tuning is suspended (spec.tuning.suspend): no trial is started.",
        "Set spec.tuning.suspend to false to continue.",
        "tuning is suspended by spec.tuning.suspend",
    ),
    Reason(
        "Queued",
        _ANYWHERE,
        Who.NOBODY,
        "The trial's Job is suspended or its pod is gated, by a queue such as Kueue or by hand.",
        "Wait for the queue to admit it: `kubectl get workloads`. Resume the Job if you suspended it.",
        "Job qwen-84b1df9796-t1-a0 is suspended, by a queue such as Kueue or by hand",
    ),
    Reason(
        "WaitingForServers",
        _ANYWHERE,
        Who.NOBODY,
        "With rollout strategy InPlace, trials need the servers' GPUs. The trial starts when the servers have ended.",
        "Wait.",
        "the trial starts when the servers have ended",
    ),
    Reason(
        "WaitingForDisruption",
        _ANYWHERE,
        Who.AUTHOR,
        "With rollout strategy InPlace, servers hold the GPUs, and spec.tuning.disruption does not allow to stop them.",
        "Set spec.tuning.disruption to Allowed to stop serving while trials run, or use the strategy Surge.",
        "the servers have the GPUs (spec.serving.rollout.strategy is InPlace), so that tuning waits: set "
        "spec.tuning.disruption to Allowed to stop them while trials run",
    ),
    Reason(
        "WaitsForPod",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "A pod of an earlier trial or server still holds the GPU, for example because its node does not respond.",
        "Wait for a minute. If the node is gone, delete the Node, or delete the pod with --force --grace-period=0.",
        "the next trial waits until pod qwen-84b1df9796-t1-a0-x7k2p has ended",
    ),
    Reason(
        "NoNodeFits",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "No node has the GPU that spec.accelerator asks for, or none of them is free.",
        "Compare spec.accelerator with your nodes (`kubectl mtp doctor`). Set architecture: Any for GPUs that are not "
        "Blackwell; tolerate the nodes' taints in spec.template.tolerations; free a GPU; or set rollout.strategy: "
        "InPlace in a cluster with one GPU.",
        "no node has a Blackwell GPU; there are: NVIDIA-L4 (Ada Lovelace)",
    ),
    Reason(
        "ImageUnavailable",
        _ANYWHERE,
        Who.AUTHOR,
        "A node cannot pull an image: its name is wrong, or the registry needs credentials.",
        "Correct the field that the message names; add spec.template.imagePullSecrets for a private registry.",
        "spec.engine.image cannot be pulled (ErrImagePull): manifest unknown",
    ),
    Reason(
        "ContainerNotCreated",
        _ANYWHERE,
        Who.AUTHOR,
        "A node cannot create a container, for example because a Secret, a ConfigMap or a runtime class is missing.",
        "Create what the quoted message names.",
        'spec.engine.image cannot be started (CreateContainerConfigError): secret "hf-token" not found',
    ),
    Reason(
        "TrialRefused",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "The Job of a trial cannot create its pod: a quota, LimitRange, Pod Security or admission policy refuses it.",
        "Read the quoted refusal; set what it asks for in spec.template, raise the quota, or admit the pod.",
        'the trial\'s pod is refused: violates PodSecurity "restricted:latest"',
    ),
    Reason(
        "PodNotStarted",
        _ANYWHERE,
        Who.ADMINISTRATOR,
        "A pod has a node, but its volumes, devices or sandbox are not ready.",
        "Wait for a minute, then read the quoted Event: `kubectl describe pod NAME`.",
        'FailedMount: MountVolume.SetUp failed for volume "weights"',
    ),
)

SERVING: Final = (
    Reason(
        "Available",
        _MODEL,
        Who.NOBODY,
        "All replicas serve the chosen n_spec.",
        "Nothing.",
        "n_spec=3: 2 of 2 replicas ready",
    ),
    Reason(
        "ScaledToZero",
        _MODEL,
        Who.NOBODY,
        "The spec asks for 0 replicas (spec.serving.replicas): nothing is served.",
        "Nothing.",
        "spec.serving.replicas is 0",
    ),
    Reason(
        "WaitingForTuning",
        _MODEL,
        Who.NOBODY,
        "Servers wait for the first verdict, as spec.serving.whileTuning: Wait asks.",
        "Wait, or set spec.serving.whileTuning to Baseline to serve n_spec=0 meanwhile.",
        "Not serving yet: waiting for tuning (spec.serving.whileTuning: Wait)",
    ),
    Reason(
        "Starting",
        _MODEL,
        Who.NOBODY,
        "No replica is ready yet; the engine is starting.",
        "Wait; `kubectl mtp logs NAME` shows the engine's log.",
        "n_spec=3: 0 of 1 replicas ready",
    ),
    Reason(
        "RollingOut",
        _MODEL,
        Who.NOBODY,
        "Replicas are being replaced; the old ones serve until the new ones are ready.",
        "Wait.",
        "n_spec=4: 1 of 2 replicas ready; n_spec=3 continues to serve",
    ),
    Reason(
        "Replacing",
        _MODEL,
        Who.NOBODY,
        "With rollout strategy InPlace, the new replica starts when the old pod has ended and its GPU is free.",
        "Wait.",
        "n_spec=4: 0 of 1 replicas ready; it starts when pod qwen-7d9c-x2 has ended",
    ),
    Reason(
        "Paused",
        _MODEL,
        Who.NOBODY,
        "With rollout strategy InPlace, servers are stopped while trials use their GPUs.",
        "Wait for the run to end.",
        "the trials have the GPUs (spec.serving.rollout.strategy is InPlace)",
    ),
    Reason(
        "OldSettingsServed",
        _MODEL,
        Who.NOBODY,
        "All replicas are ready, but with the settings of an earlier spec; the new settings wait for their verdict.",
        "Wait for the run to end.",
        "all replicas still have the settings of an earlier spec: n_spec=3: 1 of 1 replicas ready",
    ),
    Reason(
        "RolledBack",
        _TROUBLE,
        Who.AUTHOR,
        "Servers with a new n_spec did not become ready, so that the last working n_spec is served again.",
        "Read why in the message (`kubectl mtp logs NAME`); fix the cause, then change the spec to try again.",
        "Rolled back to n_spec=2: 1 of 1 replicas ready. n_spec=4 did not become ready (EngineCrashed: …). Fix the "
        "cause, then change the spec to retry",
    ),
    Reason(
        "ServerRefused",
        _TROUBLE,
        Who.ADMINISTRATOR,
        "The pod of a server cannot be created, or its node rejects it at admission.",
        "Read the quoted refusal: quota, Pod Security, admission webhook, or the node's device plugin.",
        "its pod is refused: exceeded quota: gpus",
    ),
    Reason(
        "ProgressDeadlineExceeded",
        _TROUBLE,
        Who.AUTHOR,
        "A server started, but no completion has worked within the time that it may take to become ready.",
        "Read the engine's log (`kubectl mtp logs NAME`); raise spec.template.readySeconds for a slow start.",
        "no completion worked within spec.template.readySeconds",
    ),
)
