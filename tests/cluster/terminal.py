"""A command on a terminal of some width, as a person sees it, and the same in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_HANG_SECONDS = 300.0
_LINES = 200
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@dataclass(frozen=True)
class Shown:
    """What a command printed, without colors and movements of the cursor."""

    exit_code: int
    text: str


def on_terminal(
    argv: Sequence[str], columns: int, environment: Mapping[str, str], enough: Callable[[str], bool] | None = None
) -> Shown:
    """Runs a command on a terminal; its errors are shown there, too.

    Args:
        argv: the command.
        columns: of the terminal.
        environment: of the command.
        enough: of what it has printed so far: then it is interrupted, as by Ctrl-C. None: it ends on its own.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    # Of these two, which readline sets, a program believes the size that is not this terminal's.
    inherited = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**inherited, "TERM": "xterm"})
    os.close(theirs)
    return _read(process, ours, enough)


def in_pipe(argv: Sequence[str], environment: Mapping[str, str], enough: Callable[[str], bool] | None = None) -> Shown:
    """Runs a command whose output is not a terminal; what it says of errors is shown, too. See `on_terminal`."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return _read(process, ours, enough)


def _read(process: subprocess.Popen[bytes], source: int, enough: Callable[[str], bool] | None) -> Shown:
    hung = threading.Timer(_HANG_SECONDS, process.kill)
    hung.start()
    data, interrupted = b"", False
    with os.fdopen(source, "rb", buffering=0) as stream:
        while part := _part(stream.fileno()):
            data += part
            if enough is not None and not interrupted and enough(_plain(data)):
                process.send_signal(signal.SIGINT)
                interrupted = True
    code = process.wait()
    hung.cancel()
    return Shown(code, _plain(data))


def _part(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # The other end of a terminal is closed.
        return b""


def _plain(data: bytes) -> str:
    lines = _CONTROL.sub("", data.decode(errors="replace")).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n" if lines else ""
