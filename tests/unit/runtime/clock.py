"""A clock that only moves when a test says so."""


class Clock:
    """Seconds that a test sets; calling it reads it, sleeping moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
