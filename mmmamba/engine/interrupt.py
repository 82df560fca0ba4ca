"""A run that is told to stop saves where it is."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .agree import Agreement
from .atomic_save import AtomicCheckpointHook, between_steps, save_run, write_files_whole

EXIT_SAVED = 75
"""Exit code of a run that saved and stopped: `EX_TEMPFAIL` of sysexits.h, "try again"."""
FILE = "interrupted.pth"
# Windows has no SIGUSR1.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
# torchrun hands Ctrl-C on to processes that the terminal sent it to already.
SAME_CTRL_C = 1.0


class Interrupted(SystemExit):
    """Raised when the run is saved; uncaught, it ends the process with :data:`EXIT_SAVED`."""

    def __init__(self, path: str) -> None:
        super().__init__(EXIT_SAVED)
        self.path = path


@HOOKS.register_module()
class InterruptHook(Hook):
    """SIGINT, SIGTERM and SIGUSR1 save at the end of the step and raise :class:`Interrupted`, on all processes at once.

    A second SIGINT ends the process at once. While gradients are accumulated the save waits for the optimizer's step.
    """

    # Behind every hook that changes what is saved, and behind the log.
    priority = "LOWEST"

    def __init__(self) -> None:
        self.signal, self.since, self.before = 0, 0.0, {}

    def before_train(self, runner: Runner) -> None:
        write_files_whole()
        self.agreement = Agreement()
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning("training does not run in the main thread, so signals do not save it")
            return
        self.signal, self.before = 0, {one: signal.signal(one, self._note) for one in SIGNALS}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        number = self.agreement.most(self.signal)
        if not number or not between_steps(runner.optim_wrapper):
            return
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        if hooks:
            path = hooks[0].save_now(runner, FILE)
        else:
            meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
            path = save_run(runner, runner.work_dir, FILE, meta, by_epoch=False)
        runner.logger.info(
            f"{signal.Signals(number).name}: saved {path} after iteration {runner.iter + 1}; go on with --resume"
        )
        # Whoever ends first has torchrun end the others, which must not be before the file is there.
        self.agreement.wait()
        self._restore()
        raise Interrupted(path)

    def after_train(self, runner: Runner) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT and time.monotonic() - self.since > SAME_CTRL_C:
            self._restore()
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.since = number, time.monotonic()
            # Not through the log, which the signal may have interrupted.
            os.write(2, f"{signal.Signals(number).name}: saving after this step; Ctrl-C stops at once\n".encode())

    def _restore(self) -> None:
        for one, handler in self.before.items():
            signal.signal(one, handler)
        self.before = {}
