"""Whole lives of models in the cluster in memory: every state of a model and of its runs that a tool could see."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from mtp_operator.reconcile.observed import Kind
from mtp_operator.reconcile.plan import StatusUpdate
from tests.unit.reconcile.givens import disqualified, model_body
from tests.unit.reconcile.world import World

SURGE = {"replicas": 1}

State = dict[str, Any]


class Recording(World):
    """A world that keeps a copy of the model and of each run whenever one of them changes."""

    def __init__(self, model: State) -> None:
        super().__init__(model)
        self.states: dict[str, list[State]] = {"MTPModel": [], "MTPTuningRun": []}
        self._keep("MTPModel", self.model)

    def _keep(self, kind: str, body: State | None) -> None:
        assert body is not None
        self.states[kind].append(copy.deepcopy(body))

    def _write_status(self, update: StatusUpdate) -> None:
        super()._write_status(update)
        self._keep(update.target.kind, self._find(update.target))

    def _create(self, kind: Kind, body: Any) -> None:
        super()._create(kind, body)
        if kind is Kind.RUN:
            self._keep(kind, self.runs[body["metadata"]["name"]])

    def change_spec(self, **spec: Any) -> None:
        super().change_spec(**spec)
        self._keep("MTPModel", self.model)

    def serve(self) -> None:
        """The servers become what the Deployment says."""
        self.settle()
        self.replace_servers()
        self.settle()

    def fail_trials(self) -> None:
        """No engine of any trial starts, until the run gives up."""
        for _ in range(20):
            self.settle()
            jobs = [job for job in self.jobs.values() if not job["status"].get("conditions")]
            if not jobs:
                return
            pod = self.start_pod(self.open_job())
            self.settle()
            n_spec = int(self.open_job()["metadata"]["labels"]["mtp-operator.dev/n-spec"])
            self.end_bench(pod, 0, disqualified(n_spec, "NoDrafts", "the engine drafted nothing").encode())


def _tuned_and_served() -> Recording:
    world = Recording(model_body(serving=SURGE))
    world.finish()
    world.serve()
    return world


def _baseline_first() -> Recording:
    world = Recording(model_body(serving={**SURGE, "whileTuning": "Baseline"}))
    world.settle()
    world.serve()
    world.finish()
    world.serve()
    return world


def _changed_to_what_cannot_be_tuned() -> Recording:
    world = _baseline_first()
    world.change_spec(engine={"type": "VLLM", "vllm": {"maxNumSeqs": 1, "maxModelLen": 8192}})
    world.fail_trials()
    return world


def _advised_then_pinned() -> Recording:
    world = Recording(model_body(serving=SURGE, tuning={"mode": "Advisory", "maxNSpec": 6}))
    world.settle()
    world.serve()
    world.finish()
    world.change_spec(speculation={"nSpec": 3})
    world.serve()
    return world


def _pinned() -> Recording:
    world = Recording(model_body(serving=SURGE, speculation={"nSpec": 2}))
    world.settle()
    world.serve()
    return world


def _only_tuned() -> Recording:
    world = Recording(model_body())
    world.finish()
    return world


def _scaled_after_that() -> Recording:
    world = _tuned_and_served()
    world.change_spec(serving={"replicas": 2})
    world.serve()
    return world


def _measured_again() -> Recording:
    world = _tuned_and_served()
    assert world.model is not None
    world.change_spec(tuning={**world.model["spec"]["tuning"], "retuneRequest": 1})
    world.finish()
    world.serve()
    return world


def _nothing_measured() -> Recording:
    world = Recording(model_body(serving=SURGE))
    world.fail_trials()
    return world


def _repaired_after_that() -> Recording:
    world = _nothing_measured()
    world.change_spec(speculation={"nSpec": 0})
    world.serve()
    return world


def _suspended_before_it_was_tuned() -> Recording:
    world = Recording(model_body(serving=SURGE))
    world.settle()
    assert world.model is not None
    world.change_spec(tuning={**world.model["spec"]["tuning"], "suspend": True})
    world.settle()
    return world


def _settings_that_cannot_work() -> Recording:
    world = Recording(model_body(engine={"type": "VLLM", "image": "docker.io/vllm/vllm-openai:v0.30.0"}))
    world.settle()
    return world


LIVES: dict[str, Callable[[], Recording]] = {
    one.__name__.strip("_").replace("_", " "): one
    for one in (
        _tuned_and_served,
        _baseline_first,
        _changed_to_what_cannot_be_tuned,
        _advised_then_pinned,
        _pinned,
        _only_tuned,
        _scaled_after_that,
        _measured_again,
        _nothing_measured,
        _repaired_after_that,
        _suspended_before_it_was_tuned,
        _settings_that_cannot_work,
    )
}


@functools.cache
def states(life: str, kind: str) -> tuple[State, ...]:
    """Every state of a life, the earliest first."""
    return tuple(LIVES[life]().states[kind])
