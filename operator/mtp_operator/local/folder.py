"""The folder that the evidence gathers in: the run, and what each trial left.

run.yaml              the MTPTuningRun, written after every step
trials/n3-b0-a0/      one folder for each trial: engine.log, record.json, bench.log, result, command
configuration/        files that the engine reads
"""

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import yaml
from pydantic import ValidationError

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.run import MTPTuningRun

from .local_errors import BrokenError, RefusedError

RUN_FILE: Final = "run.yaml"


class EvidenceFolder:
    """The folder of one run; only one process at a time has it.

    Args:
        path: the folder; it is created where it does not exist.

    Raises:
        RefusedError: it cannot be used, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (self.path / ".lock").open("w")
        except OSError as error:
            raise RefusedError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RefusedError(f"{path}: another mtp tune is using this folder") from None

    def close(self) -> None:
        """Let others have it."""
        self._lock.close()

    @property
    def run_file(self) -> Path:
        """Where the run is kept."""
        return self.path / RUN_FILE

    def read(self) -> MTPTuningRun | None:
        """The run that is kept here; None where there is none.

        Raises:
            RefusedError: what is there is not a run.
        """
        try:
            return MTPTuningRun.from_wire(yaml.safe_load(self.run_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            reason = " ".join(str(error).split())
            raise RefusedError(f"{self.run_file}: cannot be read as an MTPTuningRun: {reason}") from None

    def write(self, run: MTPTuningRun) -> None:
        """Keep the run, as it is now: whatever happens, the file is either the old or the new one.

        Raises:
            BrokenError: it cannot be written.
        """
        body = {"apiVersion": API_VERSION, "kind": MTPTuningRun.__name__, **run.to_wire()}
        self.write_file(self.run_file, yaml.safe_dump(body, sort_keys=False, width=120, allow_unicode=True))

    def write_file(self, path: Path, text: str) -> None:
        """Write a file of this folder, all of it or nothing.

        Raises:
            BrokenError: it cannot be written.
        """
        draft = path.with_name(f".{path.name}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise BrokenError(
                f"{path}: {error.strerror}; what was measured is kept: fix that, then continue with --resume"
            ) from None

    def configuration(self, files: Mapping[str, str]) -> None:
        """Write the files that the engine reads."""
        self.configuration_folder.mkdir(exist_ok=True)
        for name, content in files.items():
            self.write_file(self.configuration_folder / name, content)

    @property
    def configuration_folder(self) -> Path:
        """Where those files are."""
        return self.path / "configuration"

    def new_trial(self, name: str) -> Path:
        """An empty folder for a trial; what an interrupted one of this name left is removed.

        Raises:
            BrokenError: it cannot be made.
        """
        folder = self.path / "trials" / name
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        except OSError as error:
            raise BrokenError(f"{folder}: {error.strerror}") from None
        return folder
