"""A training that is told to stop before it began: its exit code says that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_SAVED = 75
"""Exit code of a run that saved and stopped, or had nothing to save.

It is `EX_TEMPFAIL` of sysexits.h, "try again".
"""
# Ctrl-C ends a program that has nothing to lose as it always does.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
REPLACED: dict[int, Any] = {}


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """Have SIGTERM and SIGUSR1 end the process with `EXIT_SAVED`.

    It holds until the training loop hears signals itself.
    """
    # Python lets no other thread set handlers. Within another of these contexts its handlers serve.
    if threading.current_thread() is not threading.main_thread() or REPLACED:
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A process that this one started.
            os._exit(128 + number)
        os.write(
            2,
            f"{signal.Signals(number).name} before the first step: there is nothing to save. Go "
            "on: the same command with --resume\n".encode(),
        )
        # Raised as an error it could be caught by whatever is being built.
        os._exit(EXIT_SAVED)

    for one in SIGNALS:
        REPLACED[one] = signal.signal(one, stop)
    try:
        yield
    finally:
        # Those that a training took over are not among them any more: they are its to put back.
        for one, handler in REPLACED.items():
            signal.signal(one, handler)
        REPLACED.clear()


def handler_before(number: int, handler: Any) -> Any:
    """What is to hear a signal after training, where `handler` did when it began.

    Where that is a handler of this module, it is the one that it replaced.
    """
    return REPLACED.pop(number, handler)
