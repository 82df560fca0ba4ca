"""Checkpoints of a run: whole or not there, and the old ones removed only after that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...checkpoints.last_checkpoint import LAST, name_for
from .finite import check_run_finite
from .loose_state import remember_state
from .whole_files import PARTIAL, write_files_whole, write_whole


def between_steps(optim_wrapper: Any) -> bool:
    """Whether no gradients wait for more of their kind, which a checkpoint would not hold."""
    several = isinstance(optim_wrapper, OptimWrapperDict)
    wrappers = optim_wrapper.values() if several else [optim_wrapper]
    return all(wrapper.should_update() for wrapper in wrappers if isinstance(wrapper, OptimWrapper))


def save_run(runner: Runner, folder: str, name: str, meta: dict[str, Any], **options: Any) -> str:
    """Save everything that resuming needs and point `last_checkpoint` to it. Returns the path.

    Args:
        meta: `epoch` and `iter` that the resumed run begins with.
        options: of `Runner.save_checkpoint`.

    Raises:
        NonFiniteError: something of it is NaN or infinite. Then nothing is written.
    """
    check_run_finite(runner, meta["iter"])
    path = os.path.join(folder, name)
    if not between_steps(runner.optim_wrapper):
        runner.logger.warning(
            f"{path} is saved while gradients are accumulated and lacks them: resuming is not exact"
        )
    # The checkpoint holds the message hub: what is put there later is not in it.
    runner.message_hub.update_info("last_ckpt", path)
    remember_state(runner)
    runner.save_checkpoint(folder, name, meta=meta, **options)
    # Only now, when the file that the note names is there.
    if is_main_process():
        write_whole(os.path.join(runner.work_dir, LAST), name_for(path, runner.work_dir).encode())
    return path


class _RemoveLater:
    """A file backend that keeps what it is told to remove until `finish`."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.removals: list[tuple[Callable[[str], None], str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.removals.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.removals.append((self.backend.rmtree, path))

    def finish(self) -> None:
        for remove, path in self.removals:
            remove(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """`CheckpointHook` whose old files go only when the new one and `last_checkpoint` are on disk.

    MMEngine's removes the oldest checkpoint first: a run that is killed then has one less than it
    was told to keep, or none.
    """

    def before_train(self, runner: Runner) -> None:
        write_files_whole()
        super().before_train(runner)
        if self.save_best is not None:
            self._name_best_here()
        if is_main_process():
            for partial in Path(self.out_dir).glob(f".*{PARTIAL}"):
                runner.logger.info(f"{partial} was being written when a run ended; removed")
                partial.unlink()

    def _name_best_here(self) -> None:
        """Take the best checkpoint for this folder's own.

        MMEngine keeps its whole path, by which a copied run would remove the original's when it
        finds a better one.
        """
        # Where several scores are watched, MMEngine has a best file for each in place of one.
        if getattr(self, "best_ckpt_path", None):
            self.best_ckpt_path = self._in_out_dir(self.best_ckpt_path)
        several = getattr(self, "best_ckpt_path_dict", {})
        for score, path in several.items():
            if path:
                several[score] = self._in_out_dir(path)

    def _in_out_dir(self, path: str) -> str:
        return self.file_backend.join_path(self.out_dir, os.path.basename(path))

    def save_now(self, runner: Runner, name: str, iterations: int) -> str:
        """Save under a name of its own, after so many iterations. Returns the path."""
        meta = dict(epoch=runner.epoch, iter=iterations)
        return save_run(
            runner, self.out_dir, name, meta, by_epoch=False, backend_args=self.backend_args
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """MMEngine's method of this name, in another order: save, then remove."""
        # The checkpoint holds the list of kept steps, which is therefore settled before saving; the
        # files that fall out of the list go only after that.
        outdated = self._forget(runner, step) if self.max_keep_ckpts > 0 else []
        self.last_ckpt = save_run(
            runner,
            self.out_dir,
            self.filename_tmpl.format(step),
            meta,
            file_client_args=self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            for path in outdated:
                self._remove(path)

    def _forget(self, runner: Runner, step: int) -> list[str]:
        """Take a step into the list of kept ones. Returns the paths that fall out of it."""
        kept = [*self.keep_ckpt_ids]
        # A better score has the checkpoint of the same step saved again.
        if kept[-1:] != [step]:
            kept.append(step)
        outdated, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
        # In place: MMEngine made it, a deque of bounded length.
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(kept)
        runner.message_hub.update_info("keep_ckpt_ids", kept)
        names = [self.filename_tmpl.format(old) for old in outdated]
        return [self.file_backend.join_path(self.out_dir, name) for name in names]

    def _remove(self, path: str) -> None:
        if not self.file_backend.exists(path):
            return
        # Checkpoints of sharded training are folders.
        if self.file_backend.isdir(path):
            self.file_backend.rmtree(path)
        else:
            self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.save_best:
            check_run_finite(runner, runner.iter)
        remember_state(runner)
        # MMEngine's method removes the old best before it saves the new one, through this backend.
        # In there it has the step's own checkpoint saved again, which removes through it as well.
        backend, later = self.file_backend, _RemoveLater(self.file_backend)
        self.file_backend = later
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        # Not where saving failed: then the old files are all there is.
        later.finish()
