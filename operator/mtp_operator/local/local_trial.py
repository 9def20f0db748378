"""One trial as two processes, seen as the Job and the pod that it would be in a cluster."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from mtp_operator.api.trial_documents import TrialPlan
from mtp_operator.reconcile.observed import Container, Job, Pod, Terminated
from mtp_operator.resources.trial_job import DEADLINE_MARGIN_SECONDS, GRACE_SECONDS

from .local_errors import BrokenError
from .process import Process

_LAST_WORDS_BYTES: Final = 2048
"""Of an engine's output, as much as kubelet keeps of one that fails."""


class Trial(Protocol):
    """A trial that has begun."""

    def look(self) -> bool:
        """See how the processes are; whether there is anything new."""

    def ask_to_end(self) -> None:
        """End it early; what the bench still has to say counts."""

    def stop(self) -> None:
        """End all of its processes, now."""

    def job(self) -> Job:
        """Its Job."""

    def pod(self) -> Pod:
        """Its pod."""


@dataclass(frozen=True)
class TrialOrder:
    """What a trial consists of."""

    name: str
    """Of its Job."""
    run_uid: str
    node: str
    engine_id: str
    """What is remembered as the engine's image."""
    command: Sequence[str]
    """The engine's."""
    environment: Mapping[str, str]
    """The engine's."""
    bench_environment: Mapping[str, str]
    plan: TrialPlan
    folder: Path
    """An empty folder for what it leaves."""
    remove: Sequence[str] | None = None
    """The command that removes the engine's container, which may outlive the engine's command."""


class LocalTrial:
    """A trial on this machine.

    Args:
        order: what it consists of.
        clock: the time.

    Raises:
        BrokenError: it cannot be started.
    """

    def __init__(self, order: TrialOrder, clock: Callable[[], datetime]) -> None:
        self._order = order
        self._clock = clock
        self._started_at = clock()
        self._engine_end: Terminated | None = None
        self._bench_end: Terminated | None = None
        self._reason = ""
        self._is_ending = False
        self._deadline = self._started_at + timedelta(seconds=order.plan.longest_seconds + DEADLINE_MARGIN_SECONDS)
        folder = order.folder
        bench = [sys.executable, "-m", "mtp_operator.bench", json.dumps(order.plan.to_wire()), str(self._result)]
        self._remove_container()
        try:
            self._engine = Process(order.command, order.environment, folder / "engine.log")
            try:
                self._bench = Process(bench, order.bench_environment, folder / "record.json", folder / "bench.log")
            except BaseException:
                self._engine.end(0)
                self._remove_container()
                raise
        except OSError as error:
            raise BrokenError(f"{folder}: the trial cannot be started: {error}") from None

    def look(self) -> bool:
        """See `Trial.look`. The engine is looked at first: one that has died is why its bench ends."""
        before = (self._engine_end, self._bench_end)
        if self._engine_end is None and (code := self._engine.exit_code()) is not None:
            self._engine_end = Terminated(code, "", self._last_words(), self._clock())
        if self._bench_end is None and (code := self._bench.exit_code()) is not None:
            self._finish(code)
        elif self._bench_end is None and self._clock() >= self._deadline:
            self._reason = "DeadlineExceeded"
            self.stop()
        return (self._engine_end, self._bench_end) != before

    def ask_to_end(self) -> None:
        """See `Trial.ask_to_end`."""
        self._is_ending = True
        self._bench.end(GRACE_SECONDS)

    def stop(self) -> None:
        """See `Trial.stop`."""
        self._engine.ask_to_end()
        self._bench.end(GRACE_SECONDS)
        self._finish(self._bench.exit_code() or 0)

    def _finish(self, bench_code: int) -> None:
        """The bench has ended, and with it the trial."""
        # An engine that had ended before has an earlier time of its end.
        ended_at = self._clock() + timedelta(microseconds=1)
        if self._bench_end is None:
            self._bench_end = Terminated(bench_code, "", self._termination_message(), ended_at)
        self._engine.end(GRACE_SECONDS)
        self._remove_container()

    def _remove_container(self) -> None:
        """What a killed tuning has left goes as well: it has the same name. It is not an error if there is none."""
        if self._order.remove is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    self._order.remove,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    start_new_session=True,
                    timeout=GRACE_SECONDS,
                    check=False,
                )

    @property
    def _result(self) -> Path:
        return self._order.folder / "result"

    def _termination_message(self) -> str:
        with suppress(OSError):
            return self._result.read_text(encoding="ascii", errors="replace")
        return ""

    def _last_words(self) -> str:
        with suppress(OSError), (self._order.folder / "engine.log").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - _LAST_WORDS_BYTES))
            return log.read().decode(errors="replace")
        return ""

    def job(self) -> Job:
        """See `Trial.job`."""
        return Job(
            uid=self._uid,
            name=self._order.name,
            run_uid=self._order.run_uid,
            created_at=self._started_at,
            finished=self._ended_as,
            reason=self._reason,
            message=self._late,
            active_deadline_seconds=1 if self._is_ending else None,
        )

    def pod(self) -> Pod:
        """See `Trial.pod`."""
        return Pod(
            uid=f"{self._uid}-pod",
            name=self._order.name,
            job_uid=self._uid,
            created_at=self._started_at,
            phase={"": "Running", "Complete": "Succeeded"}.get(self._ended_as, "Failed"),
            reason=self._reason,
            message=self._late,
            node=self._order.node,
            started_at=self._started_at,
            engine=Container(
                image_id=self._order.engine_id, running=self._engine_end is None, terminated=self._engine_end
            ),
            bench=Container(running=self._bench_end is None, terminated=self._bench_end),
        )

    @property
    def _uid(self) -> str:
        return f"{self._order.name}-{self._started_at.timestamp():.0f}"

    @property
    def _ended_as(self) -> str:
        if self._bench_end is None:
            return ""
        return "Failed" if self._bench_end.exit_code or self._reason else "Complete"

    @property
    def _late(self) -> str:
        if not self._reason:
            return ""
        return f"it was still running {(self._deadline - self._started_at).total_seconds():.0f} s after its start"
