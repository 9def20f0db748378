"""Why a fetch ends without weights."""


class FetchError(Exception):
    """A fetch cannot go on; the message is for a person."""

    def __init__(self, reason: str, message: str, *, is_permanent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        """One CamelCase word, which becomes the reason of a condition."""
        self.is_permanent = is_permanent
        """Whether trying again without a change by a person is of no use."""


class StoppedError(Exception):
    """Another file has failed, and this one need not come any more."""
