"""The kernel of `paste_masks`: tiles of an image's pixels, each of one mask."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

ROWS, COLUMNS = 8, 128
FAR = tl.constexpr(-1e6)
"""Half the lengths of a mask from its middle: beyond it."""
_PLANS = Plans()


def paste(masks_Nhw: Tensor, boxes_N4: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Booleans `(N, *size)`, of contiguous masks, and boxes in float32."""
    number, (height, width) = len(masks_Nhw), size
    pasted = torch.empty(number, height, width, dtype=torch.int8, device=masks_Nhw.device)
    if pasted.numel():
        key = (masks_Nhw.shape, masks_Nhw.dtype, masks_Nhw.device, size, threshold)
        launch = _PLANS.get(key) or _PLANS.keep(key, _plan(masks_Nhw, size, threshold))
        launch(masks_Nhw, boxes_N4, pasted)
    # Bytes of 0 and 1 are PyTorch's booleans already.
    return pasted.view(torch.bool)


def _plan(masks_Nhw: Tensor, size: tuple[int, int], threshold: float) -> Launch:
    height, width = size
    return Launch(
        paste_kernel,
        masks_Nhw.device,
        len(masks_Nhw) * ceil_div(height, ROWS) * ceil_div(width, COLUMNS),
        dict(
            mask_height=masks_Nhw.shape[1],
            mask_width=masks_Nhw.shape[2],
            height=height,
            width=width,
            threshold=float(threshold),
        ),
        YB=ROWS,
        XB=COLUMNS,
        num_warps=4,
        # So that sums are rounded as PyTorch rounds them on a CPU.
        enable_fp_fusion=False,
    )


@triton.jit
def _place(pixel, begin, end, length):
    """Where pixels of the image lie in the mask along one axis, in pixels of the mask."""
    offset = pixel.to(tl.float32) + 0.5 - begin
    extent = end - begin + offset * 0.0
    flat = extent == 0
    at = tl.div_rn(offset, tl.where(flat, 1.0, extent)) * 2.0 - 1.0
    # A box without extent: all lies in the middle of the mask, but what lies on the box nowhere.
    at = tl.where(flat, tl.where(offset == 0, FAR, 0.0), at)
    return ((at + 1.0) * length - 1.0) * 0.5


@triton.jit
def _corner(mask, y, x, weight, height, width):
    """What the mask's pixels at y, x add; those beyond it nothing."""
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = tl.where(inside, y * width + x, 0.0).to(tl.int32)
    return tl.where(inside, tl.load(mask + at, mask=inside, other=0.0).to(tl.float32) * weight, 0.0)


@triton.jit(do_not_specialize=["mask_height", "mask_width", "height", "width", "threshold"])
def paste_kernel(
    masks,
    boxes,
    pasted,
    mask_height,
    mask_width,
    height,
    width,
    threshold,
    YB: tl.constexpr,
    XB: tl.constexpr,
):
    across = tl.cdiv(width, XB)
    tiles = tl.cdiv(height, YB) * across
    pid = tl.program_id(0)
    number = (pid // tiles).to(tl.int64)
    y = pid % tiles // across * YB + tl.arange(0, YB)
    x = pid % across * XB + tl.arange(0, XB)
    box = boxes + number * 4
    mask_y = _place(y, tl.load(box + 1), tl.load(box + 3), mask_height)[:, None]
    mask_x = _place(x, tl.load(box), tl.load(box + 2), mask_width)[None, :]
    mask = masks + number * mask_height * mask_width
    top = tl.floor(mask_y)
    left = tl.floor(mask_x)
    down = mask_y - top
    right = mask_x - left
    up = top + 1.0 - mask_y
    back = left + 1.0 - mask_x
    value = _corner(mask, top, left, up * back, mask_height, mask_width)
    value += _corner(mask, top, left + 1, up * right, mask_height, mask_width)
    value += _corner(mask, top + 1, left, down * back, mask_height, mask_width)
    value += _corner(mask, top + 1, left + 1, down * right, mask_height, mask_width)
    at = pasted + (number * height + y[:, None]) * width + x[None, :]
    there = (y < height)[:, None] & (x < width)[None, :]
    tl.store(at, (value >= threshold).to(tl.int8), mask=there)
