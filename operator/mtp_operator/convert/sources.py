"""Which kind of input a text is."""

from collections.abc import Mapping

import yaml

from .compose import from_compose
from .found import ConvertError, Deployed
from .kubernetes_objects import from_object
from .shell import from_command_line


def deployed_in(text: str, service: str | None = None) -> Deployed:
    """The engine that a command line, a compose file or an object of Kubernetes starts.

    Args:
        text: any of these.
        service: of a compose file.

    Raises:
        ConvertError: none of them, or none that starts an engine.
    """
    try:
        documents = [one for one in yaml.safe_load_all(text) if isinstance(one, Mapping)]
    except yaml.YAMLError:
        documents = []
    if compose := next((one for one in documents if "services" in one), None):
        return from_compose(compose, service)
    objects = [one for one in documents if "kind" in one]
    if not objects:
        return from_command_line(text)
    reasons = []
    for one in objects:
        try:
            return from_object(one)
        except ConvertError as error:
            reasons.append(str(error))
    raise ConvertError("; ".join(reasons))
