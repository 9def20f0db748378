"""Whatever a person and the controllers do, and when: with InPlace a trial and a server never hold GPUs together."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_operator.reconcile.observed import Kind, Reference

from .givens import SPEEDS, model_body, result
from .world import World

IN_PLACE = {"replicas": 1, "rollout": {"strategy": "InPlace"}}


class SlowWorld(World):
    """A world whose pods outlive the Jobs and the Deployments that they are of, until somebody gets round to them."""

    def __init__(self) -> None:
        super().__init__(model_body(serving=IN_PLACE, tuning={"maxNSpec": 1}))
        self.requests = 0

    def _delete(self, target: Reference) -> None:
        kept = dict(self.pods)
        super()._delete(target)
        self.pods = kept

    def live(self, *, servers: bool) -> list[str]:
        """Pods that hold a GPU."""
        return [
            name
            for name, pod in self.pods.items()
            if ("job" not in pod) is servers and pod["status"]["phase"] not in ("Succeeded", "Failed")
        ]

    # -- what happens ------------------------------------------------------------------------------------------------

    def decide_once(self) -> None:
        self.step()

    def decide_to_the_end(self) -> None:
        self.settle()

    def job_controller(self) -> None:
        """Makes the pod of each Job that has none and is to run."""
        for job in list(self.jobs.values()):
            has_pod = any(pod.get("job") == job["metadata"]["name"] for pod in self.pods.values())
            if not has_pod and not job["status"].get("conditions"):
                self.start_pod(job)

    def trials_end(self) -> None:
        for name in self.live(servers=False):
            pod = self.pods[name]
            if pod["job"] in self.jobs:
                n_spec = int(self.jobs[pod["job"]]["metadata"]["labels"]["mtp-operator.dev/n-spec"])
                self.end_bench(pod, 0, result(n_spec, SPEEDS[n_spec]).encode())

    def collect_trials(self) -> None:
        """The garbage collector takes the pods whose Job is gone."""
        self.pods = {name: pod for name, pod in self.pods.items() if "job" not in pod or pod["job"] in self.jobs}

    def deployment_controller(self) -> None:
        """One pod more or one pod less, as the Deployment's strategy Recreate has it."""
        deployment = self.children.get((Kind.DEPLOYMENT, "gemma"))
        servers = self.live(servers=True)
        if deployment is None:
            for name in servers[:1]:
                del self.pods[name]
            return
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        unwanted = [name for name in servers if not labels.items() <= self.pods[name]["metadata"]["labels"].items()]
        if unwanted or len(servers) > deployment["spec"]["replicas"]:
            del self.pods[(unwanted or servers)[0]]
        elif len(servers) < deployment["spec"]["replicas"]:
            self.start_server(ready=True)
        self.roll()

    def pin(self) -> None:
        self.change_spec(speculation={"method": "MTP", "nSpec": 1})

    def unpin(self) -> None:
        self.change_spec(speculation={"method": "MTP"})

    def tune_again(self) -> None:
        self.requests += 1
        self.tuning(retuneRequest=self.requests)

    def allow_disruption(self) -> None:
        self.tuning(disruption="Allowed")

    def forbid_disruption(self) -> None:
        self.tuning(disruption="Never")

    def suspend(self) -> None:
        self.tuning(suspend=True)

    def resume(self) -> None:
        self.tuning(suspend=False)

    def scale_to_zero(self) -> None:
        self.change_spec(serving={**IN_PLACE, "replicas": 0})

    def scale_to_one(self) -> None:
        self.change_spec(serving=IN_PLACE)

    def tuning(self, **change: Any) -> None:
        assert self.model is not None
        self.change_spec(tuning={**self.model["spec"]["tuning"], **change})


Event = Callable[[SlowWorld], None]

CHANGES: tuple[Event, ...] = (
    SlowWorld.pin,
    SlowWorld.unpin,
    SlowWorld.tune_again,
    SlowWorld.allow_disruption,
    SlowWorld.forbid_disruption,
    SlowWorld.suspend,
    SlowWorld.resume,
    SlowWorld.scale_to_zero,
    SlowWorld.scale_to_one,
)
MACHINERY: tuple[Event, ...] = (
    SlowWorld.decide_to_the_end,
    SlowWorld.job_controller,
    SlowWorld.deployment_controller,
    SlowWorld.trials_end,
    SlowWorld.collect_trials,
    SlowWorld.decide_once,
)
"""All of it again and again, in this order, is what tunes and serves a model."""


def never_together(world: SlowWorld) -> None:
    assert not (world.live(servers=True) and world.live(servers=False)), world.pods.keys()


def fresh(_: SlowWorld) -> None:
    """The model has just been applied."""


def measured(world: SlowWorld) -> None:
    """A trial runs."""
    world.settle()
    world.job_controller()


def served(world: SlowWorld) -> None:
    """The model is tuned, and its server is ready."""
    for event in MACHINERY * 12:
        event(world)
    world.settle()


@functools.cache
def begun(begin: Event) -> SlowWorld:
    """To be copied."""
    world = SlowWorld()
    begin(world)
    return world


@settings(max_examples=200)
@given(
    st.sampled_from([fresh, measured, served]),
    st.lists(
        st.tuples(st.sampled_from(CHANGES), st.lists(st.sampled_from(MACHINERY), min_size=3, max_size=8)),
        min_size=2,
        max_size=8,
    ),
)
def test_trials_and_servers_never_meet(begin: Event, story: list[tuple[Event, list[Event]]]) -> None:
    world = copy.deepcopy(begun(begin))
    for change, reactions in story:
        for event in (change, *reactions):
            event(world)
            world.tick(1)
            never_together(world)


def test_left_alone_the_model_is_tuned_and_served() -> None:
    world = SlowWorld()
    for _ in range(12):
        for event in MACHINERY:
            event(world)
            world.tick(1)
            never_together(world)
    world.settle()

    assert world.model_condition("Ready")["status"] == "True"
    assert len(world.live(servers=True)) == 1
