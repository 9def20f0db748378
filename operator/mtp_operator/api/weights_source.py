"""Where weights come from, and where fetched ones are kept: fields of `spec.model`, its drafter and `spec.storage`."""

import re
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, model_validator

from .base import MAX_BLOCK_SIZE, Schema, rule, validated

HUB_SCHEME: Final = "hf://"
CLAIM_SCHEME: Final = "pvc://"
IMAGE_SCHEME: Final = "oci://"

_CLAIM_URI: Final = r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9][-A-Za-z0-9._]*)*$"
_HUB_URI: Final = r"^hf://[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9*][-A-Za-z0-9._*]*)*$"

# A registry is told from a part of a name by a dot or a port, as Docker does it; only a tag or a digest tells where the
# repository's name ends and a path begins.
_HOST_LABEL: Final = "[a-z0-9][-a-z0-9]*"
_REGISTRY: Final = rf"((localhost|{_HOST_LABEL}([.]{_HOST_LABEL})+)(:[0-9]{{1,5}})?|{_HOST_LABEL}:[0-9]{{1,5}})"
_REPOSITORY: Final = r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*"
_VERSION: Final = r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
_IMAGE_URI: Final = rf"^oci://{_REGISTRY}/{_REPOSITORY}({_VERSION}(/[A-Za-z0-9][-A-Za-z0-9._]*)*)?$"

_URI_RULES: Final = (
    rule(
        "self.size() > 0",
        "must not be empty: write hf://<organization>/<repository>, pvc://<claim>/<path> or "
        "oci://<registry>/<repository>:<tag>/<path>",
    ),
    rule(
        "self.size() == 0 || self.matches('^(hf|pvc|oci)://')",
        "must start with hf://, pvc:// or oci://: hf://<organization>/<repository> is fetched from the Hugging Face "
        "hub, pvc://<claim>/<path> names a folder or file on a PersistentVolumeClaim of the same namespace, "
        "oci://<registry>/<repository>:<tag>/<path> one in an image that the node pulls",
    ),
    rule(
        f"!self.startsWith('pvc://') || self.matches('{_CLAIM_URI}')",
        "must be pvc://<claim>/<path>: the PVC's name, then folders and files of letters, digits, '-', '_' and '.', "
        "each starting with a letter or digit",
    ),
    rule(
        f"!self.startsWith('hf://') || self.matches('{_HUB_URI}')",
        "must be hf://<organization>/<repository>, for a GGUF followed by /<file>, each of letters, digits, '-', '_' "
        "and '.', starting with a letter or digit; the file may hold '*'",
    ),
    rule(
        f"!self.startsWith('oci://') || self.matches('{_IMAGE_URI}')",
        "must be oci://<registry>/<repository> in lower case, followed by :<tag> or @sha256:<64 hexadecimal digits>, "
        "and after that by /<path> where the weights are not all of the image; the registry has a dot or a port, for "
        "example oci://ghcr.io/team/qwen:1.0/model.gguf",
    ),
)

Uri = Annotated[
    str,
    Field(
        max_length=512,
        description="Where the weights are. hf://<organization>/<repository> is fetched from the Hugging Face hub into "
        "the PVC of spec.storage; llama.cpp wants one file of it, for example "
        "hf://unsloth/Qwen3.6-27B-MTP-GGUF/*Q8_0*.gguf (all parts of it, where it has several). "
        "pvc://<claim>/<path> names a folder (safetensors) or a file (GGUF) on a PersistentVolumeClaim of the same "
        "namespace, for example pvc://weights/qwen3.6-27b. oci://<registry>/<repository>:<tag>/<path> (or "
        "@sha256:<digest> in place of the tag) names one in an image, which the node pulls and mounts read-only "
        "(image volumes: Kubernetes 1.35), for example oci://ghcr.io/team/qwen:1.0/model.gguf; without a path, all of "
        "the image.",
        json_schema_extra=validated(*_URI_RULES),
    ),
]

Commit = Annotated[
    str,
    Field(
        max_length=40,
        description="The commit of the repository that is fetched, as 40 hexadecimal digits. Default: the newest one "
        "when the weights are fetched, which then stays. Only with hf://.",
        json_schema_extra=validated(
            rule("self.matches('^[0-9a-f]{40}$')", "must be a commit: 40 hexadecimal digits in lower case")
        ),
    ),
]


