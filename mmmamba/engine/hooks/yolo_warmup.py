"""The warm-up of YOLO recipes: biases start above the learning rate, all others below it."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner
from torch import nn

from mmmamba.engine.merged_groups import merge_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BiasesApartConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameters of equal settings in one group, but biases apart.

    An optimizer then updates a handful of groups, not hundreds one after the other, and
    `YOLOWarmupHook` can set the rate of biases. A run that began with mmengine's cannot be resumed
    with this one.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = "", **kwargs: Any
    ) -> None:
        super().add_params(params, module, prefix=prefix, **kwargs)
        # It calls itself for the children of a module, with a prefix.
        if prefix:
            return
        biases = _biases(module)
        for group in params:
            # One parameter so far.
            group["biases"] = id(group["params"][0]) in biases
        params[:] = merge_groups(params)


def _biases(module: nn.Module) -> set[int]:
    """`id` of parameters with "bias" in their names."""
    return {id(parameter) for name, parameter in module.named_parameters() if "bias" in name}


@HOOKS.register_module()
class YOLOWarmupHook(Hook):
    """Lets learning rates and momentum rise linearly in the first epochs, those of biases fall.

    Rates rise from 0, those of biases fall from `bias_lr`.

    What the schedulers set is what they arrive at. The optimizer must have biases in groups of
    their own, as `BiasesApartConstructor` makes them whenever there is a `paramwise_cfg`.

    Args:
        epochs: of warm-up, if they are `min_iters` or more.
        bias_lr: what parameters with "bias" in their names start from.
        momentum: what it starts from.
    """

    def __init__(
        self, epochs: int = 3, min_iters: int = 100, bias_lr: float = 0.1, momentum: float = 0.8
    ):
        self.epochs, self.min_iters, self.bias_lr, self.momentum = (
            epochs,
            min_iters,
            bias_lr,
            momentum,
        )

    def before_train(self, runner: Runner) -> None:
        """Raises ValueError where a group mixes biases with other parameters."""
        groups = runner.optim_wrapper.optimizer.param_groups
        biases = _biases(runner.model)
        self.iters = max(self.epochs * len(runner.train_dataloader), self.min_iters)
        self.is_bias = []
        for group in groups:
            kinds = {id(p) in biases for p in group["params"]}
            if len(kinds) != 1:
                raise ValueError(
                    "YOLOWarmupHook found a parameter group with biases and others; give the "
                    "optim_wrapper a paramwise_cfg and constructor='BiasesApartConstructor', which "
                    "keeps them apart"
                )
            self.is_bias.append(kinds.pop())
        self.target_momentum = [group["momentum"] for group in groups]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter >= self.iters:
            return
        done = runner.iter / self.iters
        groups = runner.optim_wrapper.optimizer.param_groups
        self.scheduled = [group["lr"] for group in groups]
        for group, lr, bias, momentum in zip(
            groups, self.scheduled, self.is_bias, self.target_momentum
        ):
            start = self.bias_lr if bias else 0.0
            group["lr"] = start + done * (lr - start)
            group["momentum"] = self.momentum + done * (momentum - self.momentum)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if runner.iter >= self.iters:
            return
        # The schedulers, which come after this hook, go on from the rate they find.
        groups = runner.optim_wrapper.optimizer.param_groups
        for group, lr, momentum in zip(groups, self.scheduled, self.target_momentum):
            group["lr"], group["momentum"] = lr, momentum
