"""Small backbones and the files that stand for those of their authors."""

import torch
from torch import Tensor, nn

from mmmamba.models.backbones import MambaVision, VMamba

V0 = dict(
    d_state=16,
    ssm_ratio=2.0,
    mlp_ratio=0.0,
    stem="patch",
    downsample="merging",
    gate=True,
    conv_bias=True,
)
V0_TINY = dict(arch=dict(V0, embed_dims=16, depths=(1, 1, 1, 1)))
BUILDERS = {
    "vmamba": lambda **a: VMamba(**VMamba.TINY, **a),
    "vmamba_v0": lambda **a: VMamba(**V0_TINY, **a),
    "mambavision": lambda **a: MambaVision(**MambaVision.TINY, **a),
}


def another(state: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """The same names with other values."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=generator) + 0.5
        if tensor.is_floating_point()
        else tensor + 3
        for name, tensor in state.items()
    }


def holds(module: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether a module has these values."""
    ours = module.state_dict()
    return all(torch.equal(ours[name], tensor) for name, tensor in state.items())


def published_file(build) -> dict[str, Tensor]:
    """What a classification file holds: no output norms, a classifier."""
    return another(build(classifier=True).state_dict())
