"""MMEngine's training loops, able to go on anywhere.

Every iteration has random numbers of its own, from (seed, rank, iteration), and every sample from
its place in it, so a run that is resumed draws what one that never stopped draws. Where an epoch
began and what was validated stands in the message hub, which MMEngine saves with each checkpoint.
"""

from __future__ import annotations

from typing import Any

from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from ..interrupt import VALIDATED_KEY
from ..loose_state import restore_state
from ..seeding import seed_all
from ..workers import end_persistent_workers
from .batches import CountedBatches, Start, cached_transforms, count_batches

EPOCH_KEY = "epoch_start"
"""Under which the message hub has the epoch, the iteration that it began with, and its batches."""


class _Resumable:
    """What both loops share; `endless` says whether batches go on behind the end of the data."""

    endless: bool

    def __init__(self, runner: Any, dataloader: Any, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        self._source, self._seed = dataloader, runner.seed
        self.dataloader = count_batches(self.dataloader, runner.seed, self.endless)

    def run(self) -> nn.Module:
        """Train."""
        try:
            return self._run()
        finally:
            for loop in (self, self.runner.val_loop):
                end_persistent_workers(getattr(loop, "dataloader", None))

    def _begin(self) -> None:
        """Take over what a checkpoint says, if one was read.

        Samplers follow its seed, what it holds beside weights is handed out, and a validation that
        was cut off is done.
        """
        # A config without a seed draws one at each start; the checkpoint's replaced it after the
        # sampler had been built with that.
        if self._seed != self.runner.seed and isinstance(self._source, dict):
            different = self.runner._randomness_cfg.get("diff_rank_seed", False)
            loader = self.runner.build_dataloader(self._source, self.runner.seed, different)
            self.dataloader = count_batches(loader, self.runner.seed, self.endless)
        if self.iter:
            restore_state(self.runner)
        # Only our loops write this key: a checkpoint without it does not tell what was validated.
        if self.iter and self.runner.message_hub.get_info(EPOCH_KEY) is not None:
            self._validate(self._due())

    def _validate(self, due: bool) -> None:
        hub = self.runner.message_hub
        if due and hub.get_info(VALIDATED_KEY) != self.iter:
            # Noted before it is done: a checkpoint that is saved because of a better score is
            # written within, and is to say so. A validation that is cut off takes the note back.
            hub.update_info(VALIDATED_KEY, self.iter)
            self.runner.val_loop.run()

    def _skip(self, batches: int) -> int:
        """Have the loader begin behind `batches`. Returns how many it could leave out."""
        if not isinstance(self.dataloader.batch_sampler, CountedBatches):
            return 0
        caches = cached_transforms(self.dataloader.dataset)
        # All lengths together, not the longest: what a second cache (`CachedMixUp`) holds was made
        # with the first one's content of back then.
        cached = sum(transform.max_cached_images for transform in caches)
        self.dataloader.batch_sampler.begin(Start(self.iter, batches, cached))
        if batches:
            print_log(
                f"{batches} batches of these data were trained on; going on behind them", "current"
            )
        return batches

    def _seed_step(self) -> None:
        seed_all(self.runner.seed, self.runner.rank, self.iter)


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """`EpochBasedTrainLoop` that resumes exactly, also within an epoch."""

    endless = False

    def _run(self) -> nn.Module:
        self.runner.call_hook("before_train")
        self._begin()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate(self._due())
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        """Train the epoch, or what is left of it."""
        # Before the hooks, which may save.
        done = self._done()
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        # Hooks that run first may have replaced what the loader reads, so only now.
        done = self._skip(done)
        for index, batch in enumerate(self.dataloader, start=done):
            self._seed_step()
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _done(self) -> int:
        """Batches of this epoch that were trained on."""
        hub, length = self.runner.message_hub, len(self.dataloader)
        epoch, start, old_length = hub.get_info(EPOCH_KEY) or (None, None, None)
        done = 0
        if epoch == self._epoch:
            # All batches, where it was saved behind the last one: then only the hooks are left.
            done = self._iter - start
            if old_length != length:
                print_log(
                    f"the epoch had {old_length} batches and has {length} now: it goes on at the "
                    "same share of it, not exactly",
                    "current",
                    30,
                )
                done = done * length // old_length
        elif epoch is None and self._iter:
            # There were iterations and no epoch of ours: a checkpoint of MMEngine's own loop.
            done = self._iter - self._epoch * length
            if not 0 <= done <= length:
                print_log(
                    f"iteration {self._iter} is not in epoch {self._epoch} of {length} batches; "
                    "the epoch begins anew",
                    "current",
                    30,
                )
                done = 0
        # The start follows from `done`: where that was changed, the next stop counts from it.
        hub.update_info(EPOCH_KEY, (self._epoch, self._iter - done, length))
        return done

    def _due(self) -> bool:
        self._decide_current_val_interval()
        return (
            self.runner.val_loop is not None
            and self._done_epochs()
            and self._epoch >= self.val_begin
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        )

    def _done_epochs(self) -> bool:
        """At the end of an epoch, not within the next."""
        epoch, _, _ = self.runner.message_hub.get_info(EPOCH_KEY)
        return epoch < self._epoch


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """`IterBasedTrainLoop` that resumes exactly and never reads a batch that it skips."""

    endless = True

    def _run(self) -> nn.Module:
        if not isinstance(self.dataloader.batch_sampler, CountedBatches):
            # Without batches of indices MMEngine's way is the only one: read all that is skipped.
            return IterBasedTrainLoop.run(self)
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self._begin()
        # Only now: `_begin` tells by this key whether the checkpoint is one of our loops.
        self.runner.message_hub.update_info(EPOCH_KEY, (0, 0, len(self.dataloader)))
        self._skip(0 if self.fast_forward_on_resume else self._iter)
        # A run that has nothing left starts no workers.
        batches = iter(self.dataloader) if self._iter < self._max_iters else iter(())
        while self._iter < self._max_iters and not self.stop_training:
            # In each step, as a validation may have come before it.
            self.runner.model.train()
            batch = next(batches)
            self._seed_step()
            self.run_iter(batch)
            self._validate(self._due())
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _due(self) -> bool:
        self._decide_current_val_interval()
        return (
            self.runner.val_loop is not None
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        )
