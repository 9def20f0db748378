"""`guard.py COMMAND…`: becomes the command, which the kernel then ends when the process that started it dies.

Run as a script, by itself: it must start at once. Only Linux can do this; elsewhere an engine outlives a killed parent.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

_NOT_FOUND = 127
"""Exit status of a command that cannot be started, as in a shell."""


def main() -> None:
    """Become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    command = sys.argv[1:]
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command that the user asked for
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(_NOT_FOUND)


if __name__ == "__main__":
    main()
