"""LocalMamba's merge (arXiv 2403.09338, section 4.1): routes weighed by what they hold as a whole.

Shape suffixes: B batch, L = H W positions, K routes, D channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmamba.ops import REVERSED, route_table

from ..channel_gate import ChannelGate


class GatedMerge(nn.Module):
    """The sum of the gated routes, `(B, L, K, D)` and the map's sides to `(B, L, D)`.

    The gate is the paper's SCAttn as published: without its spatial branch, and with the same
    weights for all routes.

    Args:
        dim: D.
        routes: their names, K of them.
        columns_as_published: put the columns' outputs where the published code does, see
            `misplace_columns`.
    """

    def __init__(self, dim: int, routes: Sequence[str], columns_as_published: bool = False):
        super().__init__()
        self.routes = tuple(routes)
        self.columns_as_published = columns_as_published
        self.attn = ChannelGate(dim, over=(1,))

    def forward(self, y_BLKD: Tensor, height: int, width: int) -> Tensor:
        if self.columns_as_published:
            y_BLKD = misplace_columns(y_BLKD, self.routes, height, width)
        # `over` names the positions alone, so the routes are gated each apart.
        return self.attn(y_BLKD).sum(2)


def misplace_columns(y_BLKD: Tensor, routes: Sequence[str], height: int, width: int) -> Tensor:
    """Moves the outputs of `column` and its reverse to where LocalMamba's published code has them.

    On maps that are not square it puts the sequence back as if the map had as many rows as it has
    columns. Square maps stay as they are.
    """
    if height == width:
        return y_BLKD
    # Their code reads the sequence along the columns of the map and writes it along those of its
    # transpose: what was computed for `read[t]` lands on `written[t]`.
    read = route_table(("column",), height, width, y_BLKD.device)[0].long()
    written = route_table(("column",), width, height, y_BLKD.device)[0].long()
    source = torch.empty_like(read).scatter(0, written, read)
    moved = []
    for k, name in enumerate(routes):
        y_BLD = y_BLKD[:, :, k]
        moved.append(y_BLD[:, source] if name.removesuffix(REVERSED) == "column" else y_BLD)
    return torch.stack(moved, 2)
