"""The installation's defaults of `spec.template`: what a cluster asks of all pods, said once."""

from typing import Any, Final

from .template import PodTemplateSpec

_JOINED: Final = frozenset({"tolerations", "image_pull_secrets"})
"""Lists that a model adds to; its other lists replace those of the installation."""


def with_template_defaults(stated: PodTemplateSpec, defaults: PodTemplateSpec) -> PodTemplateSpec:
    """A model's template over the installation's.

    A field of the model stands where it differs from the API's own default, which the API server writes into every
    model. Labels, annotations and nodeSelector are joined key by key, tolerations and pull secrets one by one.
    """
    untouched = PodTemplateSpec()
    if defaults == untouched:
        return stated
    changes = {
        name: _joined(name, *(getattr(one, name) for one in (stated, defaults, untouched)))
        for name in PodTemplateSpec.model_fields
    }
    # Not validated again: each value is, and the API server says where two together are too many.
    return stated.model_copy(update=changes)


def _joined(name: str, stated: Any, default: Any, untouched: Any) -> Any:
    if stated == untouched:
        return default
    if isinstance(stated, dict):
        return {**default, **stated}
    if name in _JOINED:
        return (*default, *(one for one in stated if one not in default))
    return stated
