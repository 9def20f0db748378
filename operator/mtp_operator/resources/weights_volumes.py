"""Where weights lie on claims and in images, how a pod sees them, and the claim that the operator makes."""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mtp_operator.api.base import Schema
from mtp_operator.api.engines.vllm_settings import TrustRemoteCode
from mtp_operator.api.fetch import CACHE_FOLDER, MODELS_FOLDER, path_of
from mtp_operator.api.hashing import canonical_hash
from mtp_operator.api.model import MTPModel
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import AcceleratorSpec, EngineSpec, EnvironmentVariable
from mtp_operator.api.weights_source import IMAGE_SCHEME, FetchedSource, NewClaim, WeightsSource
from mtp_operator.engines import engine_for

from .labels import child_labels, owned_by

MOUNTS: Final = "/models"
"""Folder of the mounts of claims whose weights are used as they are, one for each claim."""

HUB_MOUNT: Final = "/hub"
"""Where the fetched weights of a claim are seen, without anything else that lies there."""

IMAGE_MOUNTS: Final = "/images"
"""Folder of the mounts of images with weights, one for each field that names one."""

MODEL_VOLUME: Final = "model-image"
DRAFTER_VOLUME: Final = "drafter-image"
CACHE_VOLUME: Final = "compile-cache"

IMAGE_FIELDS: Final = {MODEL_VOLUME: "spec.model.uri", DRAFTER_VOLUME: "spec.speculation.drafter.uri"}
"""Volume of an image with weights -> the field that names the image."""

IMAGE_PULL_SECONDS: Final = 3600
"""What a node may take to pull an image with weights: a hundred gigabytes at 30 MB/s."""

CACHE_MOUNT: Final = "/var/cache/engine"
"""Where the compile caches of a claim with fetched weights are seen."""


@dataclass(frozen=True)
class Weights:
    """A folder or file on a claim, or in an image."""

    path: str
    """Below what is mounted; empty for all of it."""
    claim: str = ""
    folder: str = ""
    """The folder of the claim that is mounted; empty for its root."""
    image: str = ""
    """The image that they lie in, by its reference; empty where they lie on a claim."""
    volume: str = ""
    """The name of the image's volume."""

    @property
    def mount_path(self) -> str:
        """Where the image, the claim or its folder is mounted."""
        if self.image:
            return f"{IMAGE_MOUNTS}/{self.volume}"
        return HUB_MOUNT if self.folder else f"{MOUNTS}/{self.claim}"

    @property
    def container_path(self) -> str:
        """The folder or file as a container sees it."""
        return f"{self.mount_path}/{self.path}".rstrip("/")


def sources(settings: EngineSettings) -> tuple[Weights, ...]:
    """The model, and the drafter where there is one."""
    model, drafter = settings.model, settings.speculation.drafter
    found = [weights(model, settings.weights_claim, MODEL_VOLUME)]
    if drafter is not None:
        found.append(weights(drafter, settings.weights_claim, DRAFTER_VOLUME))
    return tuple(found)


def weights(source: WeightsSource, claim: str | None, image_volume: str) -> Weights:
    """Where the weights are.

    Args:
        source: pvc://<claim>/<path>, oci://<image>/<path>, or what was fetched, with its commit.
        claim: the claim with fetched weights.
        image_volume: the volume that shows them if they lie in an image.
    """
    if source.is_fetched:
        fetched = FetchedSource.model_validate(source.model_dump())
        return Weights(claim=claim or "", path=path_of(fetched), folder=MODELS_FOLDER)
    if source.is_image:
        image, path = _image_and_path(source.uri)
        return Weights(image=image, path=path, volume=image_volume)
    parts = urlsplit(source.uri)
    return Weights(claim=parts.netloc, path=parts.path.strip("/"))


def _image_and_path(uri: str) -> tuple[str, str]:
    """The image's reference, and the path in it: what follows the tag or digest."""
    registry, _, rest = uri.removeprefix(IMAGE_SCHEME).partition("/")
    version = re.search("[:@][^/]*", rest)
    end = version.end() if version else len(rest)
    return f"{registry}/{rest[:end]}", rest[end:].strip("/")


def volumes(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """One volume for each claim, and one for each field that names an image."""
    claims = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}} for claim, name in _volume_names(sources).items()
    ]
    images = [{"name": source.volume, "image": {"reference": source.image}} for source in sources if source.image]
    return claims + images


