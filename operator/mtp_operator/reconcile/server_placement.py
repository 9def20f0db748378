"""Which GPU product a server is placed on: the one that its n_spec was measured on."""

from typing import TypeVar

from mtp_operator.api.serving_record import ServingRecord
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import AcceleratorSpec

Settings = TypeVar("Settings", bound=EngineSettings)


def placed(settings: Settings, product: str | None, record: ServingRecord | None) -> Settings:
    """The settings of a server, with the GPU product that it has to find.

    Args:
        settings: what the spec asks for.
        product: what the n_spec was measured on; None where it follows from no measurement.
        record: what is served. It keeps its product, so that no server is restarted for another place only: by a person
            who pins what was measured, or while it is measured again.
    """
    stated = settings.accelerator
    if product is not None:
        return settings.replace(accelerator=stated.replace(products=(product,)))
    served = record.served.settings.accelerator if record is not None else stated
    return settings.replace(accelerator=served) if narrows(served, stated) else settings


def narrows(served: AcceleratorSpec, stated: AcceleratorSpec) -> bool:
    """Whether a GPU is what is stated, of products that are allowed."""
    is_allowed = not stated.products or set(served.products) <= set(stated.products)
    return bool(served.products) and is_allowed and served.replace(products=stated.products) == stated
