"""Runs over checked data sets, with a count in the log of what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.guarded import Ledger, build_checked, check_pipelines


def check_data_of(runner: Runner, skip: bool = False) -> None:
    """Have a runner build checked data sets. Its config stays as it is.

    Args:
        skip: leave bad images and annotations out of training, and count them.
    """
    ledger = Ledger(Path(runner.log_dir) / f"bad_data_rank{get_rank()}.jsonl")
    build = runner.build_dataloader

    def build_dataloader(dataloader: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(dataloader, dict) and isinstance(dataloader.get("dataset"), dict):
            training = dataloader == runner.cfg.get("train_dataloader")
            dataloader = {
                **dataloader,
                "dataset": build_checked(dataloader["dataset"], ledger, skip and training),
            }
        return build(dataloader, *arguments, **options)

    runner.build_dataloader = build_dataloader
    runner.register_hook(BadDataHook(ledger, skip), "VERY_LOW")


class BadDataHook(Hook):
    """Reports what was left out after each epoch and before each validation."""

    def __init__(self, ledger: Ledger, skip: bool) -> None:
        self.ledger, self.skip = ledger, skip

    def before_train_epoch(self, runner: Runner) -> None:
        # Hooks of schedules exchange the pipeline (PipelineSwitchHook), before this one.
        check_pipelines(runner.train_dataloader.dataset, self.ledger, self.skip)

    def before_val_epoch(self, runner: Runner) -> None:
        self.ledger.report()

    def after_train_epoch(self, runner: Runner) -> None:
        self.ledger.report()
