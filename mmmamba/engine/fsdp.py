"""Training with parameters, gradients and the optimizer's state in shares on all processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import OptimWrapperDict
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from ..config.signatures import class_name
from ..errors import UsageError
from .optimizers import wrappers_of
from .sharding import (
    gather_model,
    gathered,
    gathered_weights,
    is_sharded,
    release_model,
    shard,
    share_out_state,
    shared_out,
)

NAME = "FSDPRunner"


@RUNNERS.register_module()
class FSDPRunner(Runner):
    """`Runner` that trains with PyTorch's `fully_shard` where `Runner` takes DDP.

    `runner_type = "FSDPRunner"` is all that a config needs, for our tools and for mmdet's. Losses
    are those of DDP but for rounding; checkpoints are those of `Runner`: whole, for any number of
    processes and without FSDP as well. One process alone trains as `Runner` does, and so do
    validation without training and tests.

    Raises:
        UsageError: the config asks for what does not go together with it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register_hook(_ShareOut())
        self.register_hook(_ValidateWhole())

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Put the model on its device, and nothing around it.

        It is cut up when its weights are there, which MMEngine initialises after this.
        """
        if not self.distributed:
            return super().wrap_model(None, model)
        model = model.to(get_device())
        sync_bn = self.cfg.get("sync_bn")
        return model if sync_bn is None else convert_sync_batchnorm(model, sync_bn)

    def train(self) -> nn.Module:
        refuse_beside_fsdp(self.cfg)
        for hook in self.hooks:
            if isinstance(hook, EMAHook):
                raise UsageError(
                    f"{NAME}: the run averages its weights ({type(hook).__name__}), and an average "
                    "would have to be whole in each process. Take the hook out of custom_hooks, or "
                    "train without FSDP: --cfg-options runner_type=Runner"
                )
        return super().train()

    def _init_model_weights(self) -> None:
        super()._init_model_weights()
        if get_world_size() == 1:
            self.logger.info(f"{NAME}: one process has all parameters; nothing is shared out")
            return
        if isinstance(self.optim_wrapper, OptimWrapperDict):
            raise UsageError(
                f"{NAME}: optim_wrapper makes {len(self.optim_wrapper)} optimizers, wanted one. "
                "Train with one, or without FSDP: --cfg-options runner_type=Runner"
            )
        blocks = shard(self.model, self.optim_wrapper.optimizer)
        self.logger.info(
            f"{NAME}: parameters, gradients and the optimizer's state are shared out to "
            f"{get_world_size()} processes; {blocks} blocks are gathered one at a time, "
            "and no step is a CUDA graph"
        )

    def resume(self, filename: str, *arguments: Any, **options: Any) -> None:
        """As `Runner.resume`, but by way of the CPU: whole, a GPU may not hold all of it."""
        if not arguments:
            options.setdefault("map_location", "cpu")
        super().resume(filename, *arguments, **options)

    def save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        """As `Runner.save_checkpoint`; all processes have to ask."""
        if not is_sharded(self.model):
            super().save_checkpoint(*arguments, **options)
            return
        keep = is_main_process()
        with _says(self.model, gathered_weights(self.model, keep)):
            if not options.get("save_optimizer", True):
                super().save_checkpoint(*arguments, **options)
                return
            with _says(self.optim_wrapper, gathered(self.optim_wrapper.state_dict(), keep)):
                super().save_checkpoint(*arguments, **options)


class _ShareOut(Hook):
    """Cuts what a file holds as the model is cut, behind the hooks that look at it whole."""

    priority = "LOWEST"

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not is_sharded(runner.model):
            return
        own = runner.model.state_dict()
        # As MMEngine reads the names.
        named = {name.removeprefix("module."): x for name, x in checkpoint["state_dict"].items()}
        checkpoint["state_dict"] = {
            name: shared_out(x, own[name]) if name in own else x for name, x in named.items()
        }
        if runner._resume and "optimizer" in checkpoint:
            [wrapper] = wrappers_of(runner.optim_wrapper).values()
            checkpoint["optimizer"] = share_out_state(checkpoint["optimizer"], wrapper.optimizer)


class _ValidateWhole(Hook):
    """Gathers the model before a validation, in which processes may have unlike many batches."""

    # The weights are in shares again when the best ones are saved.
    priority = "HIGHEST"

    def before_val_epoch(self, runner: Runner) -> None:
        gather_model(runner.model)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        release_model(runner.model)


@contextmanager
def _says(owner: Any, state: dict[str, Any]) -> Iterator[None]:
    """Within it the owner's `state_dict` is this one."""
    owner.state_dict = lambda *arguments, **options: state
    try:
        yield
    finally:
        del owner.state_dict


def refuse_other_fsdp(cfg: Config) -> None:
    """Refuse MMEngine's ways to FSDP, in which clipping and checkpoints are not what we promise.

    Raises:
        UsageError: with what to write in their place.
    """
    kinds = {key: (cfg.get(key) or {}).get("type") for key in ("model_wrapper_cfg", "strategy")}
    kinds["runner_type"] = cfg.get("runner_type")
    for key, kind in kinds.items():
        name = class_name(kind) if kind else ""
        if name == "FlexibleRunner":
            raise UsageError(
                f"runner_type is {name}, which reads checkpoints before hooks are asked which, "
                "and counts what it saves anew: runs would not be resumed as these tools promise. "
                f"For FSDP: --cfg-options runner_type={NAME}; else take it out of the config"
            )
        if name in ("MMFullyShardedDataParallel", "FSDPStrategy"):
            raise UsageError(
                f"{key}.type is {name}: each process would clip gradients by the norm of its own "
                "share, and checkpoints would not be those of other runs. Take it out of the "
                f"config, and say --cfg-options runner_type={NAME}"
            )


def refuse_beside_fsdp(cfg: Config) -> None:
    """Refuse what a config asks for beside our runner and would not get.

    Raises:
        UsageError: with what to take out.
    """
    found = []
    wrapper = (cfg.get("model_wrapper_cfg") or {}).get("type", "")
    # Our tools name DDP on a CPU by themselves.
    if wrapper and class_name(wrapper) != "MMDistributedDataParallel":
        found.append(f"model_wrapper_cfg.type={class_name(wrapper)}, which would wrap the model")
    if cfg.get("find_unused_parameters"):
        found.append(
            "find_unused_parameters=True, but processes exchange the gradients of a block at once "
            "and have to have the same ones"
        )
    for key in ("compile", "efficient_conv_bn_eval", "activation_checkpointing"):
        if cfg.get(key):
            cure = " (model.backbone.with_cp=True spares memory)" if "check" in key else ""
            found.append(f"{key}, which is not tried with it{cure}")
    if found:
        raise UsageError(
            f"{NAME} does not go together with {'; '.join(found)}. Take it out of the config, or "
            "train without FSDP: --cfg-options runner_type=Runner"
        )