def mounts(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """Read-only mounts of them; the volumes themselves stay writable for whoever fills them."""
    names = _volume_names(sources)
    places = dict.fromkeys(
        (source.volume or names[source.claim], source.mount_path, source.folder) for source in sources
    )
    return [
        {"name": name, "mountPath": path, "readOnly": True, **({"subPath": folder} if folder else {})}
        for name, path, folder in places
    ]


def pull_seconds(settings: EngineSettings) -> int:
    """How much longer a pod may take to start because its node pulls weights first."""
    return IMAGE_PULL_SECONDS * sum(1 for source in sources(settings) if source.image)


def cache_folder(settings: EngineSettings) -> str | None:
    """The compile cache of these settings as the engine's container sees it; None where there is none.

    It is kept beside fetched weights, or on a claim of its own. A claim with weights that are used as they are (pvc://)
    may be read-only, and belongs to the user.
    """
    if _caches_claim(settings) is None or not engine_for(settings.engine.type).cache_environment(CACHE_MOUNT):
        return None
    return f"{CACHE_MOUNT}/{cache_key(settings)}"


class _CacheKey(Schema):
    """What compiled code depends on, and whose code may have written it.

    An engine runs what it finds in its cache without looking. So a cache is one model's, at one commit, with whatever
    else decides which code runs beside the image: another model of the claim neither reads nor writes it.
    """

    image: str | None
    accelerator: AcceleratorSpec
    model: WeightsSource
    drafter: WeightsSource | None
    trust_remote_code: TrustRemoteCode | None
    extra_args: tuple[str, ...]
    env: tuple[EnvironmentVariable, ...]


def cache_key(settings: EngineSettings) -> str:
    """What the caches of a claim are kept apart by."""
    engine, drafter = settings.engine, settings.speculation.drafter
    key = _CacheKey(
        image=engine.image,
        accelerator=settings.accelerator,
        model=_named(settings.model),
        drafter=_named(drafter) if drafter is not None else None,
        trust_remote_code=_trust(engine),
        extra_args=engine.extra_args,
        env=engine.env,
    )
    return canonical_hash(key)[-16:]


def _trust(engine: EngineSpec) -> TrustRemoteCode | None:
    """What is stated of it; engines have it under one name, or not at all."""
    stated = engine.vllm or engine.sglang
    return stated.trust_remote_code if stated is not None else None


def _named(source: WeightsSource) -> WeightsSource:
    return WeightsSource(uri=source.uri, revision=source.revision)


def cache_mounts(settings: EngineSettings) -> list[dict[str, Any]]:
    """The mount of an engine on trial: its own cache, to be filled, and nothing of the others."""
    folder = cache_folder(settings)
    if folder is None:
        return []
    return [{**_on_claim(settings), "mountPath": folder, "subPath": f"{CACHE_FOLDER}/{cache_key(settings)}"}]


def all_caches_mount(settings: EngineSettings, path: str, *, read_only: bool) -> dict[str, Any]:
    """The mount of all caches of the claim, for the operator's own programs: they make one, or copy one."""
    return {**_on_claim(settings), "mountPath": path, "subPath": CACHE_FOLDER, "readOnly": read_only}


def _on_claim(settings: EngineSettings) -> dict[str, Any]:
    return {"name": _volume_names(sources(settings)).get(_caches_claim(settings) or "", CACHE_VOLUME)}


def cache_volumes(settings: EngineSettings) -> list[dict[str, Any]]:
    """The volume of a claim that holds compile caches and no weights, where there is one."""
    claim = _caches_claim(settings)
    if cache_folder(settings) is None or claim in (None, *_volume_names(sources(settings))):
        return []
    return [{"name": CACHE_VOLUME, "persistentVolumeClaim": {"claimName": claim}}]


def _caches_claim(settings: EngineSettings) -> str | None:
    return settings.weights_claim or settings.cache_claim


def _volume_names(sources: tuple[Weights, ...]) -> dict[str, str]:
    """Claim -> name of its volume: a claim's name may be longer than a volume's, and have dots."""
    claims = dict.fromkeys(source.claim for source in sources if source.claim)
    return {claim: f"weights-{index}" for index, claim in enumerate(claims)}


def claim_name(model: MTPModel) -> str | None:
    """The claim that fetched weights of the model are kept on; None where spec.storage names none."""
    storage = model.spec.storage
    if storage is None or storage.cache_claim is not None:
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
