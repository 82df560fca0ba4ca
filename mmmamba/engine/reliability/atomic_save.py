"""Checkpoints that are whole or not there, whenever the process or the machine dies.

A file is written beside its place, synced and renamed. What it replaces is removed only after that.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UsageError
from .finite import check_run_finite
from .last_checkpoint import LAST, name_for
from .loose_state import remember_state

PARTIAL = ".partial"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file such that its name stands for all of it or for what was there before.

    Raises:
        UsageError: there is no room for it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise UsageError(
            f"no room for {path}: it needs {len(data):,} bytes, {free:,} are free there "
            f"({error.strerror}). Files that were saved before are as they were. Make room, or "
            "name another --work-dir, and go on with --resume"
        ) from error
    # The name itself is in the folder, which has a cache of its own.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class WholeFiles(LocalBackend):
    """MMEngine's local files, written by `write_whole`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        write_whole(filepath, obj.encode(encoding))


def write_files_whole() -> None:
    """Have MMEngine write every local file through `WholeFiles`."""
    register_backend("local", WholeFiles, force=True, prefixes="")


def between_steps(optim_wrapper: Any) -> bool:
    """No gradients are waiting for more of their kind, which a checkpoint would not hold."""
    wrappers = (
        optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    )
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
    runner.message_hub.update_info("last_ckpt", path)
    remember_state(runner)
    runner.save_checkpoint(folder, name, meta=meta, **options)
    if is_main_process():
        write_whole(os.path.join(runner.work_dir, LAST), name_for(path, runner.work_dir).encode())
    return path


class _RemoveLater:
    """A file backend that keeps what it is told to remove until `finish`."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.removed = backend, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.removed.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.removed.append((self.backend.rmtree, path))

    def finish(self) -> None:
        for remove, path in self.removed:
            remove(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """`CheckpointHook` whose old files go only when the new one and `last_checkpoint` are on
    disk."""

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
        """The best checkpoint is this folder's own: a copied run would remove the original's when
        it finds a better."""
        several = getattr(self, "best_ckpt_path_dict", {})
        for owner, keys in ((vars(self), ["best_ckpt_path"]), (several, [*several])):
            for key in keys:
                if owner.get(key):
                    owner[key] = self.file_backend.join_path(
                        self.out_dir, os.path.basename(owner[key])
                    )

    def save_now(self, runner: Runner, name: str, iterations: int) -> str:
        """Save under a name of its own, after so many iterations. Returns the path."""
        meta = dict(epoch=runner.epoch, iter=iterations)
        return save_run(
            runner, self.out_dir, name, meta, by_epoch=False, backend_args=self.backend_args
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
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
        for path in outdated if is_main_process() else []:
            # Checkpoints of sharded training are folders.
            remove = (
                self.file_backend.rmtree
                if self.file_backend.isdir(path)
                else self.file_backend.remove
            )
            if self.file_backend.exists(path):
                remove(path)

    def _forget(self, runner: Runner, step: int) -> list[str]:
        """Take a step into the list of kept ones. Returns the paths that fall out of it."""
        kept = [*self.keep_ckpt_ids]
        # A better score has the checkpoint of the same step saved again.
        if kept[-1:] != [step]:
            kept.append(step)
        outdated, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(kept)
        runner.message_hub.update_info("keep_ckpt_ids", kept)
        return [
            self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            for old in outdated
        ]

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.save_best:
            check_run_finite(runner, runner.iter)
        remember_state(runner)
        backend, later = self.file_backend, _RemoveLater(self.file_backend)
        self.file_backend = later
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        later.finish()
