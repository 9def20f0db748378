"""What can be seen of the machine from within the bench container: its own throttling, and who waits for a CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PRESSURE: Final = Path("/proc/pressure/cpu")
"""Of the whole node, also as a container sees it."""

CGROUP: Final = Path("/sys/fs/cgroup/cpu.stat")
"""Of the container itself."""


@dataclass(frozen=True)
class MachineLoad:
    """Seconds since some moment, or between two; None where it is not to be seen."""

    waiting_seconds: float | None = None
    """In which some task of the machine was ready to run and had no CPU."""
    throttled_seconds: float | None = None
    """In which this container was held back by its own CPU limit."""

    def since(self, earlier: "MachineLoad") -> "MachineLoad":
        """What was added since."""
        return MachineLoad(
            waiting_seconds=_difference(self.waiting_seconds, earlier.waiting_seconds),
            throttled_seconds=_difference(self.throttled_seconds, earlier.throttled_seconds),
        )


def machine_load(pressure: Path = PRESSURE, cgroup: Path = CGROUP) -> MachineLoad:
    """Read both, in microseconds as the kernel counts them."""
    return MachineLoad(
        waiting_seconds=_seconds(pressure, "some", "total="),
        throttled_seconds=_seconds(cgroup, "throttled_usec", ""),
    )


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _seconds(path: Path, line_name: str, field: str) -> float | None:
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return None
    for name, *values in filter(None, lines):
        if name == line_name and values and values[-1].startswith(field):
            return int(values[-1].removeprefix(field)) / 1e6
    return None
