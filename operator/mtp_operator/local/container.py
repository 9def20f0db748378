"""The engine's image run by Docker: the command lines that start and remove a container."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHARED_MEMORY: Final = "16g"
"""As a pod has it where the model states nothing else: processes of one engine exchange tensors there."""

_INHERITED: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables whose values only Docker reads: they are in no command line, and in no file of the evidence."""


@dataclass(frozen=True)
class Container:
    """What is the same for all containers of one tuning."""

    program: str
    """Docker's."""
    image: str
    user: str
    """`uid:gid`, who owns what the engine writes."""
    gpus: str | None
    """What follows `device=`, or `all`; None: no GPU."""
    weights: tuple[Path, ...]
    """Folders that the engine reads, which have the same paths inside."""
    hub: Path | None
    """The folder that models of the Hugging Face hub are kept in; None: there is none."""
    inherited: tuple[str, ...] = ()
    """Variables that the engine has from the user, without their values."""

    def run(
        self, name: str | None, environment: Mapping[str, str], configuration: Path | None, arguments: Iterable[str]
    ) -> tuple[str, ...]:
        """The command line that runs the engine until it ends, or until it gets SIGTERM.

        The host's network makes 127.0.0.1 the same inside; folders have the same paths inside: so the arguments are
        those of an engine outside of a container.

        Args:
            name: the container's; None: Docker chooses one.
            environment: of the engine.
            configuration: the folder of files that the engine reads, beside its weights.
            arguments: the engine's.
        """
        read = (*self.weights, *((configuration,) if configuration else ()))
        return (
            *(self.program, "run", "--rm", "--init"),
            *((f"--name={name}",) if name else ()),
            *((f"--gpus={_gpus(self.gpus)}",) if self.gpus else ()),
            *("--network=host", f"--shm-size={_SHARED_MEMORY}", f"--user={self.user}"),
            *(f"--mount={_fields(*_bind(folder), 'readonly')}" for folder in dict.fromkeys(read)),
            *((f"--mount={_fields(*_bind(self.hub))}", f"--env=HF_HOME={self.hub}") if self.hub else ()),
            *(f"--env={variable}" for variable in self.inherited),
            *(f"--env={variable}={value}" for variable, value in environment.items()),
            self.image,
            *arguments,
        )

    def remove(self, name: str) -> tuple[str, ...]:
        """The command line that ends a container, whatever its state, and removes it."""
        return (self.program, "rm", "--force", name)


def container(
    program: str, image: str, user: str, weights: Iterable[Path | None], environment: Mapping[str, str]
) -> Container:
    """The container for an engine.

    Args:
        program: Docker's.
        image: the engine's.
        user: `uid:gid`.
        weights: the files or folders that it loads; None for what it finds on the hub.
        environment: the user's: CUDA_VISIBLE_DEVICES, HF_HOME and HOME count, and what only Docker reads.
    """
    paths = [path for path in weights if path is not None]
    hub = Path(environment.get("HF_HOME") or Path(environment.get("HOME", "/"), ".cache", "huggingface"))
    return Container(
        program=program,
        image=image,
        user=user,
        gpus=environment.get("CUDA_VISIBLE_DEVICES", "all") or None,
        # A GGUF may have further parts beside it.
        weights=tuple(path.parent if path.is_file() else path for path in paths),
        hub=hub.absolute() if hub.is_dir() else None,
        inherited=tuple(name for name in _INHERITED if name in environment),
    )


def _gpus(stated: str) -> str:
    return stated if stated == "all" else _fields(f"device={stated}")


def _bind(folder: Path) -> tuple[str, ...]:
    return "type=bind", f"source={folder}", f"target={folder}"


def _fields(*parts: str) -> str:
    """As Docker reads lists: a part with a comma is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(parts)
    return text.getvalue()
