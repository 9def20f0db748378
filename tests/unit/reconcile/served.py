"""Models that are served, for the tests of serving."""

from __future__ import annotations

from typing import Any

from mtp_operator.reconcile.observed import Kind

from .givens import model_body
from .world import World

SURGE = {"replicas": 1}
IN_PLACE = {"replicas": 1, "rollout": {"strategy": "InPlace"}}
PINNED = {"method": "MTP", "nSpec": 2}


def world_with(serving: dict[str, Any], **spec: Any) -> World:
    world = World(model_body(serving=serving, **spec))
    world.settle()
    return world


def settled(world: World) -> World:
    """All servers are as the Deployment says, and the operator has nothing left to do."""
    world.settle()
    world.replace_servers()
    world.settle()
    return world


def status(world: World) -> dict[str, Any]:
    assert world.model is not None
    found: dict[str, Any] = world.model["status"]
    return found


def kinds(world: World) -> set[Kind]:
    return {kind for kind, _ in world.children}


def template_n_spec(world: World) -> int:
    return int(world.deployment()["spec"]["template"]["metadata"]["labels"]["mtp-operator.dev/n-spec"])


def reason(world: World, type_: str) -> tuple[str, str]:
    condition = world.model_condition(type_)
    return condition["status"], condition["reason"]


def tuned(serving: dict[str, Any], **spec: Any) -> World:
    """A model that was tuned to n=3 and is served."""
    world = World(model_body(serving=serving, **spec))
    world.finish()
    return settled(world)
