"""The amplitudes of a two-dimensional Fourier transform over tokens and channels, added to them.

(Vim-F, arXiv 2405.18679.) Amplitudes of real numbers are the same at opposite frequencies. On CUDA
the transform is cuFFT's of one half of the plane; one kernel takes the amplitudes of both halves
from it and adds them, where PyTorch's operators transform complex numbers of twice the size and
write several tensors of its size. Training keeps the tokens and that half.
"""

import math

import torch
from torch import Tensor

from .autocast import full_precision
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON
from .lowering import constants, lowers


def add_spectrum(x_BLC: Tensor, weight: Tensor, shift: bool = False) -> Tensor:
    """`weight[0] * x + weight[1] * |FFT2(x)| / sqrt(L C)`, `(B, L, C)` in x's dtype.

    Transformed in float32 or better: cuFFT's half precision knows powers of two alone. The gradient
    of an amplitude of 0 is 0.

    Args:
        weight: `(2,)`.
        shift: the frequency 0 stands in the middle of the plane and not at its first corner.
    """
    if lowers():
        return _as_products(x_BLC, weight, shift)
    fused = HAS_TRITON and unwatched(x_BLC) and x_BLC.dtype in DTYPES and x_BLC.is_contiguous()
    return _Fused.apply(x_BLC, weight, shift) if fused else _plain(x_BLC, weight, shift)


def _plain(x_BLC: Tensor, weight: Tensor, shift: bool) -> Tensor:
    wide_BLC = full_precision(x_BLC)
    amplitude_BLC = torch.fft.fft2(wide_BLC, norm="ortho").abs()
    if shift:
        amplitude_BLC = torch.fft.fftshift(amplitude_BLC, dim=(1, 2))
    return (weight[0] * wide_BLC + weight[1] * amplitude_BLC).to(x_BLC.dtype)


def _as_products(x_BLC: Tensor, weight: Tensor, shift: bool) -> Tensor:
    """The same by matrix products, which runtimes are more exact in than in transforms."""
    wide_BLC = full_precision(x_BLC)
    _, L, C = x_BLC.shape
    (cos_LL, sin_LL), (cos_CC, sin_CC) = waves(L, shift, wide_BLC), waves(C, shift, wide_BLC)
    along_BLC, across_BLC = cos_LL @ wide_BLC, sin_LL @ wide_BLC
    # Frequencies are rows of both, so that those of channels are read transposed.
    real_BLC = along_BLC @ cos_CC.t() - across_BLC @ sin_CC.t()
    imaginary_BLC = along_BLC @ sin_CC.t() + across_BLC @ cos_CC.t()
    power_BLC = real_BLC.square() + imaginary_BLC.square()
    amplitude_BLC = (power_BLC / (L * C)).sqrt()
    return (weight[0] * wide_BLC + weight[1] * amplitude_BLC).to(x_BLC.dtype)


def waves(length: int, shift: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine `(frequencies, places)` of the turns that a frequency makes up to a place."""
    known = isinstance(length, int)
    with constants(length):
        place = torch.arange(length, device=like.device)
        frequency = (place - length // 2) % length if shift else place
        # Whole turns are left out while numbers are whole: what is left has all its digits.
        part = (frequency[:, None] * place % length).to(torch.float64 if known else like.dtype)
        angle = part * (2 * math.pi) / length
        return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, shift):
        from .kernels.spectrum import forward

        out, half = forward(x, weight, shift)
        ctx.save_for_backward(x, weight, half)
        ctx.shift = shift
        return out

    @staticmethod
    def backward(ctx, grad):
        x, weight, half = ctx.saved_tensors
        if differentiated_again(grad):
            wants = ctx.needs_input_grad[:2]
            found = gradients(lambda x, w: _plain(x, w, ctx.shift), (x, weight), wants, grad)
            return *found, None
        from .kernels.spectrum import backward

        return *backward(grad, x, weight, half, ctx.shift), None
