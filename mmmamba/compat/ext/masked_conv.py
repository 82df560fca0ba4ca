"""Convolution at the chosen cells of one image: the two copies around mmcv's matrix product."""

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_im2col_forward(
    features: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    data_col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Writes what the kernel sees at each chosen cell of features (1, C, H, W) to `data_col`.

    `data_col` is (C * KH * KW, N); outside of the map everything is 0.
    """
    padded_CHW = F.pad(features[0], (pad_w, pad_w, pad_h, pad_h))
    # With the padding in front, the kernel of a cell begins at the cell's own index.
    row_NK = mask_h_idx[:, None] + torch.arange(kernel_h, device=features.device)
    column_NL = mask_w_idx[:, None] + torch.arange(kernel_w, device=features.device)
    patch_CNKL = padded_CHW[:, row_NK[:, :, None], column_NL[:, None]]
    data_col.copy_(patch_CNKL.permute(0, 2, 3, 1).reshape(data_col.shape))


def masked_col2im_forward(
    masked_output: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    output: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Writes the columns (C, N) to the chosen cells of `output` (1, C, H, W)."""
    output[0, :, mask_h_idx, mask_w_idx] = masked_output
