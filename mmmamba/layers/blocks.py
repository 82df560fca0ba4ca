"""Residual blocks and stages."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from .bare import bare
from .drop_path import Branch, added, drop_path, dropped
from .norm import LayerNorm
from .recomputed import recomputed


class ResidualBlock(nn.Module):
    """A block that begins with a norm and ends in a residual sum.

    In a `Stage` of such blocks that sum is left to the norm of the next.
    """

    @abstractmethod
    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        """What `forward` returns the sum of, given its input or that input's two summands."""

    def forward(self, x: Tensor) -> Tensor:
        return added(*self.summands(x))


class MixerBlock(ResidualBlock):
    """`x + mixer(norm(x))`, then `x + mlp(norm(x))` where there is an mlp. Channels-last.

    The mixer is called `op` and its norm `norm`, as VMamba's checkpoints name them. Mixers begin
    with a linear layer.
    """

    def __init__(
        self, dim: int, mixer: nn.Module, mlp: nn.Module | None = None, drop_path_rate: float = 0.0
    ):
        super().__init__()
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.op = mixer
        self.drop_path = drop_path(drop_path_rate)
        self.norm2 = LayerNorm(dim, feeds_linear=True) if mlp else None
        self.mlp = mlp

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        # A norm adds the branch on its way in, one pass over the map on a GPU, and hands the sum
        # back.
        normed, x = self.norm(x, branch)
        branch = dropped(self.drop_path, self.op(normed))
        # Both are there or neither; the second is asked for the type checker's sake.
        if self.mlp is None or self.norm2 is None:
            return x, branch
        normed, x = self.norm2(x, branch)
        return x, dropped(self.drop_path, self.mlp(normed))


def _leaves_its_sum(block: nn.Module) -> bool:
    """Whether nobody notices that a block is asked for its summands instead of being called."""
    sums_alone = isinstance(block, ResidualBlock) and type(block).forward is ResidualBlock.forward
    return sums_alone and bare(block, type(block))


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, with_cp: bool = False) -> Tensor:
    """The blocks one after the other, each that can leaving its last sum to the norm of the next.

    Args:
        blocks: each takes and returns a map `(B, H, W, C)`.
        x: the first one's map.
        with_cp: recompute each block in the backward pass instead of keeping what is inside it.
    """
    branch: Branch | None = None
    for block in blocks:
        if not with_cp and _leaves_its_sum(block):
            x, branch = cast("ResidualBlock", block).summands(x, branch)
            continue
        x = x if branch is None else added(x, branch)
        branch = None
        # Nothing is kept in inference and behind frozen parts, so nothing can be spared there.
        x = recomputed(block, x) if with_cp and x.requires_grad else block(x)
    return x if branch is None else added(x, branch)


class Stage(nn.Module):
    """Blocks at one resolution, and the step down to the next, `downsample`.

    `forward` runs the blocks alone: a backbone takes their map before it steps down.

    Args:
        blocks: in their order.
        downsample: the step down, None after the last stage.
        with_cp: recompute each block in the backward pass instead of keeping what is inside it.
        norm: of the map after the blocks: what leaves is normalised, and so is what steps down.
    """

    def __init__(
        self,
        blocks: list[nn.Module],
        downsample: nn.Module | None = None,
        with_cp: bool = False,
        norm: nn.Module | None = None,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.downsample = downsample
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        x = run_blocks(self.blocks, x, self.with_cp)
        return x if self.norm is None else self.norm(x)

    def step_down(self, x: Tensor, entered: Tensor) -> Tensor:
        """The next stage's map, made of what this one returned; a subclass may read `entered` too.

        Args:
            entered: the map that this stage was given.
        """
        # Only the last stage has none, and nobody asks it.
        assert self.downsample is not None
        return self.downsample(x)
