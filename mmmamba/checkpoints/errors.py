"""The one error of this package."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be had, read or loaded; the message says what was found, wanted, and what to do."""
