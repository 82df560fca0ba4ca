"""Attention to a few places of several maps (Deformable DETR, arXiv 2010.04159, section 4.1).

Shape suffixes: B batch, Q queries, S cells of all maps, C width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmamba.ops import deformable_sampling


class DeformableAttention(nn.Module):
    """Queries read values at points around their own cell; points and shares are linear in them.

    Args:
        dim: width C.
        heads: each reads a part of the channels at points of its own.
        maps: number of maps of values.
        points: of each head on each map.

    Raises:
        ValueError: a width that the heads do not divide.
    """

    def __init__(self, dim: int, heads: int, maps: int, points: int = 4):
        super().__init__()
        if dim % heads:
            raise ValueError(
                f"deform_num_heads is {heads}, wanted a divisor of the width {dim}, of which each "
                "head takes an equal part"
            )
        self.heads, self.maps, self.points = heads, maps, points
        numbers = heads * maps * points
        self.sampling_offsets = nn.Linear(dim, 2 * numbers)
        self.attention_weights = nn.Linear(dim, numbers)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.init_weights()

    def init_weights(self) -> None:
        """Equal shares; the points of a head in one direction of its own, one cell after another.

        (Deformable DETR, appendix A.4.)
        """
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
        angle_M = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction_M2 = torch.stack([angle_M.cos(), angle_M.sin()], -1)
        direction_M2 /= direction_M2.abs().amax(-1, keepdim=True)
        steps_P1 = torch.arange(1.0, self.points + 1)[:, None]
        offset_MLP2 = (direction_M2[:, None, None] * steps_P1).expand(-1, self.maps, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offset_MLP2.flatten())
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query_BQC: Tensor,
        grids: Sequence[tuple[int, int]],
        value_BSC: Tensor,
        maps: Sequence[tuple[int, int]],
    ) -> Tensor:
        """What the queries read, `(B, Q, C)`.

        Args:
            grids: (H, W) of the grids whose cells are the queries, one after another.
            maps: (H, W) of the maps whose cells are the values, one after another.
        """
        read_BQC = deformable_sampling(
            self.value_proj(value_BSC),
            self.sampling_offsets(query_BQC),
            self.attention_weights(query_BQC),
            maps,
            grids,
            self.heads,
        )
        return self.output_proj(read_BQC)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, maps={self.maps}, points={self.points}"
