# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tensors in loops, which Python's types cannot follow.
"""Kernels of `deformable_sampling`: a program takes some queries of all images, and one head.

Its queries' points are gone through one after another, four cells each. Shares are made here of the
logits, and places of the queries' numbers, so that nothing but the inputs is read. Shape suffixes:
Q queries of a program, P points on all maps, D channels of the head.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

QUERIES = 16
"""That a program takes."""
MAPS = 4
"""Which the kernels have arguments for: `MAX_MAPS` of `ops/deformable_sampling.py`."""
SIZES = [f"{kind}{side}{i}" for kind in "mg" for i in range(MAPS) for side in "hw"]
SIZES += ["rows", "queries", "cells"]
"""Arguments that no kernel is specialised on: sides of maps and of grids, then lengths."""
_PLANS = Plans()


def forward(value: Tensor, offsets: Tensor, logits: Tensor, layout) -> Tensor:
    """What the queries read, `(B, Q, C)` in the value's dtype.

    Args:
        layout: a `Layout`, whose fields say how the tensors of `deformable_sampling` are cut.
    """
    shape = (*logits.shape[:2], value.shape[2])
    out = torch.empty(shape, dtype=value.dtype, device=value.device)
    given = [x.contiguous() for x in (value, offsets, logits)]
    if out.numel():
        _run(sampling_kernel, (*given, out), layout)
    return out


def backward(
    grad: Tensor, value: Tensor, offsets: Tensor, logits: Tensor, layout
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offsets and logits; that of the value is added up in any order."""
    given = [x.contiguous() for x in (value, offsets, logits, grad)]
    dvalue = torch.zeros(value.shape, dtype=torch.float32, device=value.device)
    doffsets, dlogits = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in given[1:3])
    if grad.numel():
        _run(sampling_backward_kernel, (*given, dvalue, doffsets, dlogits), layout)
    return dvalue.to(value.dtype), doffsets, dlogits


def _run(kernel, tensors: tuple[Tensor, ...], layout) -> None:
    value, _, logits = tensors[:3]
    key = (kernel.fn.__name__, layout, value.shape, logits.shape, value.device)
    key += tuple(x.dtype for x in tensors)
    launch = _PLANS.get(key) or _PLANS.keep(key, _plan(kernel, value, logits, layout))
    launch(*tensors)


def _plan(kernel, value: Tensor, logits: Tensor, layout) -> Launch:
    (B, S, C), (Q, E) = value.shape, logits.shape[1:]
    sizes = dict(rows=B * Q, queries=Q, cells=S)
    for kind, given in (("m", layout.maps), ("g", layout.grids)):
        for i in range(MAPS):
            # No query and no cell is of those beyond the last: any size will do, and divide.
            sizes[f"{kind}h{i}"], sizes[f"{kind}w{i}"] = given[i] if i < len(given) else (1, 1)
    levels, D = len(layout.maps), C // layout.heads
    points = E // layout.heads // levels
    return Launch(
        kernel,
        value.device,
        ceil_div(B * Q, QUERIES) * layout.heads,
        sizes,
        HEADS=layout.heads,
        LEVELS=levels,
        POINTS=points,
        D=D,
        DB=triton.next_power_of_2(D),
        PB=triton.next_power_of_2(levels * points),
        QB=QUERIES,
        num_warps=4,
    )


