"""Training stops, or leaves a step out, where the loss or a gradient is not finite."""

from __future__ import annotations

import math
from functools import wraps
from typing import Any, NamedTuple

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ...errors import NonFiniteError
from ...ops.waiting import Readback
from ..optimizers import with_gradients
from ..sharding import share
from .agree import Agreement
from .finite import total_norm
from .nan_report import Step, save_report
from .seeding import rng_state

SKIPPED_KEY = "skipped_steps"
# A scale this small means that gradients overflow at any scale: each halving is a step that was
# left out.
LEAST_SCALE = 2.0**-14
SCALE_INTERVAL = 100


@HOOKS.register_module()
class NanGuardHook(Hook):
    """Checks loss and gradients after each backward pass.

    All processes come to one answer.

    Under a grad scaler only the loss is checked: the scaler leaves steps out by itself and lowers
    its scale. Where that scale falls below 2^-14, every hundredth iteration, it counts as not
    finite. Where the scaler leaves steps out on the GPU (fused optimizers), a loss that is not
    finite does so too and is read one step later, so that no step waits for the GPU; elsewhere each
    waits for it once.

    Args:
        skip: leave such steps out instead of stopping. Gradients that were accumulated go with
            them; buffers, such as running means, are put back.
        max_skips: that many in a row are left out, the next one stops.
    """

    # Before hooks that draw random numbers or change the batch.
    priority = "HIGHEST"

    def __init__(self, skip: bool = False, max_skips: int = 10) -> None:
        self.skip, self.max_skips = skip, max_skips
        self.in_a_row = 0

    def before_train(self, runner: Runner) -> None:
        self.runner, self.agreement = runner, Agreement()
        self.unread: _Unread | None = None
        wrapper = runner.optim_wrapper
        self.unwatched = []
        for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            self._watch(one)
        self._read_before_saving(runner)
        # The forward pass of a step that is left out has changed running means already.
        buffers = runner.model.buffers() if self.skip else ()
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.kept = [torch.empty_like(buffer) for buffer in self.buffers]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # What the report needs to do the step again.
        self.bad, self.step = False, Step(runner.iter + 1, data_batch, rng_state())
        if self.buffers:
            torch._foreach_copy_(self.kept, self.buffers)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        del self.step
        if not self.bad:
            self.in_a_row = 0

    def after_train_epoch(self, runner: Runner) -> None:
        self._read()

    def before_val(self, runner: Runner) -> None:
        self._read()

    def after_train(self, runner: Runner) -> None:
        self._read()
        del runner.save_checkpoint
        for wrapper, backward, step in self.unwatched:
            wrapper.backward, wrapper.step = backward, step

    def _read_before_saving(self, runner: Runner) -> None:
        """Hooks are asked while saving in one process alone, and reading is for all of them.

        One that waits for the answer of others, which wait for it in a layer, waits for ever.
        """
        save = runner.save_checkpoint

        @wraps(save)
        def read_and_save(*arguments: Any, **options: Any) -> None:
            self._read()
            save(*arguments, **options)

        runner.save_checkpoint = read_and_save

    def _watch(self, wrapper: OptimWrapper) -> None:
        """Between the backward pass and the step there is no place for a hook in MMEngine."""
        backward, step = wrapper.backward, wrapper.step
        self.unwatched.append((wrapper, backward, step))

        # Schedulers left marks on these functions, which wraps() copies.
        @wraps(backward)
        def watched_backward(loss: Tensor, **options: Any) -> None:
            backward(loss, **options)
            self._check(wrapper, loss.detach())

        @wraps(step)
        def watched_step(**options: Any) -> None:
            if not self.bad:
                step(**options)

        wrapper.backward, wrapper.step = watched_backward, watched_step

    def _check(self, wrapper: OptimWrapper, loss: Tensor) -> None:
        # With a scaler, gradients that are not finite are its everyday work.
        scaler = getattr(wrapper, "loss_scaler", None)
        # Asking for the scale is a wait for the GPU, too.
        ask_scale = scaler is not None and self.runner.iter % SCALE_INTERVAL == 0
        self._read()
        if not ask_scale and not self.skip and _leaves_out(wrapper, loss):
            _spoil(wrapper, loss)
            self.unread = _Unread(self.step, wrapper, Readback(loss))
            return
        gradients = [share(p.grad) for p in with_gradients(wrapper)] if scaler is None else []
        finite = _finite(loss, gradients, 2.0)
        if not finite and gradients:
            # A sum of squares overflows long before its terms; the largest one takes many times as
            # long on a CPU.
            finite = _finite(loss, gradients, torch.inf)
        if finite and ask_scale:
            finite = scaler.get_scale() >= LEAST_SCALE
        # A process that alone left its step out would have other weights from here on.
        if self.agreement.most(not finite):
            self._answer(wrapper, self.step, loss.item())

    def _read(self) -> None:
        """Look at the loss of the step before, which was left unread."""
        if self.unread is None:
            return
        unread, self.unread = self.unread, None
        loss = unread.loss.tolist()
        if self.agreement.most(not math.isfinite(loss)):
            self._answer(unread.wrapper, unread.step, loss)

    def _answer(self, wrapper: OptimWrapper, step: Step, loss: float) -> None:
        runner = self.runner
        self.bad = True
        gradients = ", but gradients are not finite" if math.isfinite(loss) else ", not finite"
        what = f"iteration {step.iteration}: the loss is {loss:g}{gradients}"
        if self.skip and self.in_a_row < self.max_skips:
            self.in_a_row += 1
            total = runner.message_hub.get_info(SKIPPED_KEY, 0) + 1
            runner.message_hub.update_info(SKIPPED_KEY, total)
            # While gradients are accumulated no step comes that would clear them, and the NaN would
            # be in all that is added.
            wrapper.zero_grad()
            if self.buffers:
                torch._foreach_copy_(self.buffers, self.kept)
            runner.logger.warning(
                f"{what}; step left out ({self.in_a_row} in a row, {total} in all)"
            )
            return
        raise NonFiniteError(f"{what}.\n{save_report(runner, wrapper, step)}")


class _Unread(NamedTuple):
    """A step whose loss is still to be looked at."""

    step: Step
    wrapper: OptimWrapper
    loss: Readback


def _leaves_out(wrapper: OptimWrapper, loss: Tensor) -> bool:
    """Whether steps with gradients that are not finite are left out without Python's doing."""
    scaler = getattr(wrapper, "loss_scaler", None)
    fused = getattr(wrapper.optimizer, "_step_supports_amp_scaling", False)
    return loss.is_cuda and scaler is not None and scaler.is_enabled() and fused


def _spoil(wrapper: OptimWrapper, loss: Tensor) -> None:
    """Make a gradient not finite where the loss is not, for the scaler to see."""
    for parameter in with_gradients(wrapper)[:1]:
        # 1 for what is finite, else NaN.
        share(parameter.grad).mul_(loss.float() * 0 + 1)


def _finite(loss: Tensor, gradients: list[Tensor], power: float) -> bool:
    """A wait for the GPU."""
    # Joined on the device: `bool` of each would be a wait of its own.
    values = [loss.float().reshape(())]
    if gradients:
        values.append(total_norm(gradients, power).float().to(loss.device))
    return bool(torch.stack(values).isfinite().all())