class WeightsSource(Schema):
    """Weights of one model."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "!has(self.revision) || !self.uri.matches('^(pvc|oci)://')",
                "may be set only where uri begins with hf://: weights on a PVC have no revision, and an image is "
                "named by its tag or digest",
                field_path=".revision",
            )
        )
    )

    uri: Uri
    revision: Commit | None = None

    @property
    def is_fetched(self) -> bool:
        """Whether the weights come from the hub."""
        return self.uri.startswith(HUB_SCHEME)

    @property
    def is_image(self) -> bool:
        """Whether the weights lie in an image that the node pulls."""
        return self.uri.startswith(IMAGE_SCHEME)


class SecretKey(Schema):
    """One key of a Secret of the same namespace."""

    name: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the Secret.",
            json_schema_extra=validated(
                rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "must be the name of a Secret")
            ),
        ),
    ]
    key: Annotated[
        str,
        Field(
            max_length=253,
            description="Key in the Secret.",
            json_schema_extra=validated(
                rule("self.matches('^[-._a-zA-Z0-9]+$')", "must be a key: letters, digits, '-', '_' and '.'")
            ),
        ),
    ] = "token"


class AccessMode(StrEnum):
    """How many nodes may use a PVC at the same time."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class NewClaim(Schema):
    """A PVC that the operator makes once and never changes."""

    size: Annotated[
        str,
        Field(
            max_length=16,
            description="Room for the weights, a drafter and the engine's compile cache, for example 100Gi.",
            json_schema_extra=validated(
                rule("self.matches('^[1-9][0-9]{0,6}(Mi|Gi|Ti)$')", "must be a size in Mi, Gi or Ti, for example 100Gi")
            ),
        ),
    ]
    storage_class_name: Annotated[
        str | None,
        Field(
            max_length=253,
            description="StorageClass of the PVC. Default: the cluster's.",
            json_schema_extra=validated(
                rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "must be the name of a StorageClass")
            ),
        ),
    ] = None
    access_mode: Annotated[
        AccessMode,
        Field(
            description="ReadWriteOnce: one node at a time uses the PVC, so that all trials and servers "
            "(serving.replicas) have to find GPUs there. ReadWriteMany: pods of several nodes do."
        ),
    ] = AccessMode.READ_WRITE_ONCE


class CABundle(Schema):
    """Certificates of authorities, in a ConfigMap of the same namespace."""

    name: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the ConfigMap.",
            json_schema_extra=validated(
                rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "must be the name of a ConfigMap")
            ),
        ),
    ]
    key: Annotated[
        str,
        Field(
            max_length=253,
            description="Key that holds the certificates, as PEM.",
            json_schema_extra=validated(
                rule("self.matches('^[-._a-zA-Z0-9]+$')", "must be a key: letters, digits, '-', '_' and '.'")
            ),
        ),
    ] = "ca.crt"


class StorageSpec(Schema):
    """Where fetched weights are kept, or compile caches where none are fetched: exactly one PVC."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            rule(
                "[has(self.existingClaim), has(self.newClaim), has(self.cacheClaim)].filter(one, one).size() == 1",
                "must have exactly one of existingClaim (the name of a PVC that exists), newClaim (size and class "
                "of one that the operator makes) and cacheClaim (a PVC for compile caches alone)",
            ),
        )
    )

    existing_claim: Annotated[
        str | None,
        Field(
            max_length=253,
            description="Name of a PersistentVolumeClaim of the same namespace. Models may share it: what one has "
            "fetched, no other fetches again.",
            json_schema_extra=validated(
                rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "must be the name of a PersistentVolumeClaim")
            ),
        ),
    ] = None
    new_claim: Annotated[
        NewClaim | None,
        Field(
            description="A PVC that the operator creates; it is deleted with the model.",
            json_schema_extra=validated(
                rule(
                    "self == oldSelf",
                    "is immutable: the operator makes the PVC once; enlarge the PVC itself",
                )
            ),
        ),
    ] = None
    ca_bundle: Annotated[
        CABundle | None,
        Field(
            description="Certificate authorities to trust for the hub or a proxy, in addition to the public ones: a "
            "ConfigMap with their certificates. Default: the chart's hub.caBundle.",
        ),
    ] = None
    cache_claim: Annotated[
        str | None,
        Field(
            max_length=253,
            description="Name of a PersistentVolumeClaim of the same namespace for the engine's compile caches, where "
            "weights are pvc:// or oci://: only the first start on a GPU compiles.",
            json_schema_extra=validated(
                rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "must be the name of a PersistentVolumeClaim")
            ),
        ),
    ] = None


class FetchedSource(WeightsSource):
    """Weights on a PVC, named without doubt: one commit, and of a GGUF the one file to begin with.

    Both become a path, and a hub has told them to a pod: so they are checked here, not by the API server alone.
    """

    revision: Commit
    block_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_BLOCK_SIZE,
            description="Tokens of one block, by the checkpoint's config.json, where it drafts whole blocks.",
        ),
    ] = None

    @model_validator(mode="after")
    def _is_a_path(self) -> Self:
        if not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise ValueError("revision: must be a commit: 40 hexadecimal digits in lower case")
        if not re.fullmatch(_HUB_URI.strip("^$"), self.uri) or "*" in self.uri:
            raise ValueError("uri: must be hf://<organization>/<repository>, for a GGUF followed by /<file>")
        return self


class WeightsStatus(Schema):
    """How far the weights are."""

    request_hash: Annotated[
        str, Field(max_length=71, description="Hash of the URIs, revisions and PVC that were asked for.")
    ]
    claim: Annotated[str, Field(max_length=253, description="The PVC that they are kept on.")]
    fetched: Annotated[
        tuple[FetchedSource, ...],
        Field(
            max_length=2,
            description="What is there, whole and verified: the model, then its drafter; empty until both are.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    fetched_bytes: Annotated[int | None, Field(ge=0, description="Bytes that are on the PVC.")] = None
    total_bytes: Annotated[int | None, Field(ge=0, description="Bytes of all files together.")] = None
    bytes_per_second: Annotated[
        int | None, Field(ge=0, description="Current download speed in bytes per second; absent when all are there.")
    ] = None
    remaining_seconds: Annotated[
        int | None, Field(ge=0, description="Seconds that the rest takes at that speed; absent when all are there.")
    ] = None
