"""What all our programs do around their work.

Errors of the user are told in one line, and output may have no reader.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from ..checkpoints import CheckpointError
from ..engine.reliability import refuse_unpickling
from ..errors import UsageError
from ..ops.selective_scan import BackendError, check_environment

WRONG_INPUT = 2
UNREAD = 128 + signal.SIGPIPE
"""Exit code where the reader of the output is gone (`| head -1`): that of a program that SIGPIPE
ends, as shells count."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
OF_THE_MACHINE = FULL | {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EMFILE,
    errno.ENXIO,
}
"""Faults of files and disks, which whoever calls the program can put right."""


# No `Exception`: logging and rich swallow those that a write raises.
class Unread(SystemExit):
    """Raised by a write whose reader is gone; ends the program without a word."""

    def __init__(self) -> None:
        super().__init__(UNREAD)


class Output:
    """A standard stream that takes every character, and is given up once it cannot be written.

    Args:
        goes_on: the program's work is elsewhere (a training's log is in a file), so it goes on
            without the stream.

    Raises:
        Unread: nobody reads the stream any more, and the program does not go on without.
        UsageError: it cannot be written for another reason, such as a full disk.
    """

    def __init__(self, stream: Any, goes_on: bool) -> None:
        self._stream, self._goes_on = stream, goes_on
        # A terminal in ASCII would raise on "→" or "…". Streams that take all stay as they are.
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            # As if it were written: whoever counts characters must not try again.
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # What the buffer still holds would fail once more when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._goes_on:
            return
        if isinstance(error, BrokenPipeError):
            raise Unread from error
        raise UsageError(
            f"what is printed cannot be written to {self._stream.name}: {error.strerror}"
        ) from error


@contextmanager
def safe_output(goes_on: bool = False) -> Iterator[None]:
    """Put `Output` in the place of both standard streams."""
    with open(os.devnull, "w") as nowhere:
        # `sys.stdout` is None in a process without streams.
        out = Output(sys.stdout or nowhere, goes_on)
        err = Output(sys.stderr or nowhere, goes_on)
        with redirect_stdout(out), redirect_stderr(err):
            yield


def guarded(run: Callable[[], int], goes_on: bool = False) -> int:
    """Run a program and return its exit code.

    Errors that a user can put right are told in a line, with code 2.

    Args:
        goes_on: it does where its output cannot be written any more.
    """
    # Before a command reads any file.
    refuse_unpickling()
    with safe_output(goes_on):
        try:
            # Two levels: what `run` raises is told while the streams are there, and what flushing
            # raises, then or after an error, by the outer one.
            try:
                return _told(run)
            finally:
                # Short output waits in the buffer until here.
                sys.stdout.flush()
        except Unread:
            return UNREAD
        except UsageError as error:
            return _tell(str(error))


def _told(run: Callable[[], int]) -> int:
    try:
        check_environment()
        return run()
    except (UsageError, CheckpointError, BackendError) as error:
        return _tell(str(error))
    except OSError as error:
        # A worker's broken pipe or a lost connection is none of these and keeps its traceback.
        if error.errno not in OF_THE_MACHINE:
            raise
        return _tell(_of_the_machine(error))


def _tell(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return WRONG_INPUT


def _of_the_machine(error: OSError) -> str:
    """Which file, what is wrong, what to do."""
    names = (error.filename, error.filename2)
    files = [os.fsdecode(name) for name in names if isinstance(name, (str, bytes))]
    if files:
        place = " → ".join(files)
    else:
        # Errors of writes name no file: the line that wrote has to do.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"a file that {Path(frame.filename).name}:{frame.lineno} reads or writes"
    cure = "Make room, or write elsewhere" if error.errno in FULL else "Mend it, or name another"
    return f"{place}: {error.strerror}. {cure}"
