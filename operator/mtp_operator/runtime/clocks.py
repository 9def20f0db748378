"""A clock that cannot be set and that goes on while the machine is suspended."""

import time


def seconds_since_boot() -> float:
    """Seconds since the machine started, those of its suspensions included.

    `time.monotonic` stops in a suspension: a holder of the Lease that wakes up would believe in it for as long as
    before, although another process has taken it over by now.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
