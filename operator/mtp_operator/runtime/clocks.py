"""A clock that cannot be set, and that also runs while the machine is suspended."""

import time


def seconds_since_boot() -> float:
    """Seconds since the machine started, those of its suspensions included.

    `time.monotonic` stops in a suspension: a holder of the Lease that wakes up would still use it, although
    another process has acquired it.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
