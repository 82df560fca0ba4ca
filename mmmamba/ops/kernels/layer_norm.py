"""Triton kernels of `layer_norm`, with RMSNorm: whole rows in registers, read and written once.

The gradients of weight and bias are sums over rows: each of a fixed number of programs adds up its
own rows, and the programs' parts are added in order, so two runs are bit-equal. Widths are
constants of a kernel, as of a layer; the number of rows is an argument that is not specialised on,
so a new image size compiles nothing.

Shape suffixes: R rows of a tile, C width.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts


@dataclass(frozen=True)
class Config:
    """Elements of a tile and warps that share it."""

    elements: int
    warps: int


@cache
def options_of(config: Config, width: int) -> dict[str, int]:
    """The constants of a kernel: rows of a tile BR, and the width rounded up to a power of two."""
    BC = triton.next_power_of_2(width)
    return dict(
        C=width,
        BC=BC,
        BR=max(1, config.elements // BC),
        # Beyond 2048 columns a tile is one row, and gets a warp for each 512 of its elements.
        num_warps=max(config.warps, min(16, BC // 512)),
        # Half precision rounds a scaled branch before it is added, as PyTorch's operators do.
        enable_fp_fusion=False,
    )


FORWARD, BACKWARD = Config(2048, 4), Config(2048, 4)
PROGRAMS = 6
"""For each multiprocessor, in the backward pass."""

_FORWARD, _BACKWARD = Plans(), Plans()


def forward(
    x: Tensor,
    branch: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    out_dtype: torch.dtype,
    factor: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """y, the sum with the branch (None without one), and each row's mean and 1 / std.

    The latter are `(2, rows)` in float32. Without a bias it is RMSNorm, which knows no mean: then
    they are `(1, rows)`. The branch is multiplied by a `factor` `(B,)`, one for each image, and
    rounded to its dtype before it is added.
    """
    width = x.shape[-1]
    rows = x.numel() // width
    y = torch.empty(x.shape, dtype=out_dtype, device=x.device)
    sums = None
    if branch is not None:
        branch = branch.contiguous()
        total = torch.promote_types(x.dtype, branch.dtype)
        sums = torch.empty(x.shape, dtype=total, device=x.device)
    stats = torch.empty((1 if bias is None else 2, rows), dtype=torch.float32, device=x.device)
    if rows:
        x, weight = x.contiguous(), weight.contiguous()
        bias = None if bias is None else bias.contiguous()
        tensors = (x, branch, factor, weight, bias, y, sums, stats)
        each = _rows_of_each(rows, factor)
        key = (rows, each, width, eps, x.device, *[None if t is None else t.dtype for t in tensors])
        launch = _FORWARD.get(key)
        if launch is None:
            constants = dict(
                HAS_BRANCH=branch is not None, HAS_FACTOR=factor is not None, RMS=bias is None
            )
            launch = _FORWARD.keep(key, _plan_forward(rows, each, width, eps, x.device, constants))
        launch(*tensors)
    return y, sums, stats


def _rows_of_each(rows: int, factor: Tensor | None) -> int:
    """Rows of an image, which share a factor."""
    return rows if factor is None else rows // len(factor)


def _plan_forward(
    rows: int, each: int, width: int, eps: float, device: torch.device, constants: dict[str, bool]
) -> Launch:
    options = options_of(FORWARD, width)
    programs = ceil_div(rows, options["BR"])
    sizes = dict(rows=rows, each=each, eps=eps)
    return Launch(forward_kernel, device, programs, sizes, **options, **constants)


def backward(
    grad_y: Tensor,
    grad_sum: Tensor | None,
    normed: Tensor,
    stats: Tensor,
    weight: Tensor,
    x_dtype: torch.dtype,
    branch_dtype: torch.dtype | None,
    rms: bool = False,
    factor: Tensor | None = None,
) -> list[Tensor]:
    """Gradients of x, weight, bias, and of the branch where it is another than x's.

    It is where its dtype is, or with a factor. With `rms` there is no bias, and none of its
    gradient.

    `normed` is what was normalised: x, or its sum with the branch.
    """
    width = normed.shape[-1]
    rows = normed.numel() // width
    dx = torch.empty(normed.shape, dtype=x_dtype, device=normed.device)
    dbranch = None
    if factor is not None or branch_dtype not in (None, x_dtype):
        dbranch = torch.empty(normed.shape, dtype=branch_dtype, device=normed.device)
    grad_y, normed, weight = grad_y.contiguous(), normed.contiguous(), weight.contiguous()
    grad_sum = None if grad_sum is None else grad_sum.contiguous()
    tensors = (grad_y, grad_sum, normed, stats, weight, factor, dx, dbranch)
    each = _rows_of_each(rows, factor) if rows else 0
    kinds = [None if t is None else t.dtype for t in tensors]
    key = (rows, each, width, rms, normed.device, *kinds)
    plan = _BACKWARD.get(key)
    if plan is None:
        constants = dict(
            HAS_SUM=grad_sum is not None,
            HAS_FACTOR=factor is not None,
            SPLIT=dbranch is not None,
            RMS=rms,
        )
        plan = _plan_backward(rows, each, width, normed.device, constants)
        _BACKWARD.keep(key, plan)
    # No program adds to another's sum: atomic additions would come in another order each time.
    parts = torch.empty(plan.parts, dtype=torch.float32, device=normed.device)
    if rows:
        plan.launch(*tensors, parts)
    # Without rows there are no programs, and these sums over none of them are zeros.
    found = [dx, *add_parts(parts, weight.dtype)]
    return found if dbranch is None else [*found, dbranch]


class _BackwardPlan(NamedTuple):
    launch: Launch
    parts: tuple[int, int, int]
    """Shape of the programs' sums: program; weight and, where there is one, bias; width."""


