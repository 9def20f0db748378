"""Tunings on this machine whose trials are tables of speeds: no process is started, and no time passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun, TrialStatus
from mtp_operator.local.folder import EvidenceFolder
from mtp_operator.local.launch import Launch, Weights
from mtp_operator.local.local_trial import TrialOrder
from mtp_operator.local.tuning import Options, Surroundings, Tuning, new_run, resumed
from mtp_operator.reconcile.observed import Container, Job, Node, Pod, Terminated
from mtp_operator.reconcile.plan import EventDraft
from mtp_operator.resources.tuning_run import run_settings
from tests.unit.reconcile.givens import SETTINGS, SPEEDS, model_body, result

LAUNCH = Launch(command=("vllm", "serve"), model=Weights("/models/gemma", None), drafter=None, revision=None)

TRIAL_SECONDS = 30


class PretendedTrial:
    """A trial that runs to a good end in `TRIAL_SECONDS`, or whose engine dies at once."""

    def __init__(self, order: TrialOrder, clock: Callable[[], datetime], speeds: Mapping[int, float]) -> None:
        self.order = order
        self._clock = clock
        self._begin = clock()
        self._n_spec = order.plan.n_spec
        self._speed = speeds.get(self._n_spec)
        self.engine_end: Terminated | None = None
        self.bench_end: Terminated | None = None
        self.is_stopped = False

    def look(self) -> bool:
        if self._speed is None and self.engine_end is None:
            self.engine_end = Terminated(2, "", "error: unrecognized arguments: --wrong", self._clock())
            return True
        if self._speed is not None and self.bench_end is None and self._is_due:
            message = result(self._n_spec, self._speed).encode()
            self.bench_end = Terminated(0, "", message, self._clock())
            return True
        return False

    @property
    def _is_due(self) -> bool:
        return self._clock() - self._begin >= timedelta(seconds=TRIAL_SECONDS)

    def ask_to_end(self) -> None:
        self.bench_end = Terminated(1, "", "", self._clock() + timedelta(seconds=1))

    def stop(self) -> None:
        self.is_stopped = True

    def job(self) -> Job:
        ended = "" if self.bench_end is None else "Failed" if self.bench_end.exit_code else "Complete"
        return Job(self.order.name, self.order.name, self.order.run_uid, self._begin, finished=ended)

    def pod(self) -> Pod:
        return Pod(
            uid=f"{self.order.name}-pod",
            name=self.order.name,
            job_uid=self.order.name,
            created_at=self._begin,
            phase="Running" if self.bench_end is None else "Failed" if self.bench_end.exit_code else "Succeeded",
            node=self.order.node,
            started_at=self._begin,
            engine=Container(image_id="engine", running=self.engine_end is None, terminated=self.engine_end),
            bench=Container(running=self.bench_end is None, terminated=self.bench_end),
        )


@dataclass
class Desk:
    """One evidence folder, and all that is pretended around it."""

    path: Path
    speeds: Mapping[int, float] = field(default_factory=lambda: SPEEDS)
    body: dict[str, Any] = field(default_factory=model_body)
    now: datetime = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
    stops_after: int | None = None
    """Looks at a trial after which the user wants it to end."""
    trials: list[PretendedTrial] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def tune(self, folder: EvidenceFolder | None = None) -> MTPTuningRun:
        """Begin the run, or continue it where one is kept."""
        looks = 0

        def is_stopped() -> bool:
            nonlocal looks
            looks += 1
            return self.stops_after is not None and looks > self.stops_after

        def start(order: TrialOrder, clock: Callable[[], datetime]) -> PretendedTrial:
            self.trials.append(PretendedTrial(order, clock, self.speeds))
            return self.trials[-1]

        folder = folder or EvidenceFolder(self.path)
        around = Surroundings(Node("here", {}), {"PATH": "/bin"}, lambda: self.now, self.sleep, start, is_stopped)
        model = MTPModel.from_wire(self.body)
        run = new_run(model, run_settings(model, SETTINGS.engine_images[model.spec.engine.type], "bench"), self.now)
        try:
            kept = folder.read()
            run = resumed(kept, run) if kept else run
            return Tuning(run, folder, Options(LAUNCH), around, self).until_verdict()
        finally:
            folder.close()

    def sleep(self, seconds: float) -> None:
        """Time goes by, faster than it is waited for."""
        self.now += timedelta(seconds=100 * seconds)

    def wrote(self, run: MTPTuningRun, events: tuple[EventDraft, ...]) -> None:
        del run
        self.events += [event.reason for event in events]

    def waiting(self, run: MTPTuningRun, trial: TrialStatus, seconds: float) -> None:
        pass


def told(run: MTPTuningRun) -> list[tuple[int, int, str, str | None]]:
    """The trials of a run in their order: n, boot, what became of it, and why it was measured."""
    return [(trial.n_spec, trial.repeat, trial.state.value, trial.rationale) for trial in run.status.trials]
