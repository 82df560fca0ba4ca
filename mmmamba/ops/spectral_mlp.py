"""A feed-forward layer on the spectrum of tokens and groups of channels.

(EinFFT of SiMBA, arXiv 2403.15360, section 3.2.) The Fourier transform is that of the flattened map
and of the groups. Where it is lowered, it is made of products with matrices of the sides of the map
and of the groups, a turn by every cell in between (Cooley and Tukey, 1965): a matrix for all cells
would have as many numbers as there are pairs of them. So frequencies come in another order, which
nothing here can tell, as all cells have the same layers.

Shape suffixes: B batch, H and W sides, L = H W cells, G groups of E channels, X = 2 E real and
imaginary parts side by side, N places of an axis.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import full_precision, no_autocast
from .linear_each import linear_each
from .lowering import constants, lowers
from .spectrum import waves


class ComplexLayer(NamedTuple):
    """A complex linear layer for each group: real parts first, then imaginary ones."""

    weight_2GEE: Tensor
    """First index in, second out."""
    bias_2GE: Tensor

    def __call__(self, x_BLGX: Tensor) -> Tensor:
        real, imaginary = full_precision(self.weight_2GEE).transpose(2, 3)
        # As a real layer: of in and out a column and a row for the real part, then the other.
        rows = (torch.stack((real, -imaginary), -1), torch.stack((imaginary, real), -1))
        weight_GXX = torch.stack(rows, 2).flatten(3).flatten(1, 2)
        bias_GX = full_precision(self.bias_2GE).permute(1, 2, 0).flatten(1)
        return linear_each(x_BLGX, weight_GXX) + bias_GX


def spectral_mlp(
    x_BHWC: Tensor, layer1: ComplexLayer, layer2: ComplexLayer, threshold: float
) -> Tensor:
    """Layer, ReLU, layer and a soft threshold between a transform and its inverse, real part.

    `(B, H, W, C)` in x's dtype, computed in float32 or better also under autocast. ReLU and the
    threshold take real and imaginary parts apart.

    Args:
        layer1, layer2: of C / G channels.
        threshold: what amounts shrink by, to 0 at most.
    """
    groups = layer1.bias_2GE.shape[1]
    with no_autocast(x_BHWC):
        x_BHWGE = full_precision(x_BHWC).unflatten(-1, (groups, -1))
        spectrum_BLGX = _by_products(x_BHWGE) if lowers() else _transformed(x_BHWGE)
        mixed_BLGX = F.softshrink(layer2(F.relu(layer1(spectrum_BLGX))), threshold)
        back = _back_by_products if lowers() else _transformed_back
        return back(mixed_BLGX, x_BHWGE).reshape(x_BHWC.shape).to(x_BHWC.dtype)


def _transformed(x_BHWGE: Tensor) -> Tensor:
    spectrum_BLGE = torch.fft.fft2(x_BHWGE.flatten(1, 2), dim=(1, 2), norm="ortho")
    return torch.view_as_real(spectrum_BLGE).flatten(3)


def _transformed_back(mixed_BLGX: Tensor, like_BHWGE: Tensor) -> Tensor:
    spectrum_BLGE = torch.view_as_complex(mixed_BLGX.unflatten(-1, (-1, 2)).contiguous())
    return torch.fft.ifft2(spectrum_BLGE, dim=(1, 2), norm="ortho").real.reshape(like_BHWGE.shape)


class _Complex(NamedTuple):
    real: Tensor
    imaginary: Tensor

    def turned(self, cos: Tensor, sin: Tensor) -> "_Complex":
        """Times `cos - i sin`, place by place."""
        return _Complex(
            self.real * cos + self.imaginary * sin, self.imaginary * cos - self.real * sin
        )

    def along(self, axis: int, cos_NN: Tensor, sin_NN: Tensor) -> "_Complex":
        """The matrix `cos - i sin` times an axis, the last but those behind it."""

        def product(matrix_NN: Tensor, part: Tensor) -> Tensor:
            behind = part.shape[axis + 1 :]
            return (matrix_NN @ part.flatten(axis + 1)).unflatten(-1, behind)

        real, imaginary = self
        return _Complex(
            product(cos_NN, real) + product(sin_NN, imaginary),
            product(cos_NN, imaginary) - product(sin_NN, real),
        )


def _by_products(x_BHWGE: Tensor) -> Tensor:
    H, W, G = x_BHWGE.shape[1:4]
    found = _Complex(x_BHWGE, torch.zeros_like(x_BHWGE)).along(1, *waves(H, False, x_BHWGE))
    found = found.turned(*_turns(H, W, x_BHWGE)).along(2, *waves(W, False, x_BHWGE))
    found = found.along(3, *waves(G, False, x_BHWGE))
    parts_BHWGX = torch.stack(found, -1).flatten(-2) / (H * W * G) ** 0.5
    return parts_BHWGX.flatten(1, 2)


def _back_by_products(mixed_BLGX: Tensor, like_BHWGE: Tensor) -> Tensor:
    H, W, G = like_BHWGE.shape[1:4]

    def reverse(waves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return waves[0], -waves[1]

    parts = mixed_BLGX.unflatten(-1, (-1, 2)).unflatten(1, (H, W)).unbind(-1)
    found = _Complex(*parts).along(3, *reverse(waves(G, False, like_BHWGE)))
    found = found.along(2, *reverse(waves(W, False, like_BHWGE)))
    found = found.turned(*reverse(_turns(H, W, like_BHWGE)))
    found = found.along(1, *reverse(waves(H, False, like_BHWGE)))
    return found.real / (H * W * G) ** 0.5


def _turns(H: int, W: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine `(H, W, 1, 1)` of `column * frequency along rows` parts of H W."""
    known = isinstance(H, int) and isinstance(W, int)
    with constants(H, W):
        frequency = torch.arange(H, device=like.device)
        column = torch.arange(W, device=like.device)
        part = (frequency[:, None] * column).to(torch.float64 if known else like.dtype)
        angle = (part * (2 * math.pi) / (H * W))[..., None, None]
        return angle.cos().to(like.dtype), angle.sin().to(like.dtype)
