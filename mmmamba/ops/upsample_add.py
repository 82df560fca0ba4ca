"""A map and a coarser one of about half its sides, added: one kernel on CUDA.

PyTorch's interpolation writes a whole map that the sum reads again, and its gradient of the
bilinear kind is added up by atomic operations, in another order in each run.
"""

import torch.nn.functional as F
from torch import Tensor

MODES = ("nearest", "bilinear")


def upsample_add(fine_BHWC: Tensor, coarse_BhwC: Tensor, mode: str) -> Tensor:
    """`fine + resize(coarse)` in fine's dtype.

    Args:
        coarse_BhwC: of half the sides, rounded up.
        mode: "nearest" (cell (r, c) reads (r // 2, c // 2)) or "bilinear" (corners not aligned).

    Raises:
        ValueError: another mode, or a coarse map of other sides.
    """
    _check(fine_BHWC, coarse_BhwC, mode)
    return _plain(fine_BHWC, coarse_BhwC, mode)


def _check(fine: Tensor, coarse: Tensor, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"upsample_add: mode is {mode!r}, wanted one of {MODES}")
    B, H, W, C = fine.shape
    wanted = (B, (H + 1) // 2, (W + 1) // 2, C)
    if coarse.shape != wanted:
        raise ValueError(
            f"upsample_add: the coarse map is {tuple(coarse.shape)}, but a map {tuple(fine.shape)} "
            f"wants {wanted}"
        )


def _plain(fine: Tensor, coarse: Tensor, mode: str) -> Tensor:
    corners = None if mode == "nearest" else False
    coarse_BChw = coarse.permute(0, 3, 1, 2)
    up = F.interpolate(coarse_BChw, fine.shape[1:3], mode=mode, align_corners=corners)
    return fine + up.permute(0, 2, 3, 1).to(fine.dtype)
