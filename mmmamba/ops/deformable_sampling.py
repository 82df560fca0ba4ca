"""Multi-scale deformable attention's reading of maps (Zhu et al., arXiv 2010.04159, section 4.1).

Every query looks at a few points of several maps, at distances that it has chosen itself from the
middle of its own cell. On CUDA one kernel makes shares and places and reads the maps where they
lie; PyTorch's operators would write each read value, and each map head by head, first.

Shape suffixes: B batch, S cells of all maps, C channels, Q queries, M heads, D = C / M, L maps, P
points; E = M L P.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import full_precision
from .derivatives import differentiated_again, gradients, transformed, watched
from .launch import DTYPES, HAS_TRITON
from .library import below_autograd, differentiate, refuse_derivatives, register
from .lowering import lowers

MAX_MAPS = 4
"""Maps, and grids of queries, that the kernels have arguments for."""

Sizes = tuple[tuple[int, int], ...]


class Layout(NamedTuple):
    """What lies where: sizes (H, W) of the maps and of the grids of queries, and the heads."""

    maps: Sizes
    grids: Sizes
    heads: int

    def as_numbers(self) -> tuple[list[int], list[int], int]:
        """The same as an operator's schema takes it: sides of maps, sides of grids, heads."""
        return [*chain(*self.maps)], [*chain(*self.grids)], self.heads


def _layout(maps: Sequence[int], grids: Sequence[int], heads: int) -> Layout:
    return Layout(tuple(zip(maps[::2], maps[1::2])), tuple(zip(grids[::2], grids[1::2])), heads)


def deformable_sampling(
    value_BSC: Tensor,
    offsets: Tensor,
    logits_BQE: Tensor,
    maps: Sequence[tuple[int, int]],
    grids: Sequence[tuple[int, int]],
    heads: int,
) -> Tensor:
    """What the queries read, `(B, Q, C)` in the value's dtype; computed in float32 or better.

    Head m of query q sums `softmax(logits)[m, l, p] * value[m, l](place)` over maps l and points p,
    the value between cells bilinear and zero beyond the map. The place is the middle of q's cell on
    its own grid, in the same proportion on map l, and from there `offsets[m, l, p]` cells on.

    Args:
        value_BSC: cells of all maps, one map after another, each row-major.
        offsets: `(B, Q, 2 E)`, by head, map and point, in cells: to the right, then down.
        logits_BQE: by head, map and point.
        maps: (H, W) of each map.
        grids: (H, W) of the grids whose cells are the queries, one after another.
        heads: M.

    Raises:
        ValueError: shapes that do not fit.
    """
    layout = Layout(tuple(maps), tuple(grids), heads)
    _check(value_BSC, offsets, logits_BQE, layout)
    given = value_BSC, offsets, logits_BQE
    if lowers():
        return _plain(*given, layout)
    if transformed():
        return _gathered(*given, layout)
    if value_BSC.is_cuda and torch.are_deterministic_algorithms_enabled():
        # The kernels add gradients of cells in any order, and so does PyTorch's `grid_sample`.
        return _gathered(*given, layout)
    if torch.compiler.is_compiling():
        return sampling_op(*given, *layout.as_numbers())
    if _kernels_take(*given, layout) and not watched():
        return _Fused.apply(*given, layout)
    return _plain(*given, layout)


def _check(value_BSC: Tensor, offsets: Tensor, logits_BQE: Tensor, layout: Layout) -> None:
    B, S, C = value_BSC.shape
    Q, E = logits_BQE.shape[1:]
    cells, queries = _cells(layout.maps), _cells(layout.grids)
    if value_BSC.shape[1] != cells or logits_BQE.shape[1] != queries:
        raise ValueError(
            f"deformable_sampling: {S} cells and {Q} queries, wanted {cells} for maps "
            f"{layout.maps} and {queries} for grids {layout.grids}"
        )
    if C % layout.heads or E % (layout.heads * len(layout.maps)):
        raise ValueError(
            f"deformable_sampling: {C} channels and {E} logits a query, wanted multiples of "
            f"{layout.heads} heads, of {layout.heads} heads times {len(layout.maps)} maps"
        )
    if logits_BQE.shape[0] != B or offsets.shape != (B, Q, 2 * E):
        raise ValueError(
            f"deformable_sampling: logits are {tuple(logits_BQE.shape)} and offsets "
            f"{tuple(offsets.shape)}, wanted {(B, Q, E)} and {(B, Q, 2 * E)}"
        )


