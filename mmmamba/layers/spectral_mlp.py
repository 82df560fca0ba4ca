"""SiMBA's feed-forward layer of the spectrum."""

import torch
from torch import Tensor, nn

from mmmamba.ops.spectral_mlp import ComplexLayer, spectral_mlp


class SpectralMlp(nn.Module):
    """EinFFT (arXiv 2403.15360): two complex layers on the spectrum of a map, `(B, H, W, C)`.

    The spectrum is that of the flattened map and of the groups of channels. In float32 or better
    also under autocast. Biases are added at every frequency: to the first cell.

    Args:
        dim: C, a multiple of `groups`.
        groups: each has layers of its own at its frequency.
        threshold: what real and imaginary parts shrink by before they are transformed back.

    Raises:
        ValueError: channels that the groups cannot share.
    """

    complex_weight_1: nn.Parameter
    complex_bias_1: nn.Parameter
    complex_weight_2: nn.Parameter
    complex_bias_2: nn.Parameter

    def __init__(self, dim: int, groups: int = 4, threshold: float = 0.01):
        super().__init__()
        if dim % groups:
            raise ValueError(f"{dim} channels cannot be split into {groups} groups")
        width = dim // groups
        for i in (1, 2):
            weight, bias = torch.empty(2, groups, width, width), torch.empty(2, groups, width)
            nn.init.normal_(weight, std=0.02)
            nn.init.normal_(bias, std=0.02)
            self.register_parameter(f"complex_weight_{i}", nn.Parameter(weight))
            self.register_parameter(f"complex_bias_{i}", nn.Parameter(bias))
        self.threshold = threshold

    def forward(self, x_BHWC: Tensor) -> Tensor:
        layer1 = ComplexLayer(self.complex_weight_1, self.complex_bias_1)
        layer2 = ComplexLayer(self.complex_weight_2, self.complex_bias_2)
        return spectral_mlp(x_BHWC, layer1, layer2, self.threshold)

    def extra_repr(self) -> str:
        weight = self.complex_weight_1
        return f"{weight.shape[1] * weight.shape[2]}, groups={weight.shape[1]}"
