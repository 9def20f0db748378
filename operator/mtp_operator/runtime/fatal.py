"""What ends the process."""


class FatalError(Exception):
    """The process cannot go on; the message says why, for a person."""
