"""The API server's clock.

Timestamps of objects are the API server's, and so has to be the time that they are compared with: the clock of this
machine may be wrong, or be set while the operator runs.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import structlog

from .clocks import seconds_since_boot

log = structlog.get_logger(__name__)

TOLERANCE: Final = timedelta(seconds=5)
"""What an answer takes, and the whole seconds in which it names the time."""


class ServerTime:
    """The time, by the answers of the API server and, between them, by a clock that cannot be set.

    Args:
        clock: seconds of a clock that cannot be set.
        local: this machine's time, which counts until the API server has named another one.
    """

    def __init__(
        self,
        clock: Callable[[], float] = seconds_since_boot,
        local: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._named, self._named_at = local(), clock()

    def now(self) -> datetime:
        """The time."""
        return self._named + timedelta(seconds=self._clock() - self._named_at)

    def hear(self, date: str | None) -> None:
        """The API server has just answered.

        Args:
            date: the `Date` of its answer, if it has one.
        """
        try:
            named = parsedate_to_datetime(date or "").astimezone(UTC)
        except ValueError:
            return
        ahead = self.now() - named
        if abs(ahead) > TOLERANCE:
            log.warning("the clock differs from the API server's, which counts", ahead_seconds=ahead.total_seconds())
            self._named, self._named_at = named, self._clock()
