"""What a checkpoint says of itself in its config.json."""

import json
from typing import Any, Final

from mtp_operator.api.base import MAX_BLOCK_SIZE

CONFIGURATION: Final = "config.json"

LARGEST_CONFIGURATION: Final = 16 << 20
"""Bytes of a configuration that is read; lists of layers that are not quantized make some of them large."""

_KEYS: Final = ("dspark_block_size", "block_size")
_PARTS: Final = ("dflash_config", "text_config")


def block_size(content: bytes) -> int | None:
    """How many tokens a DFlash or DSpark checkpoint drafts at once; None where its configuration does not say.

    Args:
        content: of its config.json, whatever that is.
    """
    try:
        configuration = json.loads(content)
    except (ValueError, RecursionError):
        return None
    stated = (_stated(part) for part in (configuration, *(_part(configuration, name) for name in _PARTS)))
    return next((size for size in stated if size is not None), None)


def _part(configuration: Any, name: str) -> Any:
    return configuration.get(name) if isinstance(configuration, dict) else None


def _stated(part: Any) -> int | None:
    for key in _KEYS:
        size = _part(part, key)
        if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MAX_BLOCK_SIZE:
            return size
    return None
