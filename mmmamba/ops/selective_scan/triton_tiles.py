# mypy: disable-error-code="assignment, var-annotated, misc"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""What the Triton kernels share: rows of channels along a route, and the recurrence in a tile.

A tile is W pieces of TT consecutive steps of a route by DB channels, held as TT rows `[W, DB]`:
Triton's default layout gives each piece to one warp and each lane V channels, so a lane walks its
TT steps in registers, and only the ends of the W pieces meet through shared memory. Within a tile
each piece is walked twice: once from zero for its end, once from the state that enters it. All
sizes but the tile's are run-time arguments that are not specialised on, so a new image size
compiles nothing.
"""

import os

import triton
import triton.language as tl

# Not the one of `triton_choice`: kernels may read only those globals that are constexpr.
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter runs the kernels on a CPU."""

LOG2E = tl.constexpr(1.4426950408889634)
"""Decays are computed as powers of two, from A times this: the hardware has no other."""

LN2 = tl.constexpr(0.6931471805599453)

MAPS = ("x", "u", "delta", "weight", "B", "C", "y", "dy", "du", "ddelta")
"""Tensors whose strides of batch, position and route are arguments, `x_b`, `x_l` and `x_k`."""

COUNTS = ["steps", "length", "channels", "d_state", "routes", "chunks", "tiles", "given", "first"]
SIZES = [*COUNTS, "walked", "states_bk", "states_chunk", "states_piece"]
SIZES += [f"{name}_{axis}" for name in MAPS for axis in "blk"]
"""Arguments that no kernel is specialised on."""


@triton.jit
def position(index, t_W, steps, HAS_INDEX: tl.constexpr, HOLES: tl.constexpr):
    """Positions at steps t, and which of them are real.

    Holes and steps beyond the route have positions within the map too, so that loads need no mask
    for their addresses.
    """
    real_W = t_W < steps
    pos_W = tl.minimum(t_W, steps - 1)
    if HAS_INDEX:
        pos_W = tl.load(index + pos_W)
        if HOLES:
            real_W = real_W & (pos_W >= 0)
            pos_W = tl.maximum(pos_W, 0)
    return pos_W.to(tl.int32), real_W


@triton.jit
def own_position(t_W, pos_W, steps, CARRIED: tl.constexpr):
    """Where step sizes, B and C of steps t are read: there too, or CARRIED past the map's order."""
    if CARRIED:
        return tl.minimum(t_W, steps - 1).to(tl.int32)
    else:
        return pos_W


@triton.jit
def entries(base, pos, stride, V: tl.constexpr = 1):
    """Pointers to entries `stride` elements apart, less than 2 GiB.

    V neighbours of those `[W, DB]` are one access. The offset is a product of 32 bits by 32, which
    the pointer's sum in 64 makes one instruction with. From pointers to elements and a stride that
    does not change in a loop LLVM makes three, or six in 64 bits: a quarter of a kernel.
    """
    TYPE: tl.constexpr = base.dtype.scalar.element_ty
    SIZE: tl.constexpr = TYPE.primitive_bitwidth // 8
    stride = (stride * SIZE).to(tl.int32)
    if INTERPRETED:
        offset = pos.to(tl.int64) * stride
    else:
        offset = tl.inline_asm_elementwise(
            "mul.wide.s32 $0, $1, $2;", "=l,r,r", [pos, stride], tl.int64, True, 1
        )
    entry = (base.to(tl.pointer_type(tl.int8), bitcast=True) + offset).to(
        tl.pointer_type(TYPE), bitcast=True
    )
    if V > 1 and pos.shape[0] > 1:
        # Triton forgets this of pointers to bytes, and whatever a function's caller says of its
        # result. With one piece states would lie in other lanes than rows.
        entry = tl.max_contiguous(tl.multiple_of(entry, [1, V * SIZE]), [1, V])
    return entry


@triton.jit
def row_pointers(base_1D, pos_W, stride, V: tl.constexpr):
    """Pointers to rows of channels, `[W, DB]`; the host has checked that V divides the stride."""
    return entries(base_1D, pos_W[:, None], stride, V)


@triton.jit
def load_row(pointers, real_W, d_in_D, HOLES: tl.constexpr, EVEN: tl.constexpr):
    """A row in float32; zero in holes and beyond the channels."""
    return load_as_stored(pointers, real_W, d_in_D, HOLES, EVEN).to(tl.float32)


@triton.jit
def load_as_stored(pointers, real_W, d_in_D, HOLES: tl.constexpr, EVEN: tl.constexpr):
    """`load_row` in the row's own dtype, which takes fewer registers.

    EVEN: all channels of the block exist, so that nothing is masked for them.
    """
    if HOLES:
        if EVEN:
            return tl.load(pointers, mask=real_W[:, None], other=0.0)
        else:
            return tl.load(pointers, mask=real_W[:, None] & d_in_D[None, :], other=0.0)
    elif EVEN:
        return tl.load(pointers)
    else:
        return tl.load(pointers, mask=d_in_D[None, :], other=0.0)


