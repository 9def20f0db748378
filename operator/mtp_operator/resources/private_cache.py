"""A server's own copy of the compile cache that trials have filled.

vLLM does not start with a cache that it may not write to, and who answers strangers shall not write what others run.
"""

from dataclasses import dataclass
from typing import Any, Final

from mtp_operator.api.settings import EngineSettings

from .engine_pod import container_security
from .weights import CACHE_MOUNT, cache_folder, cache_key, cache_mounts

COPY_CONTAINER: Final = "cache"

_SHARED_MOUNT: Final = "/shared"


@dataclass(frozen=True)
class PrivateCache:
    """What a server's pod has beside its engine."""

    init_container: dict[str, Any]
    """Copies, and never fails: without a cache the engine starts cold."""
    volumes: list[dict[str, Any]]
    mounts: list[dict[str, Any]]
    """Of the engine's container."""


def private_cache(settings: EngineSettings, image: str) -> PrivateCache | None:
    """The copy of the cache of these settings, in the place where trials have it; None where there is none.

    Args:
        settings: what the engine boots from.
        image: of the container that copies.
    """
    folder = cache_folder(settings)
    if folder is None:
        return None
    mount = {"name": "cache", "mountPath": CACHE_MOUNT}
    return PrivateCache(
        init_container={
            "name": COPY_CONTAINER,
            "image": image,
            "args": ["copy-cache", f"{_SHARED_MOUNT}/{cache_key(settings)}", folder],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
            "securityContext": container_security(),
            "volumeMounts": [*cache_mounts(settings, _SHARED_MOUNT, read_only=True), mount],
        },
        volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "16Gi"}}],
        mounts=[mount],
    )
