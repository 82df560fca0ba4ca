"""The amplitudes of a two-dimensional Fourier transform over tokens and channels, added to them.

(Vim-F, arXiv 2405.18679.) Amplitudes of real numbers are the same at opposite frequencies. On CUDA
the transform is cuFFT's of one half of the plane; one kernel takes the amplitudes of both halves
from it and adds them, where PyTorch's operators transform complex numbers of twice the size and
write several tensors of its size. Training keeps the tokens and that half.
"""

import torch
from torch import Tensor

from .autocast import full_precision
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON


def add_spectrum(x_BLC: Tensor, weight: Tensor, shift: bool = False) -> Tensor:
    """`weight[0] * x + weight[1] * |FFT2(x)| / sqrt(L C)`, `(B, L, C)` in x's dtype.

    Transformed in float32 or better: cuFFT's half precision knows powers of two alone. The gradient
    of an amplitude of 0 is 0.

    Args:
        weight: `(2,)`.
        shift: the frequency 0 stands in the middle of the plane and not at its first corner.
    """
    fused = HAS_TRITON and unwatched(x_BLC) and x_BLC.dtype in DTYPES and x_BLC.is_contiguous()
    return _Fused.apply(x_BLC, weight, shift) if fused else _plain(x_BLC, weight, shift)


def _plain(x_BLC: Tensor, weight: Tensor, shift: bool) -> Tensor:
    wide_BLC = full_precision(x_BLC)
    amplitude_BLC = torch.fft.fft2(wide_BLC, norm="ortho").abs()
    if shift:
        amplitude_BLC = torch.fft.fftshift(amplitude_BLC, dim=(1, 2))
    return (weight[0] * wide_BLC + weight[1] * amplitude_BLC).to(x_BLC.dtype)


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
