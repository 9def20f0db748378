"""Why a tuning on this machine cannot start, or ended before its verdict."""


class RefusedError(Exception):
    """What was asked for cannot be used: the message says what, why and what to do. Nothing has been measured."""


class BrokenError(Exception):
    """This machine cannot continue, for example because its disk is full; what was measured is kept."""


class StoppedError(Exception):
    """The user stopped the tuning; what was measured is kept."""
