"""Testing with batch norms folded into convolutions."""

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...acceleration.fusing import fuse


class FuseHook(Hook):
    """Replaces the runner's model by its fused copy once the checkpoint is in it."""

    def before_test(self, runner: Runner) -> None:
        wrapper = runner.model if hasattr(runner.model, "module") else None
        model = runner.model if wrapper is None else wrapper.module
        fused = fuse(model)
        norms, left = _norms(model), _norms(fused)
        print_log(
            f"--fuse: {norms - left} of {norms} batch norms are folded into convolutions",
            logger="current",
        )
        if wrapper is None:
            runner.model = fused
        else:
            wrapper.module = fused


def _norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())
