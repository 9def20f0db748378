"""Models in every state that `kubectl mtp` shows, made by the operator's own decisions on engines that are tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from mtp_operator.api.fetch import FetchProgress, FetchStage
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.reconcile.records import SeenProgress
from tests.unit.reconcile.world import World, disqualified, model_body
from tests.unit.report.runs import rich_result

SERVED = {"replicas": 1}
SLOWER = {n_spec: 57.0 - 3 * n_spec for n_spec in range(9)}
HARDLY_FASTER = {n_spec: 57.0 + 0.9 * n_spec for n_spec in range(9)}


def fetching() -> World:
    """A third of the weights is there."""
    world = World(
        model_body(model={"uri": "hf://google/gemma"}, storage={"newClaim": {"size": "100Gi"}}, serving=SERVED)
    )
    world.settle()
    pod = world.start_fetch(world.open_job())
    progress = FetchProgress(
        stage=FetchStage.FETCHING, fetched_bytes=9_800_000_000, total_bytes=28_900_000_000, bytes_per_second=118_000_000
    )
    world.progress[pod["metadata"]["uid"]] = SeenProgress(world.now, progress)
    world.settle()
    return world


def tuning() -> World:
    """Two trials are measured, the third is running."""
    world = World(model_body(serving=SERVED))
    for _ in range(2):
        world.settle()
        world.run_trial()
    world.settle()
    world.start_pod(world.open_job())
    world.settle()
    world.tick(70)
    return world


def failed_trial() -> World:
    """The largest n_spec runs out of memory, the run continues."""
    world = World(model_body(serving=SERVED))
    world.settle()
    world.run_trial()
    world.settle()
    pod = world.start_pod(world.open_job())
    world.settle()
    world.tick(45)
    world.end_bench(pod, 0, disqualified(6, "EngineFailed", "the engine ended: CUDA out of memory").encode())
    world.settle()
    return world


def blocked() -> World:
    """No node has the GPU, and so for longer than anybody waits."""
    world = World(model_body(serving=SERVED))
    world.settle()
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    pod = world.start_pod(world.open_job(), phase="Pending", conditions=[unschedulable], startTime=None)
    pod["spec"].pop("nodeName")
    pod["status"] |= {"initContainerStatuses": [], "containerStatuses": []}
    world.now += timedelta(hours=2)
    world.settle()
    return world


def tuned() -> World:
    """The choice is served."""
    return _served(World(model_body(serving=SERVED)))


def off() -> World:
    """Speculation only costs, and n_spec=0 is served."""
    return _served(World(model_body(serving=SERVED)), SLOWER)


def inconclusive() -> World:
    """A gain too small for so few trials."""
    tuning = {"maxNSpec": 4, "budget": {"maxTrials": 3}}
    return _served(World(model_body(serving=SERVED, tuning=tuning)), HARDLY_FASTER)


def rolled_back() -> World:
    """A new n_spec crashes in place of the old one, which is served again."""
    serving = {"replicas": 1, "rollout": {"strategy": "InPlace"}}
    world = World(model_body(serving=serving, speculation={"method": "MTP", "nSpec": 2}))
    world.settle()
    world.replace_servers()
    world.settle()
    world.change_spec(speculation={"method": "MTP", "nSpec": 5})
    world.settle()
    world.stop_server(world.servers()[0])
    world.start_server(ready=False, restarts=2, said="ValueError: no such kernel")
    world.settle()
    world.replace_servers()
    world.settle()
    return world


def two_levels() -> World:
    """Two concurrencies, limits, acceptance, latencies and an output check."""
    limits = [{"metric": "P95TimeToFirstToken", "concurrency": 8, "maxMilliseconds": 250}]
    levels = [{"concurrency": 1, "weight": 2}, {"concurrency": 8, "weight": 1}]
    spec = {"maxNSpec": 8, "workload": {"levels": levels}, "objective": {"constraints": limits}}
    world = World(model_body("qwen", tuning=spec, engine={"type": "VLLM"}, serving=SERVED))
    world.settle()
    while any(not job["status"].get("conditions") for job in world.jobs.values()):
        job = world.open_job()
        pod = world.start_pod(job)
        world.settle()
        world.tick(400)
        world.end_bench(pod, 0, rich_result(int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"])).encode())
        world.settle()
    world.replace_servers()
    world.settle()
    return world


def _served(world: World, speeds: Mapping[int, float] | None = None) -> World:
    world.finish(*([speeds] if speeds else []))
    world.replace_servers()
    world.settle()
    return world


STATES: Mapping[str, Callable[[], World]] = {
    "fetching": fetching,
    "tuning": tuning,
    "failed-trial": failed_trial,
    "blocked": blocked,
    "tuned": tuned,
    "off": off,
    "inconclusive": inconclusive,
    "rolled-back": rolled_back,
    "two-levels": two_levels,
}


def model_of(world: World) -> MTPModel:
    """The model, as the command reads it."""
    assert world.model is not None
    return MTPModel.from_wire(world.model)


def runs_of(world: World) -> list[MTPTuningRun]:
    """Its runs, likewise."""
    return [MTPTuningRun.from_wire(run) for run in world.runs.values()]
