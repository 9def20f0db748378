"""How the engine is started on this machine: its command line and its environment for each n."""

import os
import shlex
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtp_operator.api.fetch import hub_parts
from mtp_operator.api.model import MTPModelSpec
from mtp_operator.api.run import MTPTuningRun
from mtp_operator.api.spec import EngineType
from mtp_operator.api.weights_source import WeightsSource
from mtp_operator.engines import NO_LOG_FILE, Engine, Place, engine_for
from mtp_operator.resources.trial_job import served_name

from .container import Container, container
from .local_errors import RefusedError

LOOPBACK: Final = "127.0.0.1"

_OF_A_POD: Final = frozenset({"HOME", "USER", "LOGNAME"})
"""Variables of an engine's container that on this machine are the user's own."""

_OFFLINE: Final = "HF_HUB_OFFLINE"
"""Not for a model that is named by its repository: the engine may have to download it."""


@dataclass(frozen=True)
class Weights:
    """A model as the engine on this machine is told of it."""

    argument: str
    """What the engine's command line says."""
    path: Path | None
    """Where it lies; None where the engine finds it on the hub."""


@dataclass(frozen=True)
class Launch:
    """All that is the same for every n."""

    command: tuple[str, ...]
    """The engine's program, and what comes before the arguments that follow from the settings."""
    model: Weights
    drafter: Weights | None
    revision: str | None
    """The commit of a model that the engine finds on the hub."""
    container: Container | None = None
    """What runs the engine's image, instead of a command."""

    @property
    def engine_id(self) -> str:
        """What is remembered as the engine's image."""
        return self.container.image if self.container else shlex.join(self.command)

    def arguments(self, run: MTPTuningRun, n_spec: int, engine: Engine) -> tuple[str, ...]:
        """The whole command line with this n."""
        stated = engine.arguments(
            run.spec,
            n_spec,
            served_name(run),
            self.model.argument,
            self.drafter.argument if self.drafter else None,
        )
        return (*self.command, *stated, *((f"--revision={self.revision}",) if self.revision else ()))

    def contained(
        self, container: Container, name: str, run: MTPTuningRun, n_spec: int, engine: Engine, configuration: Path
    ) -> tuple[str, ...]:
        """The whole command line with this n in a container of this name; see `Container.run`."""
        left_out = () if self.model.path else (_OFFLINE,)
        own = {variable: value for variable, value in engine.environment().items() if variable not in left_out}
        environment = {**own, **_stated_environment(run)}
        return container.run(name, environment, configuration, self.arguments(run, n_spec, engine))

    def environment(self, run: MTPTuningRun, engine: Engine, user: Mapping[str, str]) -> dict[str, str]:
        """The user's own environment, then what the engine needs, then what the model states.

        Args:
            run: the run.
            engine: where it runs.
            user: the environment of this process, CUDA_VISIBLE_DEVICES included.
        """
        return {**user, **self._own_environment(engine), **_stated_environment(run)}

    def _own_environment(self, engine: Engine) -> dict[str, str]:
        left_out = _OF_A_POD if self.model.path else _OF_A_POD | {_OFFLINE}
        return {name: value for name, value in engine.environment().items() if name not in left_out}

    def serve_line(self, run: MTPTuningRun, n_spec: int) -> str:
        """What to type into a shell to serve the model with this n, as it was measured."""
        engine = engine_for(run.spec.engine.type, NO_LOG_FILE, Place(host=LOOPBACK))
        if self.container is not None:
            own = {name: value for name, value in engine.environment().items() if name in _OF_A_POD}
            environment = {**own, **_stated_environment(run)}
            return shlex.join(self.container.run(None, environment, None, self.arguments(run, n_spec, engine)))
        variables = [f"{name}={shlex.quote(value)}" for name, value in _stated_environment(run).items()]
        return " ".join([*variables, shlex.join(self.arguments(run, n_spec, engine))])


def _stated_environment(run: MTPTuningRun) -> dict[str, str]:
    return {variable.name: variable.value for variable in run.spec.engine.env}


def launch(
    spec: MTPModelSpec,
    *,
    command: str | None,
    model_path: Path | None,
    drafter_path: Path | None,
    image: str | None = None,
) -> Launch:
    """How to start this model's engine.

    Args:
        spec: the model's.
        command: what the user states instead of the engine on PATH.
        model_path: where the target model lies.
        drafter_path: where the drafter lies.
        image: what Docker runs, instead of a command.

    Raises:
        RefusedError: the engine or the weights cannot be found.
    """
    engine, drafter = spec.engine.type, spec.speculation.drafter
    model = _weights(
        spec.model, model_path, "spec.model.uri", "--model-path", on_hub=engine is not EngineType.LLAMA_CPP
    )
    draft = _drafter(drafter, drafter_path, engine) if drafter else None
    return Launch(
        command=engine_for(engine).container_command if image else _command(engine, command),
        model=model,
        drafter=draft,
        revision=spec.model.revision if model.path is None else None,
        container=_container(image, (model.path, draft.path if draft else None)) if image else None,
    )


def _container(image: str, weights: tuple[Path | None, ...]) -> Container:
    program = shutil.which("docker")
    if program is None:
        raise RefusedError("--docker: there is no program 'docker' on PATH; install it, or start the engine without it")
    return container(program, image, f"{os.getuid()}:{os.getgid()}", weights, os.environ)


def _command(engine: EngineType, stated: str | None) -> tuple[str, ...]:
    if stated is None:
        words = engine_for(engine).command
        remedy = f"install it, or name another command with --engine-command '{shlex.join(words)}'"
    else:
        try:
            words = tuple(shlex.split(stated))
        except ValueError as error:
            raise RefusedError(f"--engine-command: {stated}: {error}") from None
        remedy = "check the engine's command"
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise RefusedError(f"engine not found: there is no program {words[0] if words else ''!r} on PATH; {remedy}")
    return (str(Path(program).absolute()), *words[1:])


def _drafter(source: WeightsSource, stated: Path | None, engine: EngineType) -> Weights:
    # No flag that the operator sets names a drafter's commit.
    on_hub = engine is not EngineType.LLAMA_CPP and source.revision is None
    return _weights(source, stated, "spec.speculation.drafter.uri", "--drafter-path", on_hub=on_hub)


def _weights(source: WeightsSource, stated: Path | None, field: str, option: str, *, on_hub: bool) -> Weights:
    """Where the weights are.

    Args:
        source: as the model states it.
        stated: as the user states it.
        field: of the model, for messages.
        option: the user's, for messages.
        on_hub: whether the engine can take a repository of the hub by its name.
    """
    if stated is not None:
        path = stated.expanduser().absolute()
        if not path.exists():
            raise RefusedError(f"{option}: {path} does not exist")
        if path.is_dir() and not any(path.iterdir()):
            raise RefusedError(f"{option}: {path} is an empty folder")
        return Weights(str(path), path)
    if source.is_fetched and on_hub:
        repository, file = hub_parts(source.uri)
        if not file:
            return Weights(repository, None)
    raise RefusedError(f"{field}: {source.uri} is not on this machine; name the folder or file with {option}")


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Make sure that the engine can listen there.

    Raises:
        RefusedError: something else does.
    """
    with socket.socket() as probe:
        # What has ended a moment ago does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            message = f"--port: port {port} cannot be used ({error.strerror}); choose another one, or leave --port out"
            raise RefusedError(message) from None
