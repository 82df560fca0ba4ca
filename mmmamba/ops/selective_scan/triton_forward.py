# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of the forward pass, and the first two passes over chunks of either direction.

Suffixes as in `triton_tiles`: W pieces of a tile by D channels, 1D a row for all of them.
"""

import triton
import triton.language as tl

from .triton_tiles import (
    LOG2E,
    SIZES,
    join,
    load_row,
    load_weights,
    own_position,
    position,
    power_of_two,
    row_pointers,
    step_size,
    then_with_before,
)


@triton.jit
def _end(
    deltas,
    xs,
    weights,
    sum_WD,
    A_D,
    entry_1D,
    TT: tl.constexpr,
    W: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """What leaves a tile of one state, `[1, DB]`.

    In reverse the step's own decay applies to its input too, as in `chunk_ends_kernel`.
    """
    h_WD = tl.zeros_like(sum_WD)
    for i in tl.static_range(TT):
        a_WD = power_of_two(deltas[i] * A_D[None, :])
        if REVERSE:
            h_WD = a_WD * (h_WD + xs[i] * weights[i][:, None])
        else:
            h_WD = a_WD * h_WD + xs[i] * weights[i][:, None]
    # Never in reverse: pieces here are in the order of the walk, whichever way that goes.
    _, leave_1D = join(power_of_two(sum_WD * A_D[None, :]), h_WD, entry_1D, W, False)
    return leave_1D


@triton.jit(do_not_specialize=SIZES)
def chunk_ends_kernel(
    x,
    delta,
    A,
    weight,
    bias,
    index,
    ends,
    sums,
    x_b,
    x_l,
    x_k,
    delta_b,
    delta_l,
    delta_k,
    weight_b,
    weight_l,
    weight_k,
    states_bk,
    states_chunk,
    steps,
    channels,
    d_state,
    routes,
    chunks,
    tiles,
    TT: tl.constexpr,
    W: tl.constexpr,
    DB: tl.constexpr,
    V: tl.constexpr,
    SINGLE: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_INDEX: tl.constexpr,
    HOLES: tl.constexpr,
    CARRIED: tl.constexpr,
    EVEN: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """Each chunk walked from zero: its last state, `(B, K, chunks, N, D)`, and its sum of delta.

    Forward, x is u and the weight is B. In reverse, x is dy, the weight is C, and the state is the
    adjoint's q[t] = a[t] (C[t] dy[t] + q[t+1]).

    The sum of delta is all that is needed of a chunk's decay: exp(A delta) of all its steps
    multiplied is exp(A times the sum), for every state.
    """
    PRECISE: tl.constexpr = delta.dtype.element_ty == tl.float32
    blocks = tl.cdiv(channels, DB)
    # Neighbouring programs take neighbouring channels of the same steps, so that rows, B and C are
    # read from memory once and by the others from the cache.
    pid = tl.program_id(0)
    block, chunk, bk = pid % blocks, (pid // blocks) % chunks, pid // (blocks * chunks)
    batch, route = (bk // routes).to(tl.int64), (bk % routes).to(tl.int64)
    # These hints let V channels be one access; `choose_tile` has seen that they are true.
    d = tl.max_contiguous(tl.multiple_of(block * DB + tl.arange(0, DB), V), V)
    d_in = tl.max_constancy(d < channels, V)
    x_1D = x + tl.multiple_of(batch * x_b + route * x_k, V) + d[None, :]
    delta_1D = delta + tl.multiple_of(batch * delta_b + route * delta_k, V) + d[None, :]
    weight += batch * weight_b + route * weight_k
    if HAS_INDEX:
        index += route * steps
    A_D = A + route * d_state * channels + d
    ends_D = ends + bk.to(tl.int64) * states_bk + chunk.to(tl.int64) * states_chunk + d
    chunk_sum_D = tl.zeros([DB], tl.float32)
    carry_1D = tl.zeros([1, DB], tl.float32)
    first, last = chunk * tiles * (TT * W), (chunk + 1) * tiles * (TT * W) - 1
    # With one state it stays in registers from tile to tile; several would not fit, so each tile
    # reads and writes them where the ends go, which the first-level cache holds.
    for tile in range(0, tiles):
        bias_D = (
            tl.load(bias + route * channels + d, mask=d_in, other=0.0)
            if HAS_BIAS
            else tl.zeros([DB], tl.float32)
        )
        owns, reals, deltas, xs = (), (), (), ()
        sum_WD = tl.zeros([W, DB], tl.float32)
        for i in tl.static_range(TT):
            walked = tile * (TT * W) + tl.arange(0, W) * TT + i
            t_W = last - walked if REVERSE else first + walked
            pos_W, real_W = position(index, t_W, steps, HAS_INDEX, HOLES)
            own_W = own_position(t_W, pos_W, steps, CARRIED)
            x_WD = load_row(row_pointers(x_1D, pos_W, x_l, V), real_W, d_in, HOLES, EVEN)
            raw_WD = load_row(row_pointers(delta_1D, own_W, delta_l, V), real_W, d_in, HOLES, EVEN)
            delta_WD, _ = step_size(raw_WD, bias_D, SOFTPLUS, PRECISE)
            # Beyond the route zero, the step that changes nothing.
            delta_WD = tl.where((t_W < steps)[:, None], delta_WD, 0.0)
            sum_WD += delta_WD
            owns += (own_W,)
            reals += (real_W,)
            deltas += (delta_WD,)
            # Nothing may flow back from beyond the route.
            xs += (tl.where(real_W[:, None], x_WD, 0.0) if REVERSE else x_WD * delta_WD,)
        chunk_sum_D += tl.sum(sum_WD, 0)
        if SINGLE:
            weights = load_weights(weight, owns, reals, weight_l, 0, TT, HOLES)
            A_n_D = tl.load(A_D, mask=d_in, other=0.0) * LOG2E
            carry_1D = _end(deltas, xs, weights, sum_WD, A_n_D, carry_1D, TT, W, REVERSE)
        else:
            for n in range(0, d_state):
                weights = load_weights(weight, owns, reals, weight_l, n, TT, HOLES)
                A_n_D = tl.load(A_D + n * channels, mask=d_in, other=0.0) * LOG2E
                entry_1D = tl.load(
                    (ends_D + n * channels)[None, :], mask=d_in[None, :] & (tile > 0), other=0.0
                )
                leave_1D = _end(deltas, xs, weights, sum_WD, A_n_D, entry_1D, TT, W, REVERSE)
                tl.store((ends_D + n * channels)[None, :], leave_1D, mask=d_in[None, :])
            # The next tile reads what other warps of this program stored.
            tl.debug_barrier()
    if SINGLE:
        tl.store(ends_D[None, :], carry_1D, mask=d_in[None, :])
    tl.store(sums + (bk.to(tl.int64) * chunks + chunk) * channels + d, chunk_sum_D, mask=d_in)


@triton.jit(do_not_specialize=SIZES)
def carry_kernel(
    ends,
    sums,
    A,
    states_bk,
    states_chunk,
    channels,
    d_state,
    routes,
    chunks,
    CT: tl.constexpr,
    DB: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """Ends of chunks walked from zero become, in place, the states that enter them.

    A program takes one state of a block of channels and scans CT chunks at a time.
    """
    blocks = tl.cdiv(channels, DB)
    pid = tl.program_id(0)
    block, n, bk = pid % blocks, (pid // blocks) % d_state, pid // (blocks * d_state)
    d = block * DB + tl.arange(0, DB)
    d_in = d < channels
    A_D = tl.load(A + ((bk % routes) * d_state + n) * channels + d, mask=d_in, other=0.0) * LOG2E
    bk = bk.to(tl.int64)
    entry_1D = tl.zeros([1, DB], tl.float32)
    for first in range(0, chunks, CT):
        order = first + tl.arange(0, CT)
        c = (chunks - 1 - order if REVERSE else order).to(tl.int64)
        on = (order < chunks)[:, None] & d_in[None, :]
        ends_CD = ends + bk * states_bk + c[:, None] * states_chunk + n * channels + d[None, :]
        b = tl.load(ends_CD, mask=on, other=0.0)
        sum_CD = tl.load(
            sums + (bk * chunks + c[:, None]) * channels + d[None, :], mask=on, other=0.0
        )
        a = power_of_two(sum_CD * A_D[None, :])
        one, zero = tl.full([CT, DB], 1.0, tl.float32), tl.full([CT, DB], 0.0, tl.float32)
        p, h, px, hx = tl.associative_scan((a, b, one, zero), 0, then_with_before)
        tl.store(ends_CD, hx + px * entry_1D, mask=on)
        # Rows beyond the chunks are read as zeros, which make the map that changes nothing.
        last = (tl.arange(0, CT) == CT - 1)[:, None]
        entry_1D = tl.sum(tl.where(last, h + p * entry_1D, 0.0), 0)[None, :]


@triton.jit
def _outputs(ys, deltas, drives, Bs, Cs, sum_WD, A_D, entry_1D, TT: tl.constexpr, W: tl.constexpr):
    """y with one more state, what enters each piece, `[W, DB]`, and what leaves, `[1, DB]`.

    Pieces are walked twice: first from zero, for the states that enter them, then from these. A
    single piece is entered by what enters the tile, so it is walked once. Decays are kept between,
    because the exponentials take longer than all else.
    """
    decays = ()
    h_WD = tl.zeros_like(sum_WD)
    for i in tl.static_range(TT):
        a_WD = power_of_two(deltas[i] * A_D[None, :])
        decays += (a_WD,)
        if W > 1:
            h_WD = a_WD * h_WD + drives[i] * Bs[i][:, None]
    if W > 1:
        entry_WD, leave_1D = join(power_of_two(sum_WD * A_D[None, :]), h_WD, entry_1D, W, False)
    else:
        entry_WD = h_WD + entry_1D
    h_WD = entry_WD
    more = ()
    for i in tl.static_range(TT):
        h_WD = decays[i] * h_WD + drives[i] * Bs[i][:, None]
        more += (ys[i] + h_WD * Cs[i][:, None],)
    if W == 1:
        leave_1D = h_WD
    return more, entry_WD, leave_1D


@triton.jit(do_not_specialize=SIZES)
def scan_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    index,
    states,
    sums,
    y,
    u_b,
    u_l,
    u_k,
    delta_b,
    delta_l,
    delta_k,
    B_b,
    B_l,
    B_k,
    C_b,
    C_l,
    C_k,
    y_b,
    y_l,
    y_k,
    states_bk,
    states_chunk,
    states_piece,
    steps,
    channels,
    d_state,
    routes,
    chunks,
    tiles,
    given,
    first,
    walked,
    TT: tl.constexpr,
    W: tl.constexpr,
    DB: tl.constexpr,
    V: tl.constexpr,
    SINGLE: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_INDEX: tl.constexpr,
    HOLES: tl.constexpr,
    CARRIED: tl.constexpr,
    EVEN: tl.constexpr,
    HAS_D: tl.constexpr,
    KEEP: tl.constexpr,
    ADD: tl.constexpr,
):
    """Walks a chunk of one of `walked` routes from `first` on and writes its y.

    With ADD, y comes on top of `sums`. `states` holds the state that enters each chunk (taken as
    zero unless `given`), and with KEEP receives the one that enters each piece of a tile.
    """
    PRECISE: tl.constexpr = delta.dtype.element_ty == tl.float32
    blocks = tl.cdiv(channels, DB)
    # Neighbouring programs take neighbouring channels of the same steps, so that rows, B and C are
    # read from memory once and by the others from the cache.
    pid = tl.program_id(0)
    block, chunk, bk = pid % blocks, (pid // blocks) % chunks, pid // (blocks * chunks)
    batch, route = (bk // walked).to(tl.int64), (first + bk % walked).to(tl.int64)
    d = tl.max_contiguous(tl.multiple_of(block * DB + tl.arange(0, DB), V), V)
    d_in = tl.max_constancy(d < channels, V)
    u_1D = u + tl.multiple_of(batch * u_b + route * u_k, V) + d[None, :]
    delta_1D = delta + tl.multiple_of(batch * delta_b + route * delta_k, V) + d[None, :]
    # Offsets within the map are 32 bits; only those of image and route need 64.
    y_offset_1D = tl.multiple_of(batch * y_b + route * y_k, V) + d[None, :]
    sums_1D, y_1D = sums + y_offset_1D, y + y_offset_1D
    B += batch * B_b + route * B_k
    C += batch * C_b + route * C_k
    if HAS_INDEX:
        index += route * steps
    A_D = A + route * d_state * channels + d
    states_1D = (
        states
        + (batch * routes + route) * states_bk
        + chunk.to(tl.int64) * states_chunk
        + d[None, :]
    )
    in_1D = d_in[None, :]
    if SINGLE:
        carry_1D = tl.load(states_1D, mask=in_1D & (given > 0), other=0.0)
    for tile in range(0, tiles):
        bias_D = (
            tl.load(bias + route * channels + d, mask=d_in, other=0.0)
            if HAS_BIAS
            else tl.zeros([DB], tl.float32)
        )
        D_D = (
            tl.load(D + route * channels + d, mask=d_in, other=0.0)
            if HAS_D
            else tl.zeros([DB], tl.float32)
        )
        positions, owns, reals, deltas, drives, ys = (), (), (), (), (), ()
        sum_WD = tl.zeros([W, DB], tl.float32)
        start = (chunk * tiles + tile) * (TT * W)
        for i in tl.static_range(TT):
            t_W = start + tl.arange(0, W) * TT + i
            pos_W, real_W = position(index, t_W, steps, HAS_INDEX, HOLES)
            own_W = own_position(t_W, pos_W, steps, CARRIED)
            u_WD = load_row(row_pointers(u_1D, pos_W, u_l, V), real_W, d_in, HOLES, EVEN)
            raw_WD = load_row(row_pointers(delta_1D, own_W, delta_l, V), real_W, d_in, HOLES, EVEN)
            delta_WD, _ = step_size(raw_WD, bias_D, SOFTPLUS, PRECISE)
            # Beyond the route zero, the step that changes nothing.
            delta_WD = tl.where((t_W < steps)[:, None], delta_WD, 0.0)
            sum_WD += delta_WD
            positions += (pos_W,)
            owns += (own_W,)
            reals += (real_W,)
            deltas += (delta_WD,)
            drives += (delta_WD * u_WD,)
            # The skip first, then state after state on top: y stays in registers until all are in.
            ys += (u_WD * D_D[None, :],)
        tile_1D = states_1D + tile * W * states_piece
        pieces_WD = tile_1D + (tl.arange(0, W) * states_piece)[:, None]
        there_WD = in_1D & (start + tl.arange(0, W) * TT < steps)[:, None]
        # The last chunk may have tiles beyond the route, and no states stand there.
        entered = in_1D & (start < steps)
        more = (tile + 1 < tiles) & (start + TT * W < steps)
        if SINGLE:
            Bs = load_weights(B, owns, reals, B_l, 0, TT, HOLES)
            Cs = load_weights(C, owns, reals, C_l, 0, TT, HOLES)
            A_n_D = tl.load(A_D, mask=d_in, other=0.0) * LOG2E
            ys, entry_WD, carry_1D = _outputs(
                ys, deltas, drives, Bs, Cs, sum_WD, A_n_D, carry_1D, TT, W
            )
            if KEEP:
                tl.store(pieces_WD, entry_WD, mask=there_WD)
        else:
            for n in range(0, d_state):
                Bs = load_weights(B, owns, reals, B_l, n, TT, HOLES)
                Cs = load_weights(C, owns, reals, C_l, n, TT, HOLES)
                entry_1D = tl.load(
                    tile_1D + n * channels, mask=entered & ((given > 0) | (tile > 0)), other=0.0
                )
                A_n_D = tl.load(A_D + n * channels, mask=d_in, other=0.0) * LOG2E
                ys, entry_WD, leave_1D = _outputs(
                    ys, deltas, drives, Bs, Cs, sum_WD, A_n_D, entry_1D, TT, W
                )
                if KEEP:
                    # The entry of the tile stands there already, unless it is the zero of a start.
                    new_W1 = (tl.arange(0, W) > 0)[:, None] | ((tile == 0) & (given == 0))
                    tl.store(pieces_WD + n * channels, entry_WD, mask=there_WD & new_W1)
                tl.store(tile_1D + W * states_piece + n * channels, leave_1D, mask=in_1D & more)
            # The next tile reads what other warps of this program stored.
            tl.debug_barrier()
        for i in tl.static_range(TT):
            on = reals[i][:, None] if EVEN else reals[i][:, None] & in_1D
            y_WD = ys[i]
            if ADD:
                y_WD += tl.load(row_pointers(sums_1D, positions[i], y_l, V), mask=on, other=0.0)
            tl.store(row_pointers(y_1D, positions[i], y_l, V), y_WD.to(y.dtype.element_ty), mask=on)
