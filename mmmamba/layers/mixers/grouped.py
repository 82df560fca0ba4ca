"""Channels in groups, a scan for each, and what they agree on (GroupMamba, arXiv 2407.13772).

Shape suffixes: B batch, H and W sides, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmamba.ops import product_norm

from ..bare import bare
from ..channel_gate import ChannelGate
from ..grouped import GroupedLinear, GroupedNormGate
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from .s6 import resolve_dt_rank
from .ss2d import CROSS, SS2D


class GroupedSS2D(SS2D):
    """Mixers of VMamba v0 side by side: each of a group of channels, along its one route.

    Args:
        dim: channels of all groups.
        routes: one for each group.
        d_state: of `SS2D`.
        dt_rank: of a group; "auto" is a sixteenth of its width, rounded up.

    Raises:
        ValueError: groups that cannot share the channels evenly.
    """

    def __init__(
        self,
        dim: int,
        routes: Sequence[str] = CROSS,
        d_state: int = 1,
        dt_rank: int | str = "auto",
    ):
        groups = len(routes)
        super().__init__(
            dim,
            d_state=d_state,
            ssm_ratio=1.0,
            dt_rank=resolve_dt_rank(dt_rank, dim // groups),
            routes=tuple((route,) for route in routes),
            gate=True,
            conv_bias=True,
        )
        self.in_proj = GroupedLinear(dim, 2 * dim, groups, parts=2)
        # Gate and norm in one: it is called with both maps.
        self.out_norm = GroupedNormGate(dim, groups)  # type: ignore[assignment]
        self.out_proj = GroupedLinear(dim, dim, groups)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC, z_BHWC = self.in_proj(x_BHWC).chunk(2, -1)
        local_BHWC = channels_last(self.conv2d(channels_first(x_BHWC)))
        return self.out_proj(self.out_norm(self.scan(local_BHWC), z_BHWC))


class ModulatedGroupMamba(nn.Module):
    """GroupMamba's layer of a normalised map, `(B, H, W, C)` to the same (section 3.3).

    What the groups make is multiplied by the layer's input and, channel by channel, by what the
    affinity of the whole map says; then normalised and projected.

    The layer's one norm is met twice: whoever calls it normalises its input by `norm`, which can
    add a residual branch on the way.

    Args:
        dim: C.
        d_state, dt_rank, routes: of `GroupedSS2D`.
    """

    def __init__(self, dim: int, **mixer):
        super().__init__()
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.groups = GroupedSS2D(dim, **mixer)
        self.affinity = ChannelGate(dim, reduction=16, norm=False, act_layer=nn.ReLU)
        self.skip_scale = nn.Parameter(torch.ones(1))
        self.proj = nn.Linear(dim, dim)

    def forward(self, normed_BHWC: Tensor) -> Tensor:
        # Both factors of a channel first, as they are small.
        factor_B11C = self.affinity.weights(normed_BHWC) * self.skip_scale
        grouped_BHWC, norm = self.groups(normed_BHWC), self.norm
        # In one step where nobody looks at the norm.
        if not bare(norm, LayerNorm):
            return self.proj(norm(grouped_BHWC * normed_BHWC * factor_B11C))
        parameters = factor_B11C.flatten(1), norm.weight, norm.bias, norm.eps
        return self.proj(product_norm(grouped_BHWC, normed_BHWC, *parameters))
