"""What a trial's pod and a server's pod have in common: the engine, its volumes, and how they are locked up."""

from collections.abc import Sequence
from typing import Any, Final

from mtp_operator.api.base import GROUP
from mtp_operator.api.container_resources import ResourceAmounts
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.template import PodTemplate
from mtp_operator.engines import CONFIGURATION_FOLDER, HOME, LOG_FOLDER, Engine

from .claim_template import claim_template_name
from .mounted_files import file_mounts, file_volumes
from .placement import container_claims, gpu_limits, pod_claims
from .pod import pod_fields, pod_security
from .weights_volumes import cache_folder, cache_volumes, mounts, sources, volumes

ENGINE_CONTAINER: Final = "engine"

ENGINE_CPU_REQUEST: Final = "500m"
"""For the engine's own loop beside the GPU: the same for what is measured and what serves, and small nodes have it."""

_CONFIGURATION_ANNOTATION: Final = f"{GROUP}/engine-configuration"

_NO_MESH_LABELS: Final = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
_NO_MESH_ANNOTATIONS: Final = {"linkerd.io/inject": "disabled"}


def pod_metadata(engine: Engine, labels: dict[str, str], template: PodTemplate) -> dict[str, Any]:
    """Metadata of a pod with this engine; the operator's own labels and annotations win over the user's."""
    annotations = {**template.annotations, **_configuration_annotations(engine)}
    # The API server stores no empty map of annotations: one that is applied would look changed for ever.
    return {"labels": {**template.labels, **labels}, **({"annotations": annotations} if annotations else {})}


def without_mesh(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a pod without the proxy of a service mesh, which would be measured, and would not end."""
    return {
        "labels": {**metadata["labels"], **_NO_MESH_LABELS},
        "annotations": {**metadata.get("annotations", {}), **_NO_MESH_ANNOTATIONS},
    }


def pod_basics(
    settings: EngineSettings, template: PodTemplate, model_name: str, pinned_node: str | None
) -> dict[str, Any]:
    """The part of a pod's spec that is not about its containers and their volumes.

    Args:
        settings: what the engine is started with.
        template: the user's own wishes for the pod.
        model_name: of the MTPModel.
        pinned_node: the only node that will do, if there is one.
    """
    return {
        # No fsGroup by default: kubelet would look at the owner of every file on the claim, for each pod.
        **pod_fields(template, settings.accelerator, pinned_node, pod_security(template.security_context)),
        **pod_claims(settings.accelerator, claim_template_name(model_name, settings.accelerator)),
    }


def engine_volumes(settings: EngineSettings, engine: Engine, template: PodTemplate) -> list[dict[str, Any]]:
    """The volumes that the engine's container mounts."""
    return [
        *volumes(sources(settings)),
        *cache_volumes(settings),
        *file_volumes(settings.files),
        {"name": "home", "emptyDir": {}},
        {"name": "log", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": template.shared_memory}},
        *_configuration_volumes(engine),
    ]


def engine_container(
    settings: EngineSettings,
    n_spec: int,
    served_name: str,
    engine: Engine,
    template: PodTemplate,
    *,
    cache_mounts: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The engine with this n, the same whether it is measured or serves.

    Args:
        settings: what it is started with.
        n_spec: draft tokens per step.
        served_name: what clients put into `model` of a request.
        engine: the engine.
        template: the user's own wishes for the pod.
        cache_mounts: where its compile cache lies, if it keeps one.
    """
    return {
        "name": ENGINE_CONTAINER,
        "image": settings.engine.image,
        **({"command": list(engine.container_command)} if engine.container_command else {}),
        "args": [literal(argument) for argument in engine_arguments(settings, n_spec, served_name, engine)],
        "env": [{"name": name, "value": literal(value)} for name, value in _environment(settings, engine).items()],
        "ports": [{"name": "http", "containerPort": engine.port}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(settings),
        "securityContext": container_security(read_only=template.read_only_root_filesystem),
        "volumeMounts": [
            *mounts(sources(settings)),
            *cache_mounts,
            *file_mounts(settings.files),
            {"name": "home", "mountPath": HOME},
            {"name": "log", "mountPath": LOG_FOLDER},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
            *_configuration_mounts(engine),
        ],
    }


def engine_arguments(settings: EngineSettings, n_spec: int, served_name: str, engine: Engine) -> tuple[str, ...]:
    """What the engine is started with, after the image's entry point."""
    model, *drafter = sources(settings)
    return engine.arguments(
        settings, n_spec, served_name, model.container_path, drafter[0].container_path if drafter else None
    )


def container_security(*, read_only: bool = True) -> dict[str, Any]:
    """What Pod Security "restricted" asks of a container, and a root file system that nobody writes to."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only,
    }


def _resources(settings: EngineSettings) -> dict[str, Any]:
    gpus = gpu_limits(settings.accelerator)
    limits = settings.resources.limits or ResourceAmounts()
    requests = settings.resources.requests or ResourceAmounts()
    return {
        "limits": {**limits.to_wire(), **gpus},
        # Kubernetes asks for as much as the limit where nothing else is said.
        "requests": {"cpu": limits.cpu or ENGINE_CPU_REQUEST, **requests.to_wire(), **gpus},
        **container_claims(settings.accelerator),
    }


def literal(text: str) -> str:
    """The text with Kubernetes' own expansion of $(NAME) turned off, which makes one dollar of two."""
    return text.replace("$", "$$")


def _environment(settings: EngineSettings, engine: Engine) -> dict[str, str]:
    folder = cache_folder(settings)
    return {
        **engine.environment(),
        **(engine.cache_environment(folder) if folder else {}),
        **{variable.name: variable.value for variable in settings.engine.env},
    }


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
