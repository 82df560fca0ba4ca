"""Bands of a map: each window of 2x2 pixels by four filters a channel, and back (wavelets).

As convolutions of stride 2 these have groups of one channel on one side and four on the other.
cuDNN has no kernel for the transpose of such a group, so it runs one for each group, hundreds for a
map, and that both on the way back of a split and on the way forth of a join. Here each is one
kernel on CUDA, and the other's transpose. Where a tracer or compiler looks on there, a join is sums
of products. Elsewhere, for float64 and for filters that are trained it is PyTorch's convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, unwatched, watched
from .launch import DTYPES, HAS_TRITON


def split_bands(x_BCHW: Tensor, filters: Tensor) -> Tensor:
    """The bands `(B, 4 C, ceil(H / 2), ceil(W / 2))` of a map, in its dtype or autocast's.

    Band `4 c + k` is the sum of channel c's pixels in each window, weighed by filter `4 c + k`.
    Beyond an odd side stand zeros.

    Args:
        filters: `(4 C, 1, 2, 2)`.

    Raises:
        ValueError: filters of another shape.
    """
    _check(filters, x_BCHW.shape[1])
    if not _kernels_take(x_BCHW, filters):
        return _plain_split(x_BCHW, filters)
    return _Split.apply(x_BCHW.to(autocast_dtype(x_BCHW) or x_BCHW.dtype), filters)


def join_bands(bands: Tensor, filters: Tensor, height: int, width: int) -> Tensor:
    """The transpose of `split_bands`: bands `(B, 4 C, H', W')` to a map `(B, C, height, width)`.

    With orthonormal filters it gives back what was split.

    Raises:
        ValueError: filters of another shape, or bands of another map.
    """
    _check(filters, bands.shape[1] / 4)
    wanted = (height + 1) // 2, (width + 1) // 2
    if bands.shape[2:] != wanted:
        raise ValueError(
            f"join_bands: bands are {bands.shape[2]} x {bands.shape[3]}, but a map of {height} x "
            f"{width} has bands of {wanted[0]} x {wanted[1]}"
        )
    if not _kernels_take(bands, filters):
        join = _summed_join if bands.is_cuda and watched() else _plain_join
        return join(bands, filters, height, width)
    low = autocast_dtype(bands) or bands.dtype
    return _Join.apply(bands.to(low), filters, height, width)


def _check(filters: Tensor, channels: float) -> None:
    if filters.shape != (4 * channels, 1, 2, 2):
        raise ValueError(
            f"bands of {channels:g} channels want filters ({4 * channels:g}, 1, 2, 2), found "
            f"{tuple(filters.shape)}"
        )


def _kernels_take(x: Tensor, filters: Tensor) -> bool:
    if not (HAS_TRITON and unwatched(x)) or filters.requires_grad:
        return False
    # Where dtypes are mixed without autocast, PyTorch's convolution raises an error, and is to.
    one_dtype = x.dtype == filters.dtype or autocast_dtype(x) is not None
    return x.dtype in DTYPES and filters.dtype in DTYPES and one_dtype


def _plain_split(x_BCHW: Tensor, filters: Tensor) -> Tensor:
    C, H, W = x_BCHW.shape[1:]
    return F.conv2d(F.pad(x_BCHW, (0, W % 2, 0, H % 2)), filters, stride=2, groups=C)


def _plain_join(bands: Tensor, filters: Tensor, height: int, width: int) -> Tensor:
    groups = len(filters) // 4
    return F.conv_transpose2d(bands, filters, stride=2, groups=groups)[:, :, :height, :width]


def _summed_join(bands: Tensor, filters: Tensor, height: int, width: int) -> Tensor:
    """The four pixels of all windows, each a sum over the bands, woven into a map."""
    channels = filters.shape[0] // 4
    low = autocast_dtype(bands) or bands.dtype
    total = torch.promote_types(low, torch.float32)
    bands_BCKHW = bands.to(total).unflatten(1, (channels, 4))
    filters_CKP = filters.to(total).view(channels, 4, 4)
    pixels = [(bands_BCKHW * filters_CKP[:, :, place, None, None]).sum(dim=2) for place in range(4)]
    map_BCHW = F.pixel_shuffle(torch.stack(pixels, dim=2).flatten(1, 2), 2)
    return map_BCHW[:, :, :height, :width].to(low)


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, filters):
        from .kernels.bands import split

        ctx.save_for_backward(filters)
        ctx.sides = x.shape[2:]
        return split(x, filters)

    @staticmethod
    def backward(ctx, grad):
        (filters,) = ctx.saved_tensors
        if differentiated_again(grad):
            return _plain_join(grad, filters.to(grad.dtype), *ctx.sides), None
        from .kernels.bands import join

        return join(grad, filters, *ctx.sides), None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx, bands, filters, height, width):
        from .kernels.bands import join

        ctx.save_for_backward(filters)
        return join(bands, filters, height, width)

    @staticmethod
    def backward(ctx, grad):
        (filters,) = ctx.saved_tensors
        if differentiated_again(grad):
            return _plain_split(grad, filters.to(grad.dtype)), None, None, None
        from .kernels.bands import split

        return split(grad, filters), None, None, None
