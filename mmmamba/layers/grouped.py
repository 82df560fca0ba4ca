"""Layers of which each group of channels has its own, all groups in one pass."""

import torch
from torch import Tensor, nn

from mmmamba.ops import norm_gate
from mmmamba.ops.linear_each import grouped_linear


class GroupedLinear(nn.Module):
    """Linear layers without bias, one for each of G groups of channels. Channels-last.

    Args:
        in_features, out_features: of all groups together.
        groups: G.
        parts: what each group makes is so many parts, and each part of all groups lies side by
            side.

    The weight holds the groups' weights below each other, `(out_features, in_features / G)`.
    """

    def __init__(self, in_features: int, out_features: int, groups: int, parts: int = 1):
        super().__init__()
        self.groups, self.parts = groups, parts
        self.weight = nn.Parameter(torch.empty(out_features, in_features // groups))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        weight_GJXE = self.weight.unflatten(0, (self.groups, self.parts, -1))
        return grouped_linear(x_BHWC.flatten(1, 2), weight_GJXE).unflatten(1, x_BHWC.shape[1:3])

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, groups={self.groups}, parts={self.parts}"


class GroupedNormGate(nn.Module):
    """LayerNorm of each of G groups of channels by itself, times SiLU of another map.

    Args:
        dim: channels of all groups.
        groups: G.
    """

    def __init__(self, dim: int, groups: int, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, y_BHWC: Tensor, z_BHWC: Tensor) -> Tensor:
        """`norm(y) * silu(z)`, in z's dtype."""
        return norm_gate(y_BHWC, z_BHWC, self.weight, self.bias, self.groups, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, groups={self.groups}, eps={self.eps}"
