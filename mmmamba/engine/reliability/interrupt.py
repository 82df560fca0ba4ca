"""A run that is told to stop saves where it is."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .agree import Agreement
from .atomic_save import AtomicCheckpointHook, between_steps, save_run
from .before_training import EXIT_SAVED, handler_before
from .whole_files import write_files_whole
from .workers import SIGNALS, DeafWorker

FILE = "interrupted.pth"
VALIDATED_KEY = "last_validated"
"""Under which the message hub has the iteration behind which the run was validated last."""
# torchrun hands Ctrl-C on to processes that the terminal sent it to already.
SAME_CTRL_C = 1.0


class Interrupted(SystemExit):
    """Raised when the run is saved; uncaught, it ends the process with `EXIT_SAVED`."""

    def __init__(self, path: str) -> None:
        super().__init__(EXIT_SAVED)
        self.path = path


@HOOKS.register_module()
class InterruptHook(Hook):
    """Saves the run at the end of the step in which SIGINT, SIGTERM or SIGUSR1 came.

    All processes save at once and raise `Interrupted`. A second SIGINT ends the process without.
    While gradients are accumulated the save waits for the optimizer's step. A validation is left
    after the image or batch at hand, and marked as not done.
    """

    # Behind every hook that changes what is saved, and behind the log.
    priority = "LOWEST"

    def __init__(self) -> None:
        self.signal, self.since, self.before = 0, 0.0, {}
        self.training, self.common = False, 0

    def before_train(self, runner: Runner) -> None:
        write_files_whole()
        self.agreement = Agreement()
        self.training = True
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning(
                "training does not run in the main thread, so signals do not save it"
            )
            return
        self.signal = 0
        self.before = {one: handler_before(one, signal.signal(one, self._note)) for one in SIGNALS}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        # The loop counts the step only behind its hooks.
        self._stop_if_told(runner, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        self.common = 0
        if self.training:
            # A loop of another kind may have several, or none.
            loader = getattr(runner.val_loop, "dataloader", None)
            # Processes whose shares of the data differ can ask one another only while all of them
            # have batches. The smallest number is the largest of the negative ones.
            self.common = -self.agreement.most(-_length(loader))
            if isinstance(loader, DataLoader) and not isinstance(loader.worker_init_fn, DeafWorker):
                loader.worker_init_fn = DeafWorker(loader.worker_init_fn)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx < self.common:
            self._stop_if_told(runner, runner.iter, within_validation=True)

    def after_val(self, runner: Runner) -> None:
        # What was heard during the metrics.
        if self.training:
            self._stop_if_told(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        self._restore()

    def _stop_if_told(
        self, runner: Runner, iterations: int, within_validation: bool = False
    ) -> None:
        """Save as a run that did so many iterations, and end it."""
        # Schedulers signal processes one after the other; all are to stop at the same step.
        number = self.agreement.most(self.signal)
        if not number or not between_steps(runner.optim_wrapper):
            return
        if within_validation:
            # It is done again when the run goes on.
            runner.message_hub.update_info(VALIDATED_KEY, None)
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    # The model holds the averaged weights now, where saving expects its own.
                    hook.after_val_epoch(runner)
        # Where the run's other checkpoints are, which may be another folder than the work dir.
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        if hooks:
            path = hooks[0].save_now(runner, FILE, iterations)
        else:
            meta = dict(epoch=runner.epoch, iter=iterations)
            path = save_run(runner, runner.work_dir, FILE, meta, by_epoch=False)
        runner.logger.info(
            f"{signal.Signals(number).name}: saved {path} after iteration {iterations}; go on with "
            "--resume"
        )
        # Whoever ends first has torchrun end the others, which must not be before the file is
        # there.
        self.agreement.wait()
        self._restore()
        raise Interrupted(path)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Nothing is saved in here: the signal may have come within a step, with weights half done.
        if number == signal.SIGINT and self.signal and time.monotonic() - self.since > SAME_CTRL_C:
            self._restore()
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.since = number, time.monotonic()
            # Not through the log, which the signal may have interrupted.
            name = signal.Signals(number).name
            line = f"{name}: saving after this step; Ctrl-C stops at once\n"
            os.write(2, line.encode())

    def _restore(self) -> None:
        for one, handler in self.before.items():
            signal.signal(one, handler)
        self.before, self.training = {}, False


def _length(loader: Any) -> int:
    """Batches of this process; 0 where they cannot be told beforehand."""
    try:
        return len(loader)
    except TypeError:
        return 0
