"""Workers of data loaders, which live through the signals that save a run and end when it does."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Callable

from torch.utils.data import DataLoader

# Windows has no SIGUSR1.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class DeafWorker:
    """A DataLoader's `worker_init_fn` whose worker goes on when all processes are told to stop.

    The main process still needs it, and saves.

    Args:
        start: the loader's own.
    """

    def __init__(self, start: Callable[[int], None] | None) -> None:
        self.start = start
        # Anew each time: what is registered last runs first, and so before multiprocessing's.
        atexit.unregister(_end_workers)
        atexit.register(_end_workers)

    def __call__(self, worker: int) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        if self.start is not None:
            self.start(worker)


def end_persistent_workers(loader: DataLoader | None) -> None:
    """End what `persistent_workers` kept, while the queues that tell them so are whole.

    Left to the garbage collector, which takes things in any order, they may not hear it and are
    waited for.
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


def _end_workers() -> None:
    """End workers, before multiprocessing does.

    It would ask them to end with SIGTERM, which ours do not hear, and wait for them.
    """
    # PyTorch's handler takes the end of a worker for a failure.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
