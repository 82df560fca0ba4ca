"""LocalMamba's merge (arXiv 2403.09338, section 4.1): each route's output is weighed by what it holds as a whole.

Shape suffixes: B batch, L = H W positions, K routes, D channels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import REVERSED, route_table

from ..norm import LayerNorm


class RouteGate(nn.Module):
    """`y * sigmoid(mlp(mean over positions of norm(y)))` for each route apart, with the same weights for all.

    The paper's SCAttn as published: without its spatial branch. `(B, L, K, D)` to the same.
    """

    def __init__(self, dim: int, reduction: int = 8):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.global_reduce = nn.Linear(dim, dim // reduction)
        self.channel_select = nn.Linear(dim // reduction, dim)

    def forward(self, y_BLKD: Tensor) -> Tensor:
        mean_BKD = self.norm(y_BLKD).mean(1)
        gate_BKD = torch.sigmoid(self.channel_select(F.gelu(self.global_reduce(mean_BKD))))
        return y_BLKD * gate_BKD[:, None].to(y_BLKD.dtype)


class GatedMerge(nn.Module):
    """The sum of the gated routes, `(B, L, K, D)` and the map's sides to `(B, L, D)`.

    Args:
        dim: D.
        routes: their names, K of them.
        columns_as_published: put the columns' outputs where the published code does, see `misplace_columns`.
    """

    def __init__(self, dim: int, routes: Sequence[str], columns_as_published: bool = False):
        super().__init__()
        self.routes = tuple(routes)
        self.columns_as_published = columns_as_published
        self.attn = RouteGate(dim)

    def forward(self, y_BLKD: Tensor, height: int, width: int) -> Tensor:
        if self.columns_as_published:
            y_BLKD = misplace_columns(y_BLKD, self.routes, height, width)
        return self.attn(y_BLKD).sum(2)


def misplace_columns(y_BLKD: Tensor, routes: Sequence[str], height: int, width: int) -> Tensor:
    """Where LocalMamba's published code leaves the outputs of `column` and its reverse on maps that are not square.

    It puts the sequence back as if the map had as many rows as it has columns. Square maps stay as they are.
    """
    if height == width:
        return y_BLKD
    read = route_table(("column",), height, width, y_BLKD.device)[0].long()
    written = route_table(("column",), width, height, y_BLKD.device)[0].long()
    source = torch.empty_like(read).scatter(0, written, read)
    columns = (
        y_BLKD[:, source, k] if name.removesuffix(REVERSED) == "column" else y_BLKD[:, :, k]
        for k, name in enumerate(routes)
    )
    return torch.stack(list(columns), 2)
