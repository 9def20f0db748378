"""What was found of a deployment, whatever it was written in, and the MTPModel that grows out of it."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mtp_operator.api.spec import EngineType

Json = dict[str, Any]

_PATHS: Final = ("/", "./", "../", "~")
"""Beginnings of what can only be a path."""


class ConvertError(ValueError):
    """Nothing can be made of the input; the message says why."""


@dataclass(frozen=True)
class Mount:
    """A folder of the container, and the claim or ConfigMap that is mounted there."""

    path: str
    claim: str = ""
    folder: str = ""
    """Below the claim's root."""
    config_map: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    """File below the path -> key of the ConfigMap, where only some are mounted."""


@dataclass(frozen=True)
class Deployed:
    """An engine as somebody runs it."""

    engine: EngineType
    arguments: Sequence[str]
    """After the engine's entry point."""
    name: str = ""
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    gpus: int | None = None
    resource_name: str = ""
    spec: Json = field(default_factory=dict)
    """Further parts of the MTPModel's spec, such as its template."""
    left_out: Sequence[str] = ()
    """What has no place in an MTPModel, and why."""
    notes: Sequence[str] = ()
    command: Sequence[str] = ()
    """What precedes the arguments; empty where a container or a shell starts the engine."""


class Draft:
    """An MTPModel in the making: fields, what was left out and why, and what a person should look at.

    Args:
        deployed: what was found.
        is_here: whether a path exists, for an engine of this machine; None: its paths are those of a container.
    """

    def __init__(self, deployed: Deployed, is_here: Callable[[str], bool] | None = None) -> None:
        self.deployed = deployed
        self._is_here = is_here
        self.paths: dict[str, str] = {}
        """Field of weights -> their path on this machine."""
        self.spec: Json = {"model": {}, "engine": {"type": deployed.engine.value}}
        self.n_spec: int | None = None
        """The n_spec that was set by hand."""
        self.left_out: list[str] = list(deployed.left_out)
        self.notes: list[str] = list(deployed.notes)

    def put(self, path: str, value: Any) -> None:
        """Set a field of the spec by its dotted path."""
        *parents, last = path.split(".")
        place = self.spec
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value

    def get(self, path: str) -> Any:
        """A field of the spec; None where it is not set."""
        place: Any = self.spec
        for part in path.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        return place

    def leave(self, what: str, why: str) -> None:
        """Note that something was left out."""
        self.left_out.append(f"{what}: {why}")

    def unreadable(self, flag: "Flag", why: str) -> None:
        """Leave out a flag whose value cannot be read.

        Raises:
            ConvertError: the engine is of this machine, where another setting would be measured than was asked for.
        """
        if self.is_of_this_machine:
            raise ConvertError(f"{flag}: {why}")
        self.leave(str(flag), why)

    def number(self, flag: "Flag") -> float | None:
        """The number that a flag states; None if it is none, see `unreadable`."""
        try:
            value = float(flag.value or "")
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        self.unreadable(flag, "is not a number")
        return None

    def put_percent(self, field: str, flag: "Flag") -> None:
        """Put the share that a flag states, as a whole number of percent; says so where it is rounded."""
        share = self.number(flag)
        if share is None:
            return
        percent = round(share * 100)
        if abs(percent - share * 100) > 0.01:
            self.notes.append(f"{flag} is rounded to {percent} percent")
        self.put(field, percent)

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the engine's paths are those of this machine."""
        return self._is_here is not None

    def put_weights(self, field: str, stated: str, *, is_path: bool = False) -> None:
        """Set the URI of weights.

        Args:
            field: `model` or `speculation.drafter`.
            stated: what the engine is told to load.
            is_path: whether it can be nothing but a path.
        """
        self.put(f"{field}.uri", self.uri(stated, is_path=is_path))
        if is_path or self._is_path(stated):
            self.paths[field] = stated

    def _is_path(self, stated: str) -> bool:
        return stated.startswith(_PATHS) or (self._is_here is not None and self._is_here(stated))

    def uri(self, stated: str, *, is_path: bool = False) -> str:
        """The URI of weights that an engine is told to load: a path, or a repository; see `put_weights`."""
        if not is_path and not self._is_path(stated):
            return f"hf://{stated}"
        if self.is_of_this_machine:
            return _uri_here(stated)
        path = f"/models/{stated}" if is_path and not stated.startswith("/") else stated
        mount = self.mount_of(path)
        if mount is not None and mount.claim:
            return "/".join(part for part in (f"pvc://{mount.claim}", mount.folder, _below(path, mount)) if part)
        parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")]
        self.notes.append(
            f"{path} is inside the old container: put the weights onto a PersistentVolumeClaim, and correct the URI"
        )
        return "pvc://" + "/".join(parts if len(parts) > 1 else ["models", *parts])

    def file(self, path: str) -> str:
        """The path in the new container of a file that the engine reads, brought there by `spec.files`.

        On this machine the file stays where it is.
        """
        if self.is_of_this_machine:
            return path
        mount = self.mount_of(path)
        name = path.rsplit("/", 1)[-1]
        if mount is not None and mount.claim:
            below = "/".join(part for part in (mount.folder, _below(path, mount)) if part)
            source = {"pvc": {"claim": mount.claim, "path": below}}
        elif mount is not None:
            below = _below(path, mount)
            source = {"configMap": {"name": mount.config_map, "key": mount.keys.get(below, below or name)}}
        else:
            source = {"configMap": {"name": "model-files", "key": name}}
            self.notes.append(
                f"{path} is inside the old container: `kubectl create configmap model-files --from-file={name}` brings "
                "it to where the new one looks"
            )
        files = self.spec.setdefault("files", [])
        if not any(one["name"] == name for one in files):
            files.append({"name": name, **source})
        return f"/etc/model-files/{name}"

    def mount_of(self, path: str) -> Mount | None:
        """The mount that a path of the old container lies in."""
        fitting = [one for one in self.deployed.mounts if f"{path}/".startswith(f"{one.path.rstrip('/')}/")]
        return max(fitting, key=lambda one: len(one.path), default=None)


