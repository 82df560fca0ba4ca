"""Stochastic depth, its product left to the residual sum where a kernel forms that."""

from typing import NamedTuple, TypeAlias

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from mmmamba.ops.add_scaled import add_scaled
from mmmamba.ops.derivatives import unwatched
from mmmamba.ops.layer_norm import kernels_take

from .bare import bare


class Scaled(NamedTuple):
    """A branch `(B, ..., C)` that whoever adds it is to multiply by a factor for each image."""

    branch: Tensor
    factor_B: Tensor


Branch: TypeAlias = Tensor | Scaled
"""What a block adds to its input."""


def drop_path(rate: float) -> nn.Module:
    """Per-sample stochastic depth with rescaling (arXiv 1603.09382)."""
    return StochasticDepth(rate, "row") if rate else nn.Identity()


def dropped(drop: nn.Module, branch: Tensor) -> Branch:
    """`drop(branch)`, of the same random numbers; as a `Scaled` where that saves a pass over it."""
    if not (unwatched(branch) and kernels_take(branch, branch.dtype, "")):
        return drop(branch)
    return scaled_by(drop, branch)


def scaled_by(drop: nn.Module, branch: Tensor) -> Branch:
    """`drop(branch)`, as a `Scaled` if it is stochastic depth and at work."""
    if not (drop.training and bare(drop, StochasticDepth) and drop.mode == "row"):
        return drop(branch)
    # What it makes of ones is what it multiplies by.
    return Scaled(branch, drop(branch.new_ones(len(branch))))


def added(x: Tensor, branch: Branch) -> Tensor:
    """The residual sum."""
    return add_scaled(x, *branch) if isinstance(branch, Scaled) else x + branch