@triton.jit
def power_of_two(x):
    """2**x by the hardware's instruction; results below 2**-126 become zero."""
    if INTERPRETED:
        return tl.exp2(x)
    else:
        return tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1
        )


@triton.jit
def softplus(x2, PRECISE: tl.constexpr):
    """log2(1 + 2**x2), and the identity above 20 LOG2E, as PyTorch.

    PRECISE keeps the relative error small below 0, where 1 + 2**x2 rounds away what counts; half
    precision would not hold it anyway.
    """
    e = power_of_two(x2)
    if INTERPRETED:
        log = tl.log(1.0 + e) * LOG2E
    else:
        log = tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + e], tl.float32, True, 1
        )
    if PRECISE:
        # log(1 + e) to five terms; what is left out is 2e-6 of it at e = 0.1.
        series = e * (1.0 - e * (0.5 - e * (0.33333334 - e * (0.25 - e * 0.2))))
        log = tl.where(e < 0.1, series * LOG2E, log)
    return tl.where(x2 > 20.0 * LOG2E, x2, log)


@triton.jit
def step_size(raw_WD, bias_D, SOFTPLUS: tl.constexpr, PRECISE: tl.constexpr):
    """delta from its raw value, and the logarithm to base 2 of its derivative by that."""
    if SOFTPLUS:
        # exp(x) / (1 + exp(x)), and 1 where softplus is the identity.
        x2_WD = raw_WD * LOG2E + (bias_D * LOG2E)[None, :]
        delta2_WD = softplus(x2_WD, PRECISE)
        return delta2_WD * LN2, x2_WD - delta2_WD
    else:
        return raw_WD + bias_D[None, :], tl.zeros_like(raw_WD)


@triton.jit
def then_with_before(a1, b1, x1, y1, a2, b2, x2, y2):
    """The map x -> a1 x + b1, then x -> a2 x + b2.

    (x, y) is the map up to but not including the last step: what enters it, not what leaves.
    """
    return a1 * a2, a2 * b1 + b2, a1 * x2, x2 * b1 + y2


@triton.jit
def join(p_WD, h_WD, entry_1D, W: tl.constexpr, REVERSE: tl.constexpr):
    """States that enter the W pieces, `[W, DB]`, and the one that leaves the last, `[1, DB]`.

    p is each piece's whole decay, h its end from a zero state.
    """
    if W == 1:
        return entry_1D, h_WD + p_WD * entry_1D
    else:
        # The second pair begins as the identity: one scan gives what enters and what leaves.
        one, zero = tl.full(p_WD.shape, 1.0, tl.float32), tl.full(p_WD.shape, 0.0, tl.float32)
        p, h, px, hx = tl.associative_scan(
            (p_WD, h_WD, one, zero), 0, then_with_before, reverse=REVERSE
        )
        # Triton cannot take one row of a tensor: it is what is left of a sum over all.
        last_piece = tl.arange(0, W)[:, None] == (0 if REVERSE else W - 1)
        leave_D = tl.sum(tl.where(last_piece, h + p * entry_1D, 0.0), 0)
        return hx + px * entry_1D, leave_D[None, :]


@triton.jit
def load_weights(base, positions, reals, stride, n, TT: tl.constexpr, HOLES: tl.constexpr):
    """B or C of state n along a tile: TT times `[W]` float32, zero in holes."""
    rows = ()
    for i in tl.static_range(TT):
        entry_W = entries(base, positions[i], stride) + n
        if HOLES:
            rows += (tl.load(entry_W, mask=reals[i], other=0.0).to(tl.float32),)
        else:
            rows += (tl.load(entry_W).to(tl.float32),)
    return rows


@triton.jit
def stack(rows, TT: tl.constexpr):
    """TT tensors `[W]` as one, `[W, TT]`; TT is a power of two."""
    if TT == 1:
        return rows[0][:, None]
    else:
        # Each join adds a last dimension of 2. Rows half a tile apart meet first, which puts the
        # flattened dimensions in the order of the rows.
        half = ()
        for i in tl.static_range(TT // 2):
            half += (tl.join(rows[i], rows[i + TT // 2]),)
        if TT > 2:
            half = _join_pairs(half, TT // 2)
        return tl.reshape(half[0], [rows[0].shape[0], TT])


@triton.jit
def _join_pairs(rows, count: tl.constexpr):
    half = ()
    for i in tl.static_range(count // 2):
        half += (tl.join(rows[i], rows[i + count // 2]),)
    if count > 2:
        half = _join_pairs(half, count // 2)
    return half
