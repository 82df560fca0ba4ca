"""Training whose Python goes on to the next step while the GPU is at work on this one."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...config.signatures import makes_one_of
from ..run_ahead import RunAhead

NAME = "RunAheadHook"


def add_run_ahead(cfg: Config) -> None:
    """Have a config's run let Python go ahead, unless the config says so itself."""
    hooks = cfg.get("custom_hooks") or []
    if not any(makes_one_of(hook, NAME) for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=NAME)]


@HOOKS.register_module()
class RunAheadHook(Hook):
    """Applies `RunAhead` while a run trains; all numbers, and the log, stay what they are.

    `custom_hooks = [dict(type="RunAheadHook")]` is all that a config of MMDetection's or
    MMSegmentation's own tools needs; `mmmamba train` does it by itself.
    """

    # Behind the hook that gives losses to the log, and before those that ask for them.
    priority = "HIGH"

    def before_train(self, runner: Runner) -> None:
        self.ahead = RunAhead(runner.model, runner.optim_wrapper, runner.message_hub)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.ahead.end_step()

    def after_train(self, runner: Runner) -> None:
        self.ahead.undo()
