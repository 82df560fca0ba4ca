"""RoIAlign (He et al. 2017, section 3) of regions on several maps in one kernel.

The maps' levels are looked up where the regions are: nothing is sorted or counted, and nothing
waits for the GPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .derivatives import watched
from .launch import DTYPES, HAS_TRITON
from .library import register
from .lowered_pooling import lowered_pooling
from .lowering import unrolls

MAX_LEVELS = 4


def pools_pyramid(maps: Sequence[Tensor]) -> bool:
    """Whether `pyramid_roi_align` takes these maps, here and now.

    Not on a CPU; not where a compiler, a counter of operators or a transform looks on; not where
    algorithms are to be deterministic, as its backward pass adds in any order.
    """
    return (
        HAS_TRITON
        and 1 <= len(maps) <= MAX_LEVELS
        and all(one.is_cuda and one.dtype in DTYPES for one in maps)
        and len({one.dtype for one in maps}) == 1
        and not torch.are_deterministic_algorithms_enabled()
        and not watched()
    )


def pyramid_roi_align(
    maps: Sequence[Tensor],
    rois_R5: Tensor,
    level_R: Tensor,
    size: tuple[int, int],
    scales: Sequence[float],
) -> Tensor:
    """Features of regions, `(R, C, *size)` in the maps' dtype, channels last; sums in float32.

    This is `torchvision.ops.roi_align` with `aligned=True` and its default `sampling_ratio`, about
    one sample a cell. Gradients are those of the maps; regions have none.

    Args:
        maps: `(B, C, H, W)` of each level; `pools_pyramid` says whether they will do.
        rois_R5: image, x1, y1, x2, y2 in pixels.
        level_R: the map of each region, counted from 0.
        scales: of each level, cells to a pixel.
    """
    rois_R5 = rois_R5.float().contiguous()
    return _Pool.apply(rois_R5, level_R.contiguous(), size, tuple(scales), *maps)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rois_R5, level_R, size, scales, *maps):
        from .kernels.roi_align import forward

        # The backward pass wants the maps' sizes alone.
        ctx.save_for_backward(rois_R5, level_R)
        ctx.shapes, ctx.scales = [one.shape for one in maps], scales
        maps = [one.contiguous(memory_format=torch.channels_last) for one in maps]
        return forward(maps, rois_R5, level_R, size, scales)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        from .kernels.roi_align import backward

        grads = backward(grad, ctx.shapes, *ctx.saved_tensors, ctx.scales)
        return None, None, None, None, *(one.to(grad.dtype) for one in grads)


def pool_regions(
    maps: Sequence[Tensor],
    rois_R5: Tensor,
    level_R: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int = 0,
) -> Tensor:
    """`pyramid_roi_align` for a graph that is traced, on any device and without gradients.

    Args:
        sampling_ratio: samples along each side of a bin; 0 for about one a cell.
    """
    pool = lowered_pooling if unrolls() else pool_regions_op
    return pool(maps, rois_R5, level_R, size, scales, sampling_ratio)


def _pool_regions(
    maps: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int = 0,
) -> Tensor:
    if sampling_ratio == 0 and pools_pyramid(maps):
        return pyramid_roi_align(maps, rois, level, (size[0], size[1]), scales)
    import torchvision  # noqa: F401  (torch.ops.torchvision)

    order_R = level.argsort(stable=True)
    counts = (level[:, None] == torch.arange(len(maps), device=level.device)).sum(0).tolist()
    pooled = [
        torch.ops.torchvision.roi_align(one, part, scale, *size, sampling_ratio, True)
        for one, part, scale in zip(maps, rois[order_R].split(counts), scales)
    ]
    # The argsort of an order undoes it.
    return torch.cat(pooled)[order_R.argsort()]


pool_regions_op = register("pool_regions", _pool_regions)
"""`pool_regions` as one node."""


@torch.library.register_fake("mmmamba::pool_regions")
def _fake(maps, rois, level, size, scales, sampling_ratio=0):
    return maps[0].new_empty(rois.shape[0], maps[0].shape[1], *size)
