"""The one hash of settings."""

import hashlib
import json
from collections.abc import Collection

from .base import Schema


def canonical_hash(stated: Schema, *, exclude: Collection[str] = ()) -> str:
    """sha256 over what is stated, in canonical JSON, as `sha256:<64 hex>`.

    Values that are the default are left out, so that a field with a default which a later version adds changes no hash.

    Args:
        stated: the settings.
        exclude: names of fields that do not count.
    """
    document = stated.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, exclude=set(exclude)
    )
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
