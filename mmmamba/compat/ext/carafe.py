"""CARAFE (Wang et al. 2019, eq. 2): upsampling by a weighted sum of the cells around each source.

The K x K weights of a cell are its channels in `masks` (B, G * K * K, H * S, W * S), one kernel
for each of G groups of the features' channels; features outside of the map are 0. One tap at a
time, so that memory stays at a few outputs.
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from .precision import widen


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Writes the upsampled features (B, C, H * S, W * S) to `output`."""
    x_BCHW, masks = widen(features, masks)
    mask_tiles = _tiles(masks, (group_size, kernel_size**2), scale_factor)
    padded = F.pad(x_BCHW, [kernel_size // 2] * 4)
    total = x_BCHW.new_zeros(output.shape)
    tiles = _tiles(total, (group_size, -1), scale_factor)
    for tap, window in _taps(padded, kernel_size):
        # Written into `total`, of which the tiles are a view.
        tiles.addcmul_(_spread(window, group_size), mask_tiles[:, :, tap, None])
    output.copy_(total)


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Adds to `grad_input` and `grad_masks`."""
    grad, x_BCHW, masks = widen(grad_output, features, masks)
    grad_tiles = _tiles(grad, (group_size, -1), scale_factor)
    mask_tiles = _tiles(masks, (group_size, kernel_size**2), scale_factor)
    grad_mask_tiles = _tiles(grad_masks, (group_size, kernel_size**2), scale_factor)
    half = kernel_size // 2
    padded = F.pad(x_BCHW, [half] * 4)
    grad_padded = padded.new_zeros(padded.shape)
    windows = zip(_taps(padded, kernel_size), _taps(grad_padded, kernel_size))
    for (tap, window), (_, grad_window) in windows:
        grad_mask = (grad_tiles * _spread(window, group_size)).sum(dim=2)
        grad_mask_tiles[:, :, tap] += grad_mask.to(grad_masks.dtype)
        # All S x S outputs of a tile read the same source cell, so their gradients meet there.
        grad_cells = (grad_tiles * mask_tiles[:, :, tap, None]).sum(dim=(4, 6))
        # A view into `grad_padded`, where the windows of neighbouring taps overlap and add up.
        grad_window += grad_cells.view_as(grad_window)
    height, width = features.shape[2:]
    grad_input += grad_padded[:, :, half : half + height, half : half + width].to(grad_input.dtype)


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Writes to `output`, and to `rfeatures` what mmcv gives the backward pass for features."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Adds to `grad_input` and `grad_masks`; mmcv's `rgrad_` scratch is unused."""
    carafe_naive_backward(
        grad_output, rfeatures, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor
    )


def _tiles(x: Tensor, channels: tuple[int, int], scale: int) -> Tensor:
    """A view (B, *channels, H, S, W, S) of x (B, C, H * S, W * S)."""
    return x.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).unflatten(1, channels)


def _spread(window_BCHW: Tensor, groups: int) -> Tensor:
    """(B, G, C / G, H, 1, W, 1), which broadcasts over the tiles."""
    return window_BCHW.unflatten(1, (groups, -1))[:, :, :, :, None, :, None]


def _taps(padded: Tensor, kernel_size: int) -> Iterator[tuple[int, Tensor]]:
    """The number of each tap and the view (B, C, H, W) of what it sees."""
    height, width = (length - kernel_size + 1 for length in padded.shape[2:])
    for tap in range(kernel_size**2):
        top, left = divmod(tap, kernel_size)
        yield tap, padded[:, :, top : top + height, left : left + width]
