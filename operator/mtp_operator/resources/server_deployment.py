"""The Deployment of a model's servers: the engine as it was measured, and a probe that means what it says."""

import hashlib
import json
import math
from typing import Any, Final

from mtp_operator.api.base import GROUP
from mtp_operator.api.model import MTPModel, RolloutStrategy
from mtp_operator.api.serving_record import ProbePlan, ServingRecord
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.template import PodTemplate
from mtp_operator.engines import NO_LOG_FILE, POD, Place, engine_for

from .engine_pod import container_security, engine_container, engine_volumes, literal, pod_basics, pod_metadata
from .helper_resources import helper_resources
from .labels import N_SPEC_LABEL, SETTINGS_LABEL, owned_by, server_labels, server_selector
from .pod import spread
from .private_cache import private_cache
from .weights_volumes import pull_seconds

PROBE_CONTAINER: Final = "probe"
PROBE_PORT: Final = 8181

_PROBE_RESOURCES: Final = {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}}

RECORD_ANNOTATION: Final = f"{GROUP}/serving"
"""Holds the ServingRecord of a Deployment, as JSON."""

PROGRESS_MARGIN_SECONDS: Final = 120
"""What a server may take beside its engine's start: a node, the pull of the probe's image, its first completion."""

SLOWEST_TOKENS_PER_SECOND: Final = 20
"""Of one request, below which nobody would wait for the longest answer: what a server's end is given for it."""

DRAIN_MARGIN_SECONDS: Final = 30
LONGEST_DRAIN_SECONDS: Final = 3600

_STARTUP_PERIOD_SECONDS: Final = 5


def deployment(model: MTPModel, record: ServingRecord, replicas: int) -> dict[str, Any]:
    """The Deployment of a model's servers.

    Args:
        model: the model; it owns the Deployment.
        record: what is served, and what is remembered.
        replicas: servers to run now, which may be none although the model wants some.
    """
    name = model.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": server_labels(name),
            "annotations": {RECORD_ANNOTATION: json.dumps(record.to_wire(), sort_keys=True)},
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "replicas": replicas,
            "strategy": _strategy(model),
            "progressDeadlineSeconds": record.surroundings.ready_seconds
            + PROGRESS_MARGIN_SECONDS
            + pull_seconds(record.served.settings),
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": server_selector(name)},
            "template": _template(model, record),
        },
    }


def longest_request_seconds(settings: EngineSettings) -> int:
    """How long the longest request that the engine takes may run: its whole context, slowly."""
    tokens = settings.engine.context_tokens
    if tokens is None:
        return LONGEST_DRAIN_SECONDS
    return min(math.ceil(tokens / SLOWEST_TOKENS_PER_SECOND), LONGEST_DRAIN_SECONDS)


def _strategy(model: MTPModel) -> dict[str, Any]:
    serving = model.spec.serving
    if serving.rollout.strategy is RolloutStrategy.SURGE:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    if serving.replicas > 1:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    # It waits until the old pod is gone; with one replica a rolling update would start beside one that still ends.
    return {"type": "Recreate"}


def _template(model: MTPModel, record: ServingRecord) -> dict[str, Any]:
    settings, n_spec, template = record.served.settings, record.served.n_spec, record.served.template
    # Nobody reads a server's log file, and it would grow until the pod is evicted.
    place = Place(host=record.surroundings.host or POD.host)
    engine = engine_for(settings.engine.type, NO_LOG_FILE, place)
    served_name = settings.model.served_name or model.metadata.name
    cache = private_cache(settings, template, record.surroundings.probe_image)
    labels = {
        **server_labels(model.metadata.name),
        N_SPEC_LABEL: str(n_spec),
        SETTINGS_LABEL: record.served.settings_hash,
    }
    health = {"path": engine.health_path, "port": "http"}
    server = {
        **engine_container(
            settings,
            n_spec,
            served_name,
            engine,
            template,
            cache_mounts=cache.mounts if cache else (),
        ),
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(record.surroundings.ready_seconds / _STARTUP_PERIOD_SECONDS),
        },
        "livenessProbe": {"httpGet": health, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {"httpGet": health, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        # Engines drop what they are working on when they are told to end: they are told when nothing is left.
        "lifecycle": {"preStop": {"httpGet": {"path": _drain_path(model), "port": PROBE_PORT}}},
    }
    plan = ProbePlan(
        engine=settings.engine.type,
        url=f"http://{place.loopback}:{engine.port}",
        served_name=served_name,
        port=PROBE_PORT,
        drain_path=_drain_path(model),
    )
    return {
        "metadata": pod_metadata(engine, labels, template),
        "spec": {
            "terminationGracePeriodSeconds": longest_request_seconds(settings) + DRAIN_MARGIN_SECONDS,
            **pod_basics(settings, template, model.metadata.name, None),
            **spread(template, server_selector(model.metadata.name)),
            "volumes": [*engine_volumes(settings, engine, template), *(cache.volumes if cache else ())],
            "initContainers": [
                _probe_container(record.surroundings.probe_image, plan, template),
                *([cache.init_container] if cache else ()),
            ],
            "containers": [server],
        },
    }


def _drain_path(model: MTPModel) -> str:
    """The same for all servers of a model, and known only to those who may read it: its uid is random."""
    return f"/drain/{hashlib.sha256(model.metadata.uid.encode()).hexdigest()[:32]}"


def _probe_container(image: str, plan: ProbePlan, template: PodTemplate) -> dict[str, Any]:
    return {
        "name": PROBE_CONTAINER,
        "image": image,
        "args": ["probe", "--plan", literal(json.dumps(plan.to_wire()))],
        # A native sidecar: there when the engine starts, and still there when it has to finish.
        "restartPolicy": "Always",
        "ports": [{"name": "probe", "containerPort": plan.port}],
        # An engine is healthy as soon as its server answers; the pod is ready when a completion has worked.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "probe"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "resources": helper_resources(template, _PROBE_RESOURCES),
        "securityContext": container_security(),
    }
