"""Testing with batch norms folded into convolutions."""

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...acceleration.fusing import fuse
from ..bare_model import bare_model, with_bare_model


class FuseHook(Hook):
    """Replaces the runner's network by its fused copy once the checkpoint is in it."""

    def before_test(self, runner: Runner) -> None:
        network = bare_model(runner.model)
        fused = fuse(network)
        norms, left = _norms(network), _norms(fused)
        print_log(
            f"--fuse: {norms - left} of {norms} batch norms are folded into convolutions; "
            "--no-fuse keeps them",
            logger="current",
        )
        runner.model = with_bare_model(runner.model, fused)


def _norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())
