"""Training and testing with the static part of a model replayed as CUDA graphs."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ...acceleration.errors import GraphError
from ...acceleration.graphs import check_graphs, graph_model, ungraph_model
from ...config.signatures import class_name
from ...errors import UsageError
from ..bare_model import bare_model

NAMES = ("GraphHook", "GraphBackboneHook")
"""What a config may call it; the second is older and says less."""


def add_graphs(cfg: Config, graphs: int | str) -> None:
    """Have a config's run replay its model as CUDA graphs (`--graphs`).

    A hook that says so already is replaced, as the option has the last word.
    """
    kept = [hook for hook in cfg.get("custom_hooks") or [] if not _is_ours(hook)]
    cfg.custom_hooks = [*kept, dict(type="GraphHook", graphs=graphs)]


def has_graphs(cfg: Config) -> bool:
    """Whether a config says itself how its run uses CUDA graphs."""
    return any(_is_ours(hook) for hook in cfg.get("custom_hooks") or [])


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, dict) and class_name(hook["type"]) in NAMES


@HOOKS.register_module(name=list(NAMES))
class GraphHook(Hook):
    """Applies `graph_model` to a run's model while it trains, validates and is tested.

    `custom_hooks = [dict(type="GraphHook")]` is all that a config of MMDetection's or
    MMSegmentation's own tools needs; `mmmamba train` and `mmmamba test` do it by themselves.

    Args:
        graphs: "off", "auto", or the number of sizes (of whole batches) to hold.

    Raises:
        UsageError: `graphs` is none of these.
    """

    # Behind whatever exchanges or converts the model, also where hooks are added late.
    priority = "LOWEST"

    def __init__(self, graphs: int | str = "auto"):
        try:
            check_graphs(graphs)
        except ValueError as error:
            raise UsageError(f"GraphHook: {error}") from error
        self.graphs = graphs

    def before_train(self, runner: Runner) -> None:
        """Begin to replay.

        Raises UsageError where a number of sizes is asked for on a CPU or under FSDP.
        """
        self._begin(runner)

    def after_train(self, runner: Runner) -> None:
        ungraph_model(bare_model(runner.model))

    def before_test(self, runner: Runner) -> None:
        """Begin to replay, as `before_train` does."""
        self._begin(runner)

    def after_test(self, runner: Runner, metrics: dict | None = None) -> None:
        ungraph_model(bare_model(runner.model))

    def _begin(self, runner: Runner) -> None:
        model = bare_model(runner.model)
        if why := _never(runner.model, model):
            if self.graphs not in ("off", "auto"):
                raise UsageError(f"--graphs {self.graphs}: {why}. Say --graphs auto or off")
            return
        try:
            graph_model(model, self.graphs)
        except GraphError as error:
            raise UsageError(f"GraphHook: {error}") from error


def _never(wrapped: nn.Module, model: nn.Module) -> str:
    """Why a run can have no graphs at all."""
    devices = sorted({p.device.type for p in model.parameters()})
    if devices != ["cuda"]:
        return f"CUDA graphs want a model on a GPU, and this run has it on {' and '.join(devices)}"
    if isinstance(wrapped, FullyShardedDataParallel):
        return "FSDP brings parameters together anew in each step, and a graph reads them in place"
    if torch.version.hip is not None:
        return "CUDA graphs are NVIDIA's, and this PyTorch is built for ROCm"
    return ""
