"""Where weights lie on volumes, and how a pod sees them."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

MOUNTS: Final = "/models"
"""Folder of the mounts, one for each claim."""


@dataclass(frozen=True)
class Weights:
    """A folder or file on a claim."""

    claim: str
    path: str
    """Below the volume's root; empty for the root itself."""

    @property
    def mount_path(self) -> str:
        """Where the claim is mounted."""
        return f"{MOUNTS}/{self.claim}"

    @property
    def container_path(self) -> str:
        """The folder or file as a container sees it."""
        return f"{self.mount_path}/{self.path}".rstrip("/")


def weights(uri: str) -> Weights:
    """What a URI of the form pvc://<claim>/<path> names."""
    parts = urlsplit(uri)
    return Weights(claim=parts.netloc, path=parts.path.strip("/"))


def volumes(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """One volume for each claim."""
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}} for claim, name in _volume_names(sources).items()
    ]


def mounts(sources: tuple[Weights, ...]) -> list[dict[str, Any]]:
    """Read-only mounts of them; the volumes themselves stay writable for whoever fills them."""
    paths = {source.claim: source.mount_path for source in sources}
    return [
        {"name": name, "mountPath": paths[claim], "readOnly": True} for claim, name in _volume_names(sources).items()
    ]


def _volume_names(sources: tuple[Weights, ...]) -> dict[str, str]:
    """Claim -> name of its volume: a claim's name may be longer than a volume's, and have dots."""
    claims = dict.fromkeys(source.claim for source in sources)
    return {claim: f"weights-{index}" for index, claim in enumerate(claims)}
