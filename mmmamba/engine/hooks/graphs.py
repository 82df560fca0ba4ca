"""Training and testing with the static part of a model replayed as CUDA graphs."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ...acceleration.errors import GraphError
from ...acceleration.graphs import check_graphs, graph_model, ungraph_model
from ...config.signatures import makes_one_of
from ...errors import UsageError
from ..bare_model import bare_model
from ..sharding import is_sharded

NAMES = ("GraphHook", "GraphBackboneHook")
"""What a config may call it; the second is older and says less."""


def add_graphs(cfg: Config, graphs: int | str) -> None:
    """Have a config's run replay its model as CUDA graphs (`--graphs`).

    What is asked for replaces what the config says; "auto", which is asked for by nobody, does not.
    """
    hooks = cfg.get("custom_hooks") or []
    if graphs == "auto" and any(makes_one_of(hook, *NAMES) for hook in hooks):
        return
    kept = [hook for hook in hooks if not makes_one_of(hook, *NAMES)]
    cfg.custom_hooks = [*kept, dict(type="GraphHook", graphs=graphs)]


@HOOKS.register_module()
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
        if why := _never(model):
            if self.graphs not in ("off", "auto"):
                raise UsageError(
                    f"GraphHook: {why}. Say --graphs auto or off, or take the hook out of the "
                    "config"
                )
            return
        try:
            graph_model(model, self.graphs)
        except GraphError as error:
            raise UsageError(f"GraphHook: {error}") from error


@HOOKS.register_module()
class GraphBackboneHook(GraphHook):
    """`GraphHook` by its older name and argument.

    Args:
        max_sizes: the number of sizes to hold.
    """

    def __init__(self, max_sizes: int = 16):
        super().__init__(max_sizes)


def _never(model: nn.Module) -> str:
    """Why a run can have no graphs at all."""
    if is_sharded(model):
        return "FSDP brings parameters together anew in each step, and a graph reads them in place"
    devices = sorted({p.device.type for p in model.parameters()})
    if devices != ["cuda"]:
        return f"CUDA graphs want a model on a GPU, and this run has it on {' and '.join(devices)}"
    if torch.version.hip is not None:
        return "CUDA graphs are NVIDIA's, and this PyTorch is built for ROCm"
    return ""
