"""Training with the backbone's passes replayed as CUDA graphs."""

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ...acceleration.graphed import MAX_SIZES, GraphError, graph_backbone, ungraph_backbone
from ...acceleration.graphs import graph_model
from ...config.signatures import class_name
from ...errors import UsageError
from ..bare_model import bare_model


def add_graphs(cfg: Config, graphs: int | str) -> None:
    """Have a config's run train its backbone by CUDA graphs (`--graphs`).

    A hook that says so already is replaced, as the option has the last word.
    """
    kept = [hook for hook in cfg.get("custom_hooks") or [] if not _is_ours(hook)]
    sizes = MAX_SIZES if graphs == "auto" else graphs
    ours = [] if graphs == "off" else [dict(type="GraphBackboneHook", max_sizes=sizes)]
    cfg.custom_hooks = [*kept, *ours]


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, dict) and class_name(hook["type"]) == "GraphBackboneHook"


@HOOKS.register_module()
class GraphBackboneHook(Hook):
    """Applies `graph_backbone` to the model's backbone while it trains.

    `custom_hooks = [dict(type="GraphBackboneHook")]` is all that a config needs; `mmmamba train
    --graphs` adds it.

    Args:
        max_sizes: of images (whole batches, as they reach the backbone) that are captured; more run
            in eager mode.
    """

    def __init__(self, max_sizes: int = MAX_SIZES):
        self.max_sizes = max_sizes

    def before_train(self, runner: Runner) -> None:
        """Capture the backbone.

        Raises UsageError on a CPU, under FSDP, for a model without a backbone, and where
        `graph_backbone` finds a reason.
        """
        if isinstance(runner.model, FullyShardedDataParallel):
            raise UsageError(
                "GraphBackboneHook: FSDP brings parameters together anew in each step, and a graph "
                "reads them where they were: train with DDP, or take the hook out of custom_hooks"
            )
        backbone = _backbone(runner)
        devices = {p.device.type for p in backbone.parameters()}
        if devices != {"cuda"}:
            raise UsageError(
                f"GraphBackboneHook wants a backbone on a CUDA device, but this run has it on "
                f"{' and '.join(sorted(devices))}: take the hook out of custom_hooks, or train on "
                "a GPU"
            )
        try:
            graph_backbone(backbone, self.max_sizes)
        except (GraphError, ValueError) as error:
            raise UsageError(f"GraphBackboneHook: {error}") from error

    def after_train(self, runner: Runner) -> None:
        ungraph_backbone(_backbone(runner))


class GraphHook(Hook):
    """Applies `graph_model` to the network that a run tests."""

    def __init__(self, graphs: int | str = "auto"):
        self.graphs = graphs

    def before_test(self, runner: Runner) -> None:
        graph_model(bare_model(runner.model), self.graphs)


def _backbone(runner: Runner) -> nn.Module:
    model = bare_model(runner.model)
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        raise UsageError(
            f"GraphBackboneHook wants a model with a backbone, but {type(model).__name__} has "
            "none: take the hook out of custom_hooks"
        )
    return backbone
