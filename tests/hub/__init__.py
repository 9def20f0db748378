"""A small server that speaks as much of the Hugging Face hub's API as fetching needs, with the faults of a network."""

from .server import Faults, Hub, Repository

__all__ = ["Faults", "Hub", "Repository"]
