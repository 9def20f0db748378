"""What `mtp tune` is asked to tune: an MTPModel in a file, or an engine's command line."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mtp_operator.api.model import MTPModel
from mtp_operator.api.validation import complaints
from mtp_operator.convert.document import converted, said
from mtp_operator.convert.found import ConvertError, Deployed, Draft, Json
from mtp_operator.convert.shell import from_command_line
from mtp_operator.engines import engine_for
from mtp_operator.local.local_errors import RefusedError

from .render import Installation, RenderError, model_of, models_in

_NAMESPACE: Final = "default"


@dataclass(frozen=True)
class Asked:
    """A model, and what is known of how it runs on this machine."""

    model: MTPModel
    engine_command: str | None = None
    model_path: Path | None = None
    drafter_path: Path | None = None
    image: str | None = None
    """What Docker runs; None: the engine runs without it."""
    said: tuple[str, ...] = ()
    """Lines on what was left out of a command line, and what to look at."""


def asked(
    words: Sequence[str],
    name: str | None,
    engine_command: str | None,
    model_path: Path | None,
    drafter_path: Path | None,
    *,
    docker: bool,
) -> Asked:
    """What the user asks for.

    Args:
        words: a file, or a command line.
        name: the model's.
        engine_command: what starts the engine of a model in a file.
        model_path: where the weights lie, whatever a command line says.
        drafter_path: the same for the drafter.
        docker: whether Docker runs the image of a model in a file.

    Raises:
        RefusedError: it cannot be used.
    """
    if docker and (engine_command is not None or len(words) > 1):
        raise RefusedError("--docker: runs the image of a MODEL.yaml, and takes no other command for the engine")
    if len(words) == 1:
        model = _from_file(Path(words[0]), name)
        image = Installation().engine_image(model) if docker else None
        return Asked(model, engine_command, model_path, drafter_path, image)
    if engine_command is not None:
        raise RefusedError("--engine-command: the command line after -- names the engine already")
    found = _from_words(words, name)
    return replace(
        found,
        model_path=model_path or _existing(found.model_path),
        drafter_path=drafter_path or _existing(found.drafter_path),
    )


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.exists():
        raise RefusedError(f"the command line: {path} does not exist")
    return path


def _from_file(file: Path, name: str | None) -> MTPModel:
    """The model of a file.

    Args:
        file: where it is; - is standard input.
        name: which one, where there are several.

    Raises:
        RefusedError: it cannot be read, has no such model, or several.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        found = list(models_in(text, str(file), _NAMESPACE))
    except OSError as error:
        raise RefusedError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RefusedError(f"{file}: not UTF-8 text") from None
    except RenderError as error:
        raise RefusedError(str(error)) from None
    names = [one.metadata.name for one in found]
    chosen = [one for one in found if name in (None, one.metadata.name)]
    if not chosen:
        raise RefusedError(f"{file}: contains no MTPModel named {name!r}; there are {', '.join(names)}")
    if len(chosen) > 1:
        raise RefusedError(f"{file}: contains {len(chosen)} MTPModels; select one with --name: {', '.join(names)}")
    return chosen[0]


def _from_words(words: Sequence[str], name: str | None) -> Asked:
    """The model that a command line serves, by the rules of `mtp init`, and how it serves it.

    Args:
        words: the command line.
        name: of the model; None: from what it serves.

    Raises:
        RefusedError: nothing can be made of it, or what is made of it is not a model that can be tuned.
    """
    try:
        deployed = from_command_line(shlex.join(words))
        if not deployed.command:
            raise ConvertError("a container or a shell starts the engine; state the engine's own command after --")
        if "-m" in deployed.command:
            command = " ".join(engine_for(deployed.engine).command)
            raise ConvertError(f"state it as `{command} MODEL …`, which takes the same flags")
        document, draft = converted(deployed, lambda path: Path(path).exists())
    except ConvertError as error:
        raise RefusedError(f"the command line: {error}") from None
    _check_variables(deployed, document)
    if name is not None:
        document["metadata"]["name"] = name
    if problems := complaints(document):
        raise RefusedError("the command line: " + "; ".join(map(str, problems)))
    return Asked(
        model_of(document, _NAMESPACE),
        shlex.join(deployed.command),
        _path(draft, "model"),
        _path(draft, "speculation.drafter"),
        said=tuple(line for part in said(draft) for line in part),
    )


def _check_variables(deployed: Deployed, document: Json) -> None:
    """The engine inherits variables: only those that belong to the model may precede its command."""
    kept = {one["name"] for one in document["spec"]["engine"].get("env", ())}
    for variable in deployed.environment:
        if variable not in kept and not variable.startswith("LLAMA_ARG_"):
            raise RefusedError(
                f"{variable}: cannot be a part of an MTPModel; write it before `mtp tune`, and the engine inherits it"
            )


def _path(draft: Draft, field: str) -> Path | None:
    stated = draft.paths.get(field)
    return None if stated is None else Path(stated).expanduser()
