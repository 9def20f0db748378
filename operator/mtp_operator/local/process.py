"""One process of a trial, and everything that it starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.05
"""Between two looks whether a process that was asked to end has ended."""

_SIGNALED: Final = 128
"""Shells and kubelet add it to the number of the signal that ended a process."""


class Process:
    """A running process in a session of its own: no Ctrl-C of the terminal reaches it.

    Args:
        command: the program and its arguments; no shell sees them.
        environment: all of its environment.
        output: the file that its standard output goes to.
        errors: the file that its standard error goes to; None: to the same as its output.

    Raises:
        OSError: it cannot be started, or a file cannot be written.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path | None = None
    ) -> None:
        with ExitStack() as files:
            out = files.enter_context(output.open("wb"))
            err = files.enter_context(errors.open("wb")) if errors else subprocess.STDOUT
            self._process = subprocess.Popen(
                [*_GUARD, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(environment),
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """How it ended, as kubelet would say it; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else _SIGNALED - code

    def ask_to_end(self) -> None:
        """Send SIGTERM to it and to all that it has started."""
        self._signal(signal.SIGTERM)

    def end(self, grace_seconds: float) -> None:
        """End it and all that it has started: first politely, then not.

        Args:
            grace_seconds: what it may take to end by itself.
        """
        self.ask_to_end()
        deadline = time.monotonic() + grace_seconds
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _is_alive(self) -> bool:
        """Whether it, or anything that it has started, still runs."""
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


_GUARD: Final = (sys.executable, "-S", "-E", str(Path(__file__).with_name("guard.py")))
"""Starts a command that does not outlive this process; without the packages that take time to import."""
