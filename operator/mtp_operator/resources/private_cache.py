"""The containers that make a compile cache for a trial, and copy it for a server.

A folder that kubelet makes for a mount is root's, so the operator's program makes it before the engine starts.

vLLM does not start with a cache that it may not write to, and a pod that serves external traffic must not write
code that other pods execute.
"""

from dataclasses import dataclass
from typing import Any, Final

from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.template import PodTemplate

from .engine_pod import container_security
from .helper_resources import helper_resources
from .weights_volumes import CACHE_MOUNT, all_caches_mount, cache_folder, cache_key

CACHE_CONTAINER: Final = "cache"

_SHARED_MOUNT: Final = "/shared"

_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True)
class PrivateCache:
    """What a server's pod has beside its engine."""

    init_container: dict[str, Any]
    """Copies, and never fails: without a cache the engine starts cold."""
    volumes: list[dict[str, Any]]
    mounts: list[dict[str, Any]]
    """Of the engine's container."""


def private_cache(settings: EngineSettings, template: PodTemplate, image: str) -> PrivateCache | None:
    """The copy of the cache of these settings, in the place where trials have it; None where there is none.

    Args:
        settings: what the engine boots from.
        template: the user's own wishes for the pod.
        image: of the container that copies.
    """
    folder = cache_folder(settings)
    if folder is None:
        return None
    mount = {"name": "cache", "mountPath": CACHE_MOUNT}
    return PrivateCache(
        init_container=_container(
            image,
            template,
            ["copy-cache", f"{_SHARED_MOUNT}/{cache_key(settings)}", folder],
            [all_caches_mount(settings, _SHARED_MOUNT, read_only=True), mount],
        ),
        volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "16Gi"}}],
        mounts=[mount],
    )


def cache_maker(settings: EngineSettings, template: PodTemplate, image: str) -> list[dict[str, Any]]:
    """The container that runs before an engine on trial, and makes the folder of its cache; none where it has none.

    Args:
        settings: what the engine boots from.
        template: the user's own wishes for the pod.
        image: of the container.
    """
    if cache_folder(settings) is None:
        return []
    mount = all_caches_mount(settings, _SHARED_MOUNT, read_only=False)
    return [_container(image, template, ["make-cache", f"{_SHARED_MOUNT}/{cache_key(settings)}"], [mount])]


def _container(image: str, template: PodTemplate, arguments: list[str], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": CACHE_CONTAINER,
        "image": image,
        "args": arguments,
        "resources": helper_resources(template, _RESOURCES),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
