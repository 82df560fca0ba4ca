"""The errors that a command line shows without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UsageError(Exception):
    """Something the user can put right.

    The message says what was found, what was wanted and what to do.
    """


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Give an error of the disk the file's name, which that of a write lacks."""
    try:
        yield
    except OSError as error:
        # A name that is there says more; without a number it is no error of the disk.
        if error.errno is None or error.filename is not None:
            raise
        # Python chooses the class (FileNotFoundError, …) by the number.
        raise OSError(error.errno, error.strerror, str(path)) from error


class NonFiniteError(RuntimeError):
    """A loss, a gradient or the state of a run is not finite.

    The message says which and what to do.
    """
