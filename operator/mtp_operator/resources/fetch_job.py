"""The Job that fetches the weights of a model onto its claim."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from mtp_operator.api.fetch import PERMANENT_FAILURE, PROGRESS_PORT, FetchPlan, PlannedSource
from mtp_operator.api.model import MTPModel
from mtp_operator.api.template import PodTemplate
from mtp_operator.api.weights_source import CABundle

from .engine_pod import container_security, literal, without_mesh
from .helper_resources import helper_resources
from .labels import child_labels, owned_by
from .pod import pod_fields, pod_security
from .weights_volumes import claim_name

FETCH_CONTAINER: Final = "fetch"

ATTEMPTS: Final = 12
"""Pods of one Job: with Kubernetes' growing pauses between them, about an hour of a hub that does not answer."""

REFUSED_PLAN: Final = 2
"""Exit status of a program that does not understand its arguments."""

_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    # Files on their way fill the page cache, which is taken back; the program itself needs 100 MiB.
    "limits": {"memory": "1Gi"},
}

CLAIM_FOLDER: Final = "/claim"
CREDENTIALS_FOLDER: Final = "/var/run/hub"
AUTHORITIES_FOLDER: Final = "/var/run/authorities"


def fetched_sources(model: MTPModel) -> tuple[PlannedSource, ...]:
    """What has to be fetched: the model, its drafter, both or nothing."""
    target, drafter = model.spec.model, model.spec.speculation.drafter
    stated = ((target, target.mmproj), *([(drafter, None)] if drafter else []))
    return tuple(
        PlannedSource(uri=source.uri, revision=source.revision, projector=projector)
        for source, projector in stated
        if source.is_fetched
    )


def request_hash(model: MTPModel) -> str:
    """sha256 over what is fetched and the claim that it goes to, as `sha256:<64 hex>`."""
    requested = {
        "claim": claim_name(model),
        "sources": [source.to_wire() for source in fetched_sources(model)],
    }
    return f"sha256:{hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()}"


def fetch_job_name(model: MTPModel) -> str:
    """The name of the Job that fetches what is asked for; after a failure, a higher `retuneRequest` makes another."""
    requested: list[Any] = [request_hash(model), model.spec.tuning.retune_request, token(model)]
    if model.spec.storage is not None and model.spec.storage.ca_bundle is not None:
        requested.append(model.spec.storage.ca_bundle.to_wire())
    template = model.spec.template.pod
    if template != PodTemplate():
        # A pod that nothing takes in is recreated where the user says how.
        requested.append(template.to_wire())
    digest = hashlib.sha256(json.dumps(requested).encode()).hexdigest()
    return f"{model.metadata.name}-fetch-{digest[:8]}"


def token(model: MTPModel) -> list[str] | None:
    """Secret and key of the hub's token."""
    reference = model.spec.model.token_secret_ref
    return [reference.name, reference.key] if reference else None


def fetch_job(
    model: MTPModel, image: str, environment: Mapping[str, str], ca_bundle: CABundle | None = None
) -> dict[str, Any]:
    """The Job that fetches what the model asks for. It is created once and never changed.

    Args:
        model: the model, which owns the Job.
        image: the operator's own.
        environment: which hub, through which proxy.
        ca_bundle: whom to trust beside the public authorities, where the model does not say.
    """
    labels = child_labels(model.metadata.name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": fetch_job_name(model),
            "namespace": model.metadata.namespace,
            "labels": labels,
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "backoffLimit": ATTEMPTS,
            "podReplacementPolicy": "Failed",
            # What no repetition mends ends the Job at once; a pod that lost its node costs no attempt.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": FETCH_CONTAINER,
                            "operator": "In",
                            "values": [REFUSED_PLAN, PERMANENT_FAILURE],
                        },
                    },
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": without_mesh(_pod_metadata(model, labels)),
                "spec": _pod(model, image, environment, ca_bundle),
            },
        },
    }


def _pod_metadata(model: MTPModel, labels: dict[str, str]) -> dict[str, Any]:
    template = model.spec.template
    return {"labels": {**template.labels, **labels}, "annotations": dict(template.annotations)}


def _pod(model: MTPModel, image: str, environment: Mapping[str, str], ca_bundle: CABundle | None) -> dict[str, Any]:
    template = model.spec.template
    ca_bundle = (model.spec.storage and model.spec.storage.ca_bundle) or ca_bundle
    plan = FetchPlan(
        sources=fetched_sources(model),
        folder=CLAIM_FOLDER,
        token_file=f"{CREDENTIALS_FOLDER}/token" if token(model) else None,
        ca_file=f"{AUTHORITIES_FOLDER}/ca.crt" if ca_bundle else None,
    )
    read_only = {
        **({"token": CREDENTIALS_FOLDER} if token(model) else {}),
        **({"authorities": AUTHORITIES_FOLDER} if ca_bundle else {}),
    }
    # Only the fetch's own program reads these: nobody is told about it, and nothing looks for a newer version.
    variables = {
        "HOME": "/tmp",  # noqa: S108
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        **environment,
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        # Where the trials can run, so that a volume which is bound to its first pod's place is bound there.
        # A new volume belongs to root.
        **pod_fields(template, model.spec.accelerator, None, pod_security(template.security_context, owns_volume=True)),
        "containers": [
            {
                "name": FETCH_CONTAINER,
                "image": image,
                "args": ["fetch", "--plan", literal(json.dumps(plan.to_wire()))],
                "env": [{"name": name, "value": literal(value)} for name, value in variables.items()],
                "ports": [{"name": "progress", "containerPort": PROGRESS_PORT}],
                "terminationMessagePolicy": "File",
                "resources": helper_resources(template, _RESOURCES),
                "securityContext": container_security(),
                "volumeMounts": [
                    {"name": "claim", "mountPath": CLAIM_FOLDER},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
                    *({"name": name, "mountPath": folder, "readOnly": True} for name, folder in read_only.items()),
                ],
            }
        ],
        "volumes": [
            {"name": "claim", "persistentVolumeClaim": {"claimName": claim_name(model)}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *_token_volumes(model),
            *_authorities_volumes(ca_bundle),
        ],
    }


def _token_volumes(model: MTPModel) -> list[dict[str, Any]]:
    reference = model.spec.model.token_secret_ref
    if reference is None:
        return []
    item = {"key": reference.key, "path": "token"}
    return [{"name": "token", "secret": {"secretName": reference.name, "items": [item], "defaultMode": 0o440}}]


def _authorities_volumes(bundle: CABundle | None) -> list[dict[str, Any]]:
    if bundle is None:
        return []
    item = {"key": bundle.key, "path": "ca.crt"}
    return [{"name": "authorities", "configMap": {"name": bundle.name, "items": [item]}}]
