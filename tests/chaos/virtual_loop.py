"""An event loop whose time passes only when nothing is left to do: hours take milliseconds, and always the same way."""

import asyncio
import selectors
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeps end at once, in their order. There must be no input or output."""

    def __init__(self) -> None:
        self._selector_of_time = _Skip()
        super().__init__(self._selector_of_time)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._selector_of_time.seconds


class _Skip(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None:
            raise RuntimeError("every task waits for another one")
        self.seconds += timeout
        return []
