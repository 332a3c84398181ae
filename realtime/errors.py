"""The few exceptions of this package: each message is one sentence that says what is wrong and what to do."""


class RealtimeError(Exception):
    """Base of everything this package raises on purpose. ``exit_code`` is the command line's."""

    exit_code = 1


class BadInput(RealtimeError):
    """What the user asked for can't be done as it was asked."""

    exit_code = 2


class Failure(RealtimeError):
    """It was asked for rightly and went wrong."""
