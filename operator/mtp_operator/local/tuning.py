"""A tuning on this machine: the operator decides as it does in a cluster, and this carries out what it decides."""

import os
import shlex
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from mtp_operator.api.conditions import format_time
from mtp_operator.api.model import MTPModel
from mtp_operator.api.run import MTPTuningRun, MTPTuningRunStatus, RunSettings, TrialState, TrialStatus
from mtp_operator.api.trial_documents import TrialPlan
from mtp_operator.engines import NO_LOG_FILE, Place, engine_for
from mtp_operator.reconcile.observed import Kind, Node, Observed, OperatorSettings, Reference
from mtp_operator.reconcile.plan import Action, Create, EventDraft, StatusUpdate, StopTrial
from mtp_operator.reconcile.run import advance, is_finished, open_trial
from mtp_operator.resources.trial_job import trial_plan
from mtp_operator.resources.tuning_run import tuning_run

from .folder import EvidenceFolder
from .launch import LOOPBACK, Launch, check_port, free_port
from .local_errors import RefusedError, StoppedError
from .local_trial import LocalTrial, Trial, TrialOrder

POLL_SECONDS: Final = 0.1
"""Between two looks at the processes of a trial."""


class Watch(Protocol):
    """Who is told how a tuning goes."""

    def wrote(self, run: MTPTuningRun, events: tuple[EventDraft, ...]) -> None:
        """The run has changed, and is on disk; the events say how."""

    def waiting(self, run: MTPTuningRun, trial: TrialStatus, seconds: float) -> None:
        """A trial has been under way for so many seconds."""


@dataclass(frozen=True)
class Surroundings:
    """What a tuning finds on this machine, and what tests replace."""

    node: Node
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    start: Callable[[TrialOrder, Callable[[], datetime]], Trial] = LocalTrial
    is_stopped: Callable[[], bool] = lambda: False
    """Whether the user wants it to end now."""


@dataclass(frozen=True)
class Options:
    """What the user states beside the model."""

    launch: Launch
    ready_seconds: int = OperatorSettings.ready_seconds
    """Time that the engine may take until a completion works."""
    level_seconds: int = OperatorSettings.level_seconds
    """Time for one concurrency level of one trial."""
    port: int | None = None
    """The engine's; None: any that is free."""
    prompts: Path | None = None
    """The user's own prompts, where the model names some."""


def new_run(model: MTPModel, settings: RunSettings, now: datetime) -> MTPTuningRun:
    """The run of these settings, as a cluster would have it."""
    body = tuning_run(model, settings)
    metadata: dict[str, Any] = {
        **body["metadata"],
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": format_time(now),
    }
    # Nothing owns a run that is kept in a file.
    metadata.pop("ownerReferences", None)
    return MTPTuningRun.from_wire({**body, "metadata": metadata})


def resumed(kept: MTPTuningRun, wanted: MTPTuningRun) -> MTPTuningRun:
    """The kept run, with the trial that was under way planned again: an interruption is no fault of it.

    Args:
        kept: as it was when the tuning was interrupted.
        wanted: what would be run now.

    Raises:
        RefusedError: they are not of the same settings.
    """
    if kept.metadata.name != wanted.metadata.name:
        raise RefusedError(
            f"--resume: the folder has run {kept.metadata.name}, and the model and the engine's command as they are "
            f"now are another one, {wanted.metadata.name}; undo the change, or start again in another folder (--to)"
        )
    trials = tuple(
        _planned_again(trial) if trial.state is TrialState.RUNNING else trial for trial in kept.status.trials
    )
    return _with_status(kept, kept.status.model_copy(update={"trials": trials}))


def _planned_again(trial: TrialStatus) -> TrialStatus:
    return trial.model_copy(update={"state": TrialState.PLANNED, "job_uid": None, "node": None, "started_at": None})


def _with_status(run: MTPTuningRun, status: MTPTuningRunStatus) -> MTPTuningRun:
    return run.model_copy(update={"status": status})