@triton.jit
def _middles(query, h0, w0, h1, w1, h2, w2, h3, w3):
    """Where the middles of the queries' cells lie on their own grids, as parts of its sides."""
    place = query
    h = h0 + query * 0
    w = w0 + query * 0
    start = h0 * w0
    h = tl.where(query >= start, h1, h)
    w = tl.where(query >= start, w1, w)
    place = tl.where(query >= start, query - start, place)
    start += h1 * w1
    h = tl.where(query >= start, h2, h)
    w = tl.where(query >= start, w2, w)
    place = tl.where(query >= start, query - start, place)
    start += h2 * w2
    h = tl.where(query >= start, h3, h)
    w = tl.where(query >= start, w3, w)
    place = tl.where(query >= start, query - start, place)
    x = ((place % w).to(tl.float32) + 0.5) / w.to(tl.float32)
    y = ((place // w).to(tl.float32) + 0.5) / h.to(tl.float32)
    return x, y


@triton.jit
def _shares(logits, row, head, on, LP: tl.constexpr, HEADS: tl.constexpr, PB: tl.constexpr):
    """The softmax of the queries' logits, `(Q, P)`."""
    p = tl.arange(0, PB)
    there = on[:, None] & (p < LP)[None, :]
    logit = tl.load(logits + (row * HEADS + head)[:, None] * LP + p[None, :], mask=there, other=0.0)
    logit = tl.where((p < LP)[None, :], logit.to(tl.float32), float("-inf"))
    power = tl.exp(logit - tl.max(logit, 1)[:, None])
    return power / tl.sum(power, 1)[:, None]


@triton.jit
def _side(at, length):
    """The cell before a place along one side, and how far behind its middle the place lies."""
    before = tl.floor(at)
    # Far beyond the map all is zero; so a distance that no integer holds becomes one that it does.
    cell = tl.minimum(tl.maximum(before, -2.0), length.to(tl.float32) + 1.0)
    return cell.to(tl.int32), at - before


@triton.jit
def _cells(cell, row, column, on_QD, height, width, d, C: tl.constexpr):
    """Places of channels in cells, and which of them there are."""
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return (cell + row * width + column)[:, None] * C + d[None, :], on_QD & there[:, None]


@triton.jit
def _weighed(value, cell, row, column, on_QD, height, width, d, weight, C: tl.constexpr):
    """What lies in cells, times a weight."""
    at, there = _cells(cell, row, column, on_QD, height, width, d, C)
    return weight[:, None] * tl.load(value + at, mask=there, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=SIZES)
def sampling_kernel(
    value,
    offsets,
    logits,
    out,
    mh0,
    mw0,
    mh1,
    mw1,
    mh2,
    mw2,
    mh3,
    mw3,
    gh0,
    gw0,
    gh1,
    gw1,
    gh2,
    gw2,
    gh3,
    gw3,
    rows,
    queries,
    cells,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    D: tl.constexpr,
    DB: tl.constexpr,
    PB: tl.constexpr,
    QB: tl.constexpr,
):
    C: tl.constexpr = HEADS * D
    LP: tl.constexpr = LEVELS * POINTS
    head = tl.program_id(0) % HEADS
    # In 64 bits, as the offsets that follow from it may need them.
    row = (tl.program_id(0) // HEADS).to(tl.int64) * QB + tl.arange(0, QB)
    on = row < rows
    d = tl.arange(0, DB)
    p = tl.arange(0, PB)
    across, down = _middles(row % queries, gh0, gw0, gh1, gw1, gh2, gw2, gh3, gw3)
    share_QP = _shares(logits, row, head, on, LP, HEADS, PB)
    on_QD = on[:, None] & (d < D)[None, :]
    c = head * D + d
    first = row // queries * cells
    total_QD = tl.zeros([QB, DB], tl.float32)
    for level in tl.static_range(LEVELS):
        height = mh0
        width = mw0
        if level == 1:
            height = mh1
            width = mw1
        if level == 2:
            height = mh2
            width = mw2
        if level == 3:
            height = mh3
            width = mw3
        for point in range(POINTS):
            number = level * POINTS + point
            share = tl.sum(tl.where((p == number)[None, :], share_QP, 0.0), 1)
            offset = offsets + ((row * HEADS + head) * LP + number) * 2
            dx = tl.load(offset, mask=on, other=0.0).to(tl.float32)
            dy = tl.load(offset + 1, mask=on, other=0.0).to(tl.float32)
            x, right = _side(across * width - 0.5 + dx, width)
            y, below = _side(down * height - 0.5 + dy, height)
            left = 1.0 - right
            above = 1.0 - below
            total_QD += _weighed(
                value, first, y, x, on_QD, height, width, c, share * above * left, C
            )
            total_QD += _weighed(
                value, first, y, x + 1, on_QD, height, width, c, share * above * right, C
            )
            total_QD += _weighed(
                value, first, y + 1, x, on_QD, height, width, c, share * below * left, C
            )
            total_QD += _weighed(
                value, first, y + 1, x + 1, on_QD, height, width, c, share * below * right, C
            )
        first += height * width
    place = out + row[:, None] * C + c[None, :]
    tl.store(place, total_QD.to(out.dtype.element_ty), mask=on_QD)


@triton.jit
def _pass_back(value, dvalue, place, there, weight, grad_QD):
    """Adds to the gradient of cells; what the gradient finds in them, summed over channels."""
    read_QD = tl.load(value + place, mask=there, other=0.0).to(tl.float32)
    tl.atomic_add(dvalue + place, weight[:, None] * grad_QD, mask=there, sem="relaxed")
    return tl.sum(read_QD * grad_QD, 1)


@triton.jit(do_not_specialize=SIZES)
def sampling_backward_kernel(
    value,
    offsets,
    logits,
    grad,
    dvalue,
    doffsets,
    dlogits,
    mh0,
    mw0,
    mh1,
    mw1,
    mh2,
    mw2,
    mh3,
    mw3,
    gh0,
    gw0,
    gh1,
    gw1,
    gh2,
    gw2,
    gh3,
    gw3,
    rows,
    queries,
    cells,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    D: tl.constexpr,
    DB: tl.constexpr,
    PB: tl.constexpr,
    QB: tl.constexpr,
):
    C: tl.constexpr = HEADS * D
    LP: tl.constexpr = LEVELS * POINTS
    head = tl.program_id(0) % HEADS
    row = (tl.program_id(0) // HEADS).to(tl.int64) * QB + tl.arange(0, QB)
    on = row < rows
    d = tl.arange(0, DB)
    p = tl.arange(0, PB)
    across, down = _middles(row % queries, gh0, gw0, gh1, gw1, gh2, gw2, gh3, gw3)
    share_QP = _shares(logits, row, head, on, LP, HEADS, PB)
    on_QD = on[:, None] & (d < D)[None, :]
    c = head * D + d
    first = row // queries * cells
    grad_QD = tl.load(grad + row[:, None] * C + c[None, :], mask=on_QD, other=0.0).to(tl.float32)
    # The gradient of each share, which those of all logits of a query wait for.
    dshare_QP = tl.zeros([QB, PB], tl.float32)
    for level in tl.static_range(LEVELS):
        height = mh0
        width = mw0
        if level == 1:
            height = mh1
            width = mw1
        if level == 2:
            height = mh2
            width = mw2
        if level == 3:
            height = mh3
            width = mw3
        for point in range(POINTS):
            number = level * POINTS + point
            share = tl.sum(tl.where((p == number)[None, :], share_QP, 0.0), 1)
            offset = ((row * HEADS + head) * LP + number) * 2
            dx = tl.load(offsets + offset, mask=on, other=0.0).to(tl.float32)
            dy = tl.load(offsets + offset + 1, mask=on, other=0.0).to(tl.float32)
            x, right = _side(across * width - 0.5 + dx, width)
            y, below = _side(down * height - 0.5 + dy, height)
            left = 1.0 - right
            above = 1.0 - below
            at, there = _cells(first, y, x, on_QD, height, width, c, C)
            found00 = _pass_back(value, dvalue, at, there, share * above * left, grad_QD)
            at, there = _cells(first, y, x + 1, on_QD, height, width, c, C)
            found01 = _pass_back(value, dvalue, at, there, share * above * right, grad_QD)
            at, there = _cells(first, y + 1, x, on_QD, height, width, c, C)
            found10 = _pass_back(value, dvalue, at, there, share * below * left, grad_QD)
            at, there = _cells(first, y + 1, x + 1, on_QD, height, width, c, C)
            found11 = _pass_back(value, dvalue, at, there, share * below * right, grad_QD)
            # Bilinear in both sides: along each the difference of what lies on the other's.
            slope_x = share * (above * (found01 - found00) + below * (found11 - found10))
            slope_y = share * (left * (found10 - found00) + right * (found11 - found01))
            at = doffsets + offset
            tl.store(at, slope_x.to(doffsets.dtype.element_ty), mask=on)
            tl.store(at + 1, slope_y.to(doffsets.dtype.element_ty), mask=on)
            upper = left * found00 + right * found01
            lower = left * found10 + right * found11
            dshare = above * upper + below * lower
            dshare_QP = tl.where((p == number)[None, :], dshare[:, None], dshare_QP)
        first += height * width
    mean = tl.sum(share_QP * dshare_QP, 1)
    dlogit_QP = share_QP * (dshare_QP - mean[:, None])
    at = dlogits + (row * HEADS + head)[:, None] * LP + p[None, :]
    there = on[:, None] & (p < LP)[None, :]
    tl.store(at, dlogit_QP.to(dlogits.dtype.element_ty), mask=there)
