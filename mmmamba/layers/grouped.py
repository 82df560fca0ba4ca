"""Layers of which each group of channels has its own, all groups in one pass."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class GroupedLayerNorm(nn.Module):
    """LayerNorm of each of G groups of channels by itself, `(…, C)` to the same.

    Args:
        dim: C.
        groups: G.
    """

    def __init__(self, dim: int, groups: int, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        x_GE = x.unflatten(-1, (self.groups, -1))
        normed_GE = F.layer_norm(x_GE, x_GE.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias, normed_GE.flatten(-2), self.weight)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, groups={self.groups}, eps={self.eps}"