class Tuning:
    """Carries out one run.

    Args:
        run: as it is now.
        folder: where the evidence is kept.
        options: what the user states.
        surroundings: this machine.
        watch: who is told.
    """

    def __init__(
        self, run: MTPTuningRun, folder: EvidenceFolder, options: Options, surroundings: Surroundings, watch: Watch
    ) -> None:
        self.run = run
        self._folder = folder
        self._options = options
        self._around = surroundings
        self._watch = watch
        self._trial: Trial | None = None
        self._about = Reference(Kind.MODEL, run.metadata.namespace, run.spec.model_name, "")
        self._settings = OperatorSettings(
            engine_images={},
            bench_image=run.spec.bench_image,
            ready_seconds=options.ready_seconds,
            level_seconds=options.level_seconds,
        )

    def until_verdict(self) -> MTPTuningRun:
        """Measure until there is a verdict.

        Returns:
            The run with its verdict.

        Raises:
            StoppedError: the user stopped it.
            BrokenError: this machine cannot continue.
            RefusedError: the port is in use.
        """
        try:
            while not is_finished(self.run):
                if self._around.is_stopped():
                    raise StoppedError
                if not self._step():
                    self._wait()
        finally:
            if self._trial is not None:
                self._trial.stop()
        return self.run

    def _step(self) -> bool:
        """Decide once, and carry it out; whether there was anything to do."""
        plan, _ = advance(self.run, self._about, self._observed(), None, self._settings, self._around.clock())
        done = [self._carry_out(action) for action in plan.actions]
        return any(done)

    def _observed(self) -> Observed:
        trial, node = self._trial, self._around.node
        return Observed(
            model=None,
            runs=(self.run,),
            jobs=(trial.job(),) if trial else (),
            pods=(trial.pod(),) if trial else (),
            nodes={node.name: node},
        )

    def _carry_out(self, action: Action) -> bool:
        match action:
            case StatusUpdate():
                status = MTPTuningRunStatus.model_validate(action.status)
                self.run = _with_status(self.run, status)
                self._folder.write(self.run)
                self._watch.wrote(self.run, action.events)
            case Create(Kind.JOB):
                trial = open_trial(self.run.status.trials)
                if trial is None:
                    return False
                self._trial = self._around.start(self._order(trial), self._around.clock)
            case StopTrial() if self._trial is not None:
                self._trial.ask_to_end()
            case _:
                return False
        return True

    def _wait(self) -> None:
        """Until something has become of the trial."""
        trial = open_trial(self.run.status.trials)
        if self._trial is None or trial is None:
            raise AssertionError(f"nothing is left to do, and there is no verdict: {self.run.status}")
        begin = self._around.clock()
        while not self._trial.look():
            if self._around.is_stopped():
                raise StoppedError
            self._watch.waiting(self.run, trial, (self._around.clock() - begin).total_seconds())
            self._around.sleep(POLL_SECONDS)

    def _order(self, trial: TrialStatus) -> TrialOrder:
        run, launch = self.run, self._options.launch
        port = self._port()
        folder = self._folder.new_trial(trial.job_name.removeprefix(f"{run.metadata.name}-"))
        place = Place(host=LOOPBACK, port=port, configuration_folder=str(self._folder.configuration_folder))
        # What it prints is its log: there is no need for a second one.
        engine = engine_for(run.spec.engine.type, NO_LOG_FILE, place)
        self._folder.configuration(engine.configuration_files())
        environment = launch.environment(run, engine, self._around.environment)
        command, remove = launch.arguments(run, trial.n_spec, engine), None
        if launch.container is not None:
            name = f"mtp-tune-{run.metadata.uid[:8]}-{folder.name}"
            configuration = self._folder.configuration_folder
            command = launch.contained(launch.container, name, run, trial.n_spec, engine, configuration)
            environment, remove = dict(self._around.environment), launch.container.remove(name)
        self._folder.write_file(folder / "command", shlex.join(command) + "\n")
        return TrialOrder(
            name=trial.job_name,
            run_uid=run.metadata.uid,
            node=self._around.node.name,
            engine_id=run.spec.engine.image or "",
            command=command,
            environment=environment,
            bench_environment=self._around.environment,
            plan=self._plan(trial, port, folder / "engine.log"),
            folder=folder,
            remove=remove,
        )

    def _port(self) -> int:
        if self._options.port is None:
            return free_port()
        check_port(self._options.port)
        return self._options.port

    def _plan(self, trial: TrialStatus, port: int, log: Path) -> TrialPlan:
        """As the bench container of a pod has it, but for where things are."""
        options = self._options
        plan = trial_plan(self.run, trial, ready_seconds=options.ready_seconds, level_seconds=options.level_seconds)
        path = options.launch.model.path
        prompts = plan.prompts
        if prompts.file is not None and options.prompts is not None:
            prompts = prompts.model_copy(update={"file": str(options.prompts.absolute()), "field": "--prompts"})
        return plan.model_copy(
            update={
                "url": f"http://{LOOPBACK}:{port}",
                "prompts": prompts,
                "model_path": str(path) if path else None,
                "engine_log": str(log),
            }
        )
