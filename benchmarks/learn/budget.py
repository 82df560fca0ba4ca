"""A schedule in seconds, for models of different speed that get the same time."""

import math
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

FIRST = 10
"""The clock starts after so many iterations: kernels are compiled and workers started in them."""


class TimeBudget(Hook):
    """Learning rates rise linearly, then fall as a cosine to a hundredth.

    When the time is over training ends.
    """

    def __init__(self, seconds: float, warmup: float = 0.04, last: float = 0.01):
        self.seconds, self.warmup, self.last = seconds, warmup, last

    def before_train(self, runner: Runner) -> None:
        self.rates = [group["lr"] for group in runner.optim_wrapper.optimizer.param_groups]
        self.start = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == FIRST:
            self.start = time.time()
        done = 0.0 if self.start is None else min((time.time() - self.start) / self.seconds, 1.0)
        # The first step is not of size zero.
        factor = max(done, 1e-3) / self.warmup
        if done >= self.warmup:
            falling = (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2
            factor = self.last + (1 - self.last) * falling
        for group, rate in zip(runner.optim_wrapper.optimizer.param_groups, self.rates):
            group["lr"] = factor * rate
        runner.train_loop.stop_training = done >= 1