def _plan_backward(
    rows: int, each: int, width: int, device: torch.device, constants: dict[str, bool]
) -> _BackwardPlan:
    options = options_of(BACKWARD, width)
    tiles = ceil_div(rows, options["BR"])
    programs = min(tiles, PROGRAMS * multiprocessors(device))
    launch = Launch(
        backward_kernel,
        device,
        programs,
        dict(rows=rows, each=each, tiles=tiles, programs=programs),
        **options,
        **constants,
    )
    return _BackwardPlan(launch, (programs, 1 if constants["RMS"] else 2, width))


@triton.jit
def _scaled(x_RC, like, factor, first, r, in_R, each):
    """Rows `first + r` by their images' factors, rounded as a product stored in `like` would be."""
    # One division in 64 bits, which takes long, and the others in 32.
    image = first // each
    image_R = image + ((first - image * each).to(tl.int32) + r) // each
    factor_R = tl.load(factor + image_R, mask=in_R, other=0.0).to(tl.float32)
    return (x_RC.to(tl.float32) * factor_R[:, None]).to(like.dtype.element_ty)


@triton.jit(do_not_specialize=["rows", "each"])
def forward_kernel(
    x,
    branch,
    factor,
    weight,
    bias,
    y,
    sums,
    stats,
    rows,
    each,
    eps,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
    HAS_BRANCH: tl.constexpr,
    HAS_FACTOR: tl.constexpr,
    RMS: tl.constexpr,
):
    """y, the sum with the branch, and what the way back wants to know of each row.

    The mean is taken off before squares are summed: a difference of two large sums would round away
    the variance of rows that stand far from zero.
    """
    c = tl.arange(0, BC)
    r = tl.arange(0, BR)
    # Offsets in 64 bits: rows times width may exceed 2**31.
    first = tl.program_id(0).to(tl.int64) * BR
    in_C, in_R = c < C, first + r < rows
    on_RC = in_R[:, None] & in_C[None, :]
    base, place_RC = first * C, r[:, None] * C + c[None, :]
    x_RC = tl.load(x + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
    if HAS_BRANCH:
        branch_RC = tl.load(branch + base + place_RC, mask=on_RC, other=0.0)
        if HAS_FACTOR:
            branch_RC = _scaled(branch_RC, branch, factor, first, r, in_R, each)
        x_RC += branch_RC.to(tl.float32)
        # What is normalised is the sum as it is stored, from which the backward pass goes on.
        rounded_RC = x_RC.to(sums.dtype.element_ty)
        tl.store(sums + base + place_RC, rounded_RC, mask=on_RC)
        x_RC = rounded_RC.to(tl.float32)
    if not RMS:
        mean_R = tl.sum(x_RC, 1) / C
        tl.store(stats + first + r, mean_R, mask=in_R)
        stats += rows
        # Lanes beyond the row's end hold minus the mean by now, which must not count as a
        # deviation.
        x_RC = tl.where(in_C[None, :], x_RC - mean_R[:, None], 0.0)
    rstd_R = 1.0 / tl.sqrt(tl.sum(x_RC * x_RC, 1) / C + eps)
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    y_RC = x_RC * rstd_R[:, None] * weight_C[None, :]
    if not RMS:
        y_RC += tl.load(bias + c, mask=in_C, other=0.0).to(tl.float32)[None, :]
    tl.store(y + base + place_RC, y_RC.to(y.dtype.element_ty), mask=on_RC)
    tl.store(stats + first + r, rstd_R, mask=in_R)


@triton.jit(do_not_specialize=["rows", "each", "tiles", "programs"])
def backward_kernel(
    grad_y,
    grad_sum,
    normed,
    stats,
    weight,
    factor,
    dx,
    dbranch,
    parts,
    rows,
    each,
    tiles,
    programs,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
    HAS_SUM: tl.constexpr,
    HAS_FACTOR: tl.constexpr,
    SPLIT: tl.constexpr,
    RMS: tl.constexpr,
):
    """dx, with what reaches the sum directly; and this program's part of dweight and dbias."""
    c = tl.arange(0, BC)
    r = tl.arange(0, BR)
    in_C = c < C
    place_RC = r[:, None] * C + c[None, :]
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    means, rstds = stats, stats if RMS else stats + rows
    # Kept apart for each row of a tile, and added up across rows once, behind the loop.
    dweight_RC = tl.zeros([BR, BC], tl.float32)
    dbias_RC = tl.zeros([BR, BC], tl.float32)
    first = tl.program_id(0).to(tl.int64) * BR
    for _ in range(tl.program_id(0), tiles, programs):
        in_R = first + r < rows
        on_RC = in_R[:, None] & in_C[None, :]
        base = first * C
        dy_RC = tl.load(grad_y + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        x_RC = tl.load(normed + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        # Beyond the row's end dy is zero, so what stands in x_RC there counts nowhere.
        if not RMS:
            x_RC -= tl.load(means + first + r, mask=in_R, other=0.0)[:, None]
        rstd_R = tl.load(rstds + first + r, mask=in_R, other=0.0)
        x_RC *= rstd_R[:, None]
        dweight_RC += dy_RC * x_RC
        dbias_RC += dy_RC
        dy_RC *= weight_C[None, :]
        mean_dyx_R = tl.sum(dy_RC * x_RC, 1) / C
        if not RMS:
            dy_RC -= (tl.sum(dy_RC, 1) / C)[:, None]
        dx_RC = (dy_RC - x_RC * mean_dyx_R[:, None]) * rstd_R[:, None]
        # A gradient of the sum itself comes from the residual stream, past the normalisation.
        if HAS_SUM:
            dx_RC += tl.load(grad_sum + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        tl.store(dx + base + place_RC, dx_RC.to(dx.dtype.element_ty), mask=on_RC)
        if SPLIT:
            dbranch_RC = dx_RC.to(dbranch.dtype.element_ty)
            if HAS_FACTOR:
                dbranch_RC = _scaled(dbranch_RC, dbranch, factor, first, r, in_R, each)
            tl.store(dbranch + base + place_RC, dbranch_RC, mask=on_RC)
        first += programs * BR
    NUMBERS: tl.constexpr = C if RMS else 2 * C
    part_C = parts + tl.program_id(0) * NUMBERS + c
    tl.store(part_C, tl.sum(dweight_RC, 0), mask=in_C)
    if not RMS:
        tl.store(part_C + C, tl.sum(dbias_RC, 0), mask=in_C)
