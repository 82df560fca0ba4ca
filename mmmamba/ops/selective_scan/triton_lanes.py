# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""What the lanes of a warp tell each other in the scan's backward kernel: weights, and sums."""

import triton
import triton.language as tl

from .triton_tiles import load_weights, stack


@triton.jit
def _other_lane(x, BIT: tl.constexpr):
    """x of the lane whose number differs in BIT; there is one element for each lane of a warp."""
    bits = tl.full(x.shape, BIT, tl.int32)
    return tl.inline_asm_elementwise(
        "shfl.sync.bfly.b32 $0, $1, $2, 0x1f, 0xffffffff;",
        "=f,f,r",
        [x, bits],
        tl.float32,
        False,
        1,
    )


@triton.jit
def weights_along(
    base,
    at_WT,
    there_WT,
    positions,
    reals,
    stride,
    n,
    TT: tl.constexpr,
    HOLES: tl.constexpr,
    SHUFFLE: tl.constexpr,
):
    """B or C of state n along a tile: TT rows `[W, 1]`, or with SHUFFLE `[W, lanes]` of one value.

    With SHUFFLE lane l loads that of step l % TT, and the others ask it: two pointers to keep
    instead of 2 TT.
    """
    rows = ()
    if SHUFFLE:
        weights_WT = tl.load(at_WT + n, mask=there_WT, other=0.0) if HOLES else tl.load(at_WT + n)
        weights_WT = weights_WT.to(tl.float32)
        for i in tl.static_range(TT):
            rows += (_of_lane(weights_WT, i),)
    else:
        weights = load_weights(base, positions, reals, stride, n, TT, HOLES)
        for i in tl.static_range(TT):
            rows += (weights[i][:, None],)
    return rows


@triton.jit
def _of_lane(x, LANE: tl.constexpr):
    """x of one lane for all lanes of its warp; there is one element for each lane."""
    lane = tl.full(x.shape, LANE, tl.int32)
    return tl.inline_asm_elementwise(
        "shfl.sync.idx.b32 $0, $1, $2, 0x1f, 0xffffffff;", "=f,f,r", [x, lane], tl.float32, False, 1
    )


@triton.jit
def _fold(rows, lane, COUNT: tl.constexpr):
    """One row made of COUNT rows `[W, lanes]`: lane l holds a part of the sum of row l % COUNT."""
    if COUNT == 1:
        return rows[0]
    else:
        low = _fold(rows[: COUNT // 2], lane, COUNT // 2)
        high = _fold(rows[COUNT // 2 :], lane, COUNT // 2)
        upper = (lane & (COUNT // 2)) != 0
        return tl.where(upper, high, low) + _other_lane(tl.where(upper, low, high), COUNT // 2)


@triton.jit
def sums_of_rows(
    rows, lane, TT: tl.constexpr, W: tl.constexpr, V: tl.constexpr, FOLD: tl.constexpr
):
    """Sums over channels of TT rows `[W, DB]`: `[W, TT]`, or with FOLD `[W, DB / V]`.

    With FOLD lane l holds the sum of row l % TT. Halving the rows with each exchange between lanes
    takes 16 exchanges for 16 rows, where row by row takes 80.
    """
    sums = ()
    if FOLD:
        for i in tl.static_range(TT):
            row = rows[i]
            if V > 1:
                row = tl.sum(tl.reshape(row, [W, row.shape[1] // V, V]), 2)
            sums += (row,)
        total = _fold(sums, lane, TT)
        # Lanes that differ in the bits above TT still hold parts of the same row.
        if TT <= 16:
            total += _other_lane(total, 16)
        if TT <= 8:
            total += _other_lane(total, 8)
        return total
    else:
        for i in tl.static_range(TT):
            sums += (tl.sum(rows[i], 1),)
        return stack(sums, TT)
