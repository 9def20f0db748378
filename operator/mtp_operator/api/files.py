"""Files of the user's own that an engine reads: a chat template, a parser, a projector."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .base import Schema, rule, validated
from .spec import ClaimPath, ConfigMapKey

FILES_FOLDER: Final = "/etc/model-files"
"""Where the engine's container sees them."""


class EngineFile(Schema):
    """One file, from exactly one place."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule("has(self.configMap) != has(self.pvc)", "must have exactly one of configMap and pvc"),
        )
    )

    name: Annotated[
        str,
        Field(
            max_length=63,
            description=f"The file's name: the engine finds it as {FILES_FOLDER}/<name>, read-only.",
            json_schema_extra=validated(
                rule(
                    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*$')",
                    "must be letters, digits, '-', '_' and '.', starting with a letter or digit",
                )
            ),
        ),
    ]
    config_map: Annotated[
        ConfigMapKey | None,
        Field(
            description="A key of a ConfigMap in the model's namespace; the engine reads what is there as it starts."
        ),
    ] = None
    pvc: Annotated[ClaimPath | None, Field(description="A file on a PersistentVolumeClaim, for one that is large.")] = (
        None
    )

    @property
    def path(self) -> str:
        """Where the engine's container sees it."""
        return f"{FILES_FOLDER}/{self.name}"


EngineFiles = Annotated[
    tuple[EngineFile, ...],
    Field(
        max_length=8,
        description=f"Files that the engine reads, each at {FILES_FOLDER}/<name>: a chat template for "
        f"--chat-template={FILES_FOLDER}/<name>, for example. A change of the content is not noticed: "
        "increase tuning.retuneRequest, or use another name.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]
