"""Masks of boxes pasted into an image and thresholded, in one kernel that writes booleans alone."""

import torch
from torch import Tensor

from .launch import DTYPES, HAS_TRITON


def pastes_masks(masks: Tensor) -> bool:
    """Whether `paste_masks` takes these: on a GPU with Triton."""
    return HAS_TRITON and masks.is_cuda and masks.dtype in DTYPES


@torch.no_grad()
def paste_masks(
    masks_Nhw: Tensor, boxes_N4: Tensor, size: tuple[int, int], threshold: float
) -> Tensor:
    """Where the masks, stretched to their boxes, reach the threshold: `(N, *size)` of booleans.

    Between its pixels a mask is interpolated as `torch.nn.functional.grid_sample` with
    `align_corners=False` does it, in float32; beyond its outermost ones it falls to 0.

    Args:
        masks_Nhw: shares, between 0 and 1.
        boxes_N4: corners x1, y1, x2, y2 in pixels of the image.
        size: height and width of the image.
    """
    from .kernels.paste_masks import paste

    return paste(masks_Nhw.contiguous(), boxes_N4.float().contiguous(), size, threshold)
