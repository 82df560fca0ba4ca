"""The error that a command line shows without a traceback."""


class UsageError(Exception):
    """Something the user can put right: the message says what was found, what was wanted and what to do."""
