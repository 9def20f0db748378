"""Where weights lie on claims, how a pod sees them, and the claim that the operator makes for fetched ones."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mtp_operator.api.fetch import CACHE_FOLDER, MODELS_FOLDER, path_of
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import RunSettings
from mtp_operator.api.weights import FetchedSource, NewClaim, WeightsSource
from mtp_operator.engines import engine_for

from .labels import child_labels, owned_by

MOUNTS: Final = "/models"
"""Folder of the mounts of claims whose weights are used as they are, one for each claim."""

HUB_MOUNT: Final = "/hub"
"""Where the fetched weights of a claim are seen, without anything else that lies there."""

CACHE_MOUNT: Final = "/var/cache/engine"
"""Where the compile caches of a claim with fetched weights are seen."""


@dataclass(frozen=True)
class Weights:
    """A folder or file on a claim."""

    claim: str
    path: str
    """Below what is mounted; empty for all of it."""
    folder: str = ""
    """The folder of the claim that is mounted; empty for its root."""

    @property
    def mount_path(self) -> str:
        """Where the claim, or its folder, is mounted."""
        return HUB_MOUNT if self.folder else f"{MOUNTS}/{self.claim}"

    @property
    def container_path(self) -> str:
        """The folder or file as a container sees it."""
        return f"{self.mount_path}/{self.path}".rstrip("/")


def sources(settings: RunSettings) -> tuple[Weights, ...]:
    """The model, and the drafter where there is one."""
    drafter = settings.speculation.drafter
    stated = (settings.model, *([drafter] if drafter else []))
    return tuple(weights(source, settings.weights_claim) for source in stated)


def weights(source: WeightsSource, claim: str | None) -> Weights:
    """Where the weights are.

    Args:
        source: pvc://<claim>/<path>, or what was fetched, with its commit.
        claim: the claim with fetched weights.
    """
    if source.is_fetched:
        fetched = FetchedSource.model_validate(source.model_dump())
        return Weights(claim=claim or "", path=path_of(fetched), folder=MODELS_FOLDER)
    parts = urlsplit(source.uri)
    return Weights(claim=parts.netloc, path=parts.path.strip("/"))


def volumes(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """One volume for each claim."""
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}} for claim, name in _volume_names(sources).items()
    ]


def mounts(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """Read-only mounts of them; the volumes themselves stay writable for whoever fills them."""
    names = _volume_names(sources)
    places = dict.fromkeys((source.claim, source.mount_path, source.folder) for source in sources)
    return [
        {"name": names[claim], "mountPath": path, "readOnly": True, **({"subPath": folder} if folder else {})}
        for claim, path, folder in places
    ]


def cache_folder(settings: RunSettings) -> str | None:
    """The compile cache of this image on this GPU as the engine's container sees it; None where there is none.

    It is kept beside fetched weights. A claim that is used as it is (pvc://) may be read-only, and belongs to the user.
    """
    if settings.weights_claim is None or not engine_for(settings.engine.type).cache_environment(CACHE_MOUNT):
        return None
    return f"{CACHE_MOUNT}/{cache_key(settings)}"


def cache_key(settings: RunSettings) -> str:
    """What the caches of a claim are kept apart by."""
    keyed_by = {"image": settings.engine.image, "accelerator": settings.accelerator.to_wire()}
    return hashlib.sha256(json.dumps(keyed_by, sort_keys=True).encode()).hexdigest()[:16]


def cache_mounts(settings: RunSettings, path: str = CACHE_MOUNT, *, read_only: bool = False) -> list[dict[str, Any]]:
    """The mount of the claim's compile caches, where there is one: trials fill them, others only read.

    Args:
        settings: of the run.
        path: where they are seen.
        read_only: whether nothing may be written.
    """
    if cache_folder(settings) is None or settings.weights_claim is None:
        return []
    name = _volume_names(sources(settings))[settings.weights_claim]
    return [{"name": name, "mountPath": path, "subPath": CACHE_FOLDER, "readOnly": read_only}]


def _volume_names(sources: tuple[Weights, ...]) -> dict[str, str]:
    """Claim -> name of its volume: a claim's name may be longer than a volume's, and have dots."""
    claims = dict.fromkeys(source.claim for source in sources)
    return {claim: f"weights-{index}" for index, claim in enumerate(claims)}


def claim_name(model: MTPModel) -> str | None:
    """The claim that fetched weights of the model are kept on; None where spec.storage names none."""
    storage = model.spec.storage
    if storage is None:
        return None
    return storage.existing_claim or f"{model.metadata.name}-weights"


def new_claim(model: MTPModel, wanted: NewClaim) -> dict[str, Any]:
    """The claim that the operator makes once; it goes with its model."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(model),
            "namespace": model.metadata.namespace,
            "labels": child_labels(model.metadata.name),
            "ownerReferences": owned_by(model),
        },
        "spec": {
            "accessModes": [wanted.access_mode.value],
            "resources": {"requests": {"storage": wanted.size}},
            **({"storageClassName": wanted.storage_class_name} if wanted.storage_class_name else {}),
        },
    }