def _uri_here(path: str) -> str:
    """A URI that the API takes, as near to a path of this machine as possible; nothing is mounted by it."""
    parts = (re.sub("[^-A-Za-z0-9._]+", "-", part).lstrip("-._") for part in path.split("/"))
    return "/".join(("pvc://this-machine", *(part for part in parts if part)))


def _below(path: str, mount: Mount) -> str:
    return path.removeprefix(mount.path.rstrip("/")).strip("/")


@dataclass(frozen=True)
class Flag:
    """One flag of a command line, by its long name, without what follows a dot."""

    name: str
    value: str | None = None
    values: tuple[str, ...] = ()
    """All that follow it, where there are several."""
    key: str = ""
    """What follows a dot in its name: `--flag.key`."""

    def __str__(self) -> str:
        name = f"{self.name}.{self.key}" if self.key else self.name
        return name if self.value is None else f"{name}={self.value}"


def flags(words: Sequence[str], short: Mapping[str, str], switches: Sequence[str]) -> Iterator[Flag | str]:
    """The flags of a command line, and its other words.

    Args:
        words: as the engine gets them.
        short: other spellings of flags -> the one to use.
        switches: beginnings of flags that take no value, so that a word after them stands for itself.
    """
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not _is_flag(word):
            yield word
            continue
        name, equals, value = word.partition("=")
        if not equals and " " in name.strip():
            name, _, value = name.strip().partition(" ")
            equals = "="
        values = [value.strip()] if equals else []
        name, dot, key = short.get(name, name).partition(".")
        name = short.get(name, name)
        name = name.replace("_", "-") if name.startswith("--") else name
        is_switch = name.startswith(tuple(switches)) and not (index < len(words) and words[index] in ("true", "false"))
        while not equals and not is_switch and index < len(words) and not _is_flag(words[index]):
            values.append(words[index])
            index += 1
        yield Flag(name, values[0] if values else None, tuple(values), key if dot else "")


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit() and word[1] not in ". "
