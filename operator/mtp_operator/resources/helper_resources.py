"""CPU and memory of the containers that the operator adds to a pod."""

from collections.abc import Mapping

from mtp_operator.api.template import PodTemplate

Amounts = Mapping[str, Mapping[str, str]]
"""`requests` and `limits`, each by the name of the resource."""


def helper_resources(template: PodTemplate, own: Amounts) -> dict[str, dict[str, str]]:
    """The `resources` of such a container.

    Args:
        template: the user's own wishes; what they say of a resource replaces all that the container has of it.
        own: what the container has by itself.
    """
    stated: Amounts = template.helper_resources.to_wire() if template.helper_resources else {}
    replaced = {name for amounts in stated.values() for name in amounts}
    joined = {
        kind: {
            **{name: amount for name, amount in own.get(kind, {}).items() if name not in replaced},
            **stated.get(kind, {}),
        }
        for kind in ("requests", "limits")
    }
    return {kind: amounts for kind, amounts in joined.items() if amounts}
