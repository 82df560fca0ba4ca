"""Networks of configs with random weights, for commands that look at what a model is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn


def build_untrained(cfg: Any, device: torch.device) -> nn.Module:
    """The network of a config as training from scratch begins, in evaluation mode.

    It is the same each time.
    """
    # The caller's config stays whole: keys are taken out below.
    settings = deepcopy(cfg.model)
    # Pretrained weights are named there; without it a backbone starts as its class does.
    settings.backbone.pop("init_cfg", None)
    # Weights are drawn on the CPU, whatever the device: its generator is put back afterwards.
    with (
        DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        network = revert_sync_batchnorm(MODELS.build(settings))
        with _quiet():
            network.init_weights()
    return network.to(device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """MMEngine logs how each parameter was initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
