"""The documents of a fetch: the plan that its program is started with, how far it is, and the result that it leaves.

The result travels in the container's termination message, as a trial's does.
"""

import json
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from .base import Schema
from .weights_source import HUB_SCHEME, FetchedSource, WeightsSource

PROGRESS_PORT: Final = 8080
"""Where the fetch program answers GET `PROGRESS_PATH` with a `FetchProgress`."""

PROGRESS_PATH: Final = "/progress"

PERMANENT_FAILURE: Final = 3
"""Exit status of a fetch that no repetition can mend."""

CA_BUNDLE_VARIABLE: Final = "HUB_CA_BUNDLE"
"""Environment variable of a fetch with certificates, in PEM, that it trusts beside the public ones."""

MODELS_FOLDER: Final = "models"
"""Folder of a claim with whole files only: models/<organisation>/<repository>/<commit>/…"""

CACHE_FOLDER: Final = "cache"
"""Folder of a claim with the engines' compile caches, one for each image and GPU."""

MESSAGE_LIMIT: Final = 700


Bytes = Annotated[int, Field(ge=0, le=1 << 60)]


class FetchPlan(Schema):
    """What the fetch program shall do."""

    sources: Annotated[tuple[WeightsSource, ...], Field(min_length=1, max_length=2)]
    folder: str
    """Where the claim is mounted."""
    token_file: str | None = None
    """File with the hub's token."""


class FetchStage(StrEnum):
    """What the program is at."""

    ASKING = "Asking"
    WAITING = "Waiting"
    FETCHING = "Fetching"


class FetchProgress(Schema):
    """How far a fetch is."""

    stage: FetchStage = FetchStage.ASKING
    fetched_bytes: Bytes = 0
    total_bytes: Bytes = 0
    bytes_per_second: Bytes = 0
    """Since the last time that somebody asked."""


class FetchFailure(Schema):
    """Why there are no weights."""

    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)]


class FetchResult(Schema):
    """How a fetch ended: with all sources, or with a failure."""

    version: Literal[1] = 1
    fetched: Annotated[tuple[FetchedSource, ...], Field(max_length=2)] = ()
    total_bytes: Bytes = 0
    failure: FetchFailure | None = None

    def to_json(self) -> str:
        """One line, far shorter than a termination message may be."""
        return json.dumps(self.to_wire(), separators=(",", ":"))


def hub_parts(uri: str) -> tuple[str, str]:
    """Repository (<organisation>/<repository>) and path in it (empty: all of it) that an hf:// URI names."""
    organisation, repository, *path = uri.removeprefix(HUB_SCHEME).split("/")
    return f"{organisation}/{repository}", "/".join(path)


def folder_of(source: FetchedSource) -> str:
    """The folder below `MODELS_FOLDER` with the files of a source."""
    repository, _ = hub_parts(source.uri)
    return f"{repository}/{source.revision}"


def path_of(source: FetchedSource) -> str:
    """What an engine loads, below `MODELS_FOLDER`: a folder, or the (first) file of a GGUF."""
    _, path = hub_parts(source.uri)
    return "/".join(part for part in (folder_of(source), path) if part)