def _cells(sizes: Sizes) -> int:
    return sum(H * W for H, W in sizes)


def _kernels_take(value_BSC: Tensor, offsets: Tensor, logits_BQE: Tensor, layout: Layout) -> bool:
    known = all(x.dtype in DTYPES for x in (value_BSC, offsets, logits_BQE))
    few = max(len(layout.maps), len(layout.grids)) <= MAX_MAPS
    return HAS_TRITON and value_BSC.is_cuda and known and few


class _Points(NamedTuple):
    """Where the queries look, in float32 or better."""

    share_BQMLP: Tensor
    offset_BQMLP2: Tensor
    middle_Q2: Tensor

    def of(self, level: int, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Shares on a map, and places, x and y in cells from the middle of the first."""
        height, width = size
        x_Q, y_Q = self.middle_Q2.unbind(-1)
        dx, dy = self.offset_BQMLP2[..., level, :, :].unbind(-1)
        x, y = (x_Q * width - 0.5)[:, None, None] + dx, (y_Q * height - 0.5)[:, None, None] + dy
        return self.share_BQMLP[..., level, :], x, y


def _points(offsets: Tensor, logits_BQE: Tensor, layout: Layout) -> _Points:
    offsets, logits_BQE = full_precision(offsets), full_precision(logits_BQE)
    share_BQME = logits_BQE.unflatten(-1, (layout.heads, -1)).softmax(-1)
    share = share_BQME.unflatten(-1, (len(layout.maps), -1))
    middle_Q2 = torch.cat([_middles(H, W, offsets) for H, W in layout.grids])
    return _Points(share, offsets.reshape(*share.shape, 2), middle_Q2)


def _middles(height: int, width: int, like: Tensor) -> Tensor:
    """Middles of a grid's cells as parts of its sides, `(H W, 2)`: from the left, from the top."""
    x_W, y_H = (
        (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side
        for side in (width, height)
    )
    return torch.stack(torch.broadcast_tensors(x_W[None], y_H[:, None]), -1).flatten(0, 1)


def _plain(value_BSC: Tensor, offsets: Tensor, logits_BQE: Tensor, layout: Layout) -> Tensor:
    """The definition, by PyTorch's `grid_sample`, which cannot be differentiated twice."""
    points = _points(offsets, logits_BQE, layout)
    value_BSMD = full_precision(value_BSC).unflatten(-1, (layout.heads, -1))
    each = value_BSMD.split([H * W for H, W in layout.maps], 1)
    total_BMDQ: Tensor | float = 0.0
    for level, (level_BSMD, (H, W)) in enumerate(zip(each, layout.maps)):
        maps = level_BSMD.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, (H, W))
        share_BQMP, x, y = points.of(level, (H, W))
        # From cells to what `grid_sample` counts in: -1 and 1 are the outer edges of the map.
        places = torch.stack([(2 * x + 1) / W - 1, (2 * y + 1) / H - 1], -1)
        places = places.transpose(1, 2).flatten(0, 1)
        read = F.grid_sample(maps, places.to(maps.dtype), "bilinear", "zeros", align_corners=False)
        read_BMDQP = read.unflatten(0, (-1, layout.heads))
        total_BMDQ = total_BMDQ + (read_BMDQP * share_BQMP.transpose(1, 2)[:, :, None]).sum(-1)
    assert isinstance(total_BMDQ, Tensor)
    return total_BMDQ.permute(0, 3, 1, 2).flatten(2).to(value_BSC.dtype)


def _gathered(value_BSC: Tensor, offsets: Tensor, logits_BQE: Tensor, layout: Layout) -> Tensor:
    """The same, corner by corner from a table: it has derivatives of any order.

    Their sums have one order on a GPU, too.
    """
    points = _points(offsets, logits_BQE, layout)
    B, S = value_BSC.shape[:2]
    heads = torch.arange(layout.heads, device=value_BSC.device)[:, None]
    images = torch.arange(B, device=value_BSC.device)[:, None, None, None] * S
    table_RD = full_precision(value_BSC).reshape(B * S * layout.heads, -1)
    total_BQMD: Tensor | float = 0.0
    start = 0
    for level, (H, W) in enumerate(layout.maps):
        share_BQMP, x, y = points.of(level, (H, W))
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            column, row = x.detach().floor() + right, y.detach().floor() + down
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
            cell = images + start + (row.clamp(0, H - 1) * W + column.clamp(0, W - 1)).long()
            weight = share_BQMP * weight * inside
            read_BQMPD = F.embedding(cell * layout.heads + heads, table_RD)
            total_BQMD = total_BQMD + (weight[..., None] * read_BQMPD).sum(-2)
        start += H * W
    assert isinstance(total_BQMD, Tensor)
    return total_BQMD.flatten(2).to(value_BSC.dtype)


def _sampling(
    value_BSC: Tensor,
    offsets: Tensor,
    logits_BQE: Tensor,
    maps: list[int],
    grids: list[int],
    heads: int,
) -> Tensor:
    """The operator's body."""
    given, layout = (value_BSC, offsets, logits_BQE), _layout(maps, grids, heads)
    if not _kernels_take(*given, layout):
        return _plain(*given, layout)
    from .kernels.deformable_sampling import forward

    return forward(*given, layout)


sampling_op = register("deformable_sampling", _sampling)


@torch.library.register_fake("mmmamba::deformable_sampling")
def _(value_BSC, offsets, logits_BQE, maps, grids, heads):
    return value_BSC.new_empty(*logits_BQE.shape[:2], value_BSC.shape[2])


def _sampling_backward(
    grad: Tensor,
    value_BSC: Tensor,
    offsets: Tensor,
    logits_BQE: Tensor,
    maps: list[int],
    grids: list[int],
    heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The body of what gives the kernels' gradients."""
    from .kernels.deformable_sampling import backward

    return backward(grad, value_BSC, offsets, logits_BQE, _layout(maps, grids, heads))


sampling_backward_op = register("deformable_sampling_backward", _sampling_backward)
refuse_derivatives(sampling_backward_op, "deformable_sampling")


@torch.library.register_fake("mmmamba::deformable_sampling_backward")
def _(grad, *given):
    return tuple(x.new_empty(x.shape) for x in given[:3])


class _Fused(torch.autograd.Function):
    """The kernels without the dispatcher."""

    @staticmethod
    def forward(ctx, value_BSC, offsets, logits_BQE, layout):
        from .kernels.deformable_sampling import forward

        ctx.save_for_backward(value_BSC, offsets, logits_BQE)
        ctx.layout = layout
        return forward(value_BSC, offsets, logits_BQE, layout)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return *_by_formula(ctx, grad, _gathered), None
        from .kernels.deformable_sampling import backward

        return *backward(grad, *ctx.saved_tensors, ctx.layout), None


class _Watched(torch.autograd.Function):
    """The operator, as a compiler sees it."""

    @staticmethod
    def forward(ctx, *inputs):
        ctx.save_for_backward(*inputs[:3])
        ctx.layout = _layout(*inputs[3:])
        return below_autograd(sampling_op, *inputs)

    @staticmethod
    def backward(ctx, grad):
        given, layout = ctx.saved_tensors, ctx.layout
        if differentiated_again(grad):
            found = _by_formula(ctx, grad, _gathered)
        elif _kernels_take(*given, layout):
            found = sampling_backward_op(grad, *given, *layout.as_numbers())
        else:
            found = _by_formula(ctx, grad, _plain)
        return *found, None, None, None


def _by_formula(ctx, grad: Tensor, formula: Callable[..., Tensor]) -> tuple[Tensor | None, ...]:
    """Gradients by PyTorch's operators."""
    return gradients(
        lambda *given: formula(*given, ctx.layout),
        ctx.saved_tensors,
        ctx.needs_input_grad[:3],
        grad,
    )


def _plain_op(value_BSC: Tensor, offsets: Tensor, logits_BQE: Tensor, *numbers) -> Tensor:
    return _gathered(value_BSC, offsets, logits_BQE, _layout(*numbers))


differentiate(sampling_op, _Watched, _plain_op)
