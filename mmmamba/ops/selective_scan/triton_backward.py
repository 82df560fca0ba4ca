# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""The kernel of the backward pass over tiles, from the last of a chunk to its first.

States are not kept but for those that enter the pieces: a tile is walked forwards from these, its
states held in registers, and then backwards. Registers are what it is short of; several functions
here trade instructions for them. Suffixes as in `triton_tiles`.
"""

import triton
import triton.language as tl

from .triton_lanes import sums_of_rows, weights_along
from .triton_tiles import (
    INTERPRETED,
    LOG2E,
    SIZES,
    entries,
    join,
    load_as_stored,
    own_position,
    position,
    power_of_two,
    row_pointers,
    step_size,
)


@triton.jit
def _load_tile(
    maps,
    index,
    tile,
    steps,
    d_in,
    TT: tl.constexpr,
    W: tl.constexpr,
    V: tl.constexpr,
    HAS_INDEX: tl.constexpr,
    HOLES: tl.constexpr,
    CARRIED: tl.constexpr,
    EVEN: tl.constexpr,
):
    """Rows of u, dy and delta along a tile, TT times three, as they are stored.

    `maps` are pointers to the three and their strides.
    """
    u_1D, dy_1D, delta_1D, u_l, dy_l, delta_l = maps
    rows = ()
    for i in tl.static_range(TT):
        t_W = tile * (TT * W) + tl.arange(0, W) * TT + i
        pos_W, real_W = position(index, t_W, steps, HAS_INDEX, HOLES)
        own_W = own_position(t_W, pos_W, steps, CARRIED)
        rows += (
            load_as_stored(row_pointers(u_1D, pos_W, u_l, V), real_W, d_in, HOLES, EVEN),
            load_as_stored(row_pointers(dy_1D, pos_W, dy_l, V), real_W, d_in, HOLES, EVEN),
            load_as_stored(row_pointers(delta_1D, own_W, delta_l, V), real_W, d_in, HOLES, EVEN),
        )
    return rows


@triton.jit
def _adjoint(
    us,
    deltas,
    dys,
    throughs,
    ddeltas,
    Bs,
    Cs,
    sum_WD,
    A_D,
    entry_WD,
    q_1D,
    TT: tl.constexpr,
    W: tl.constexpr,
):
    """One state of a tile: h forwards, its adjoint backwards, and what they give each gradient.

    With c = C dy and q[t] = a[t] (c[t] + q[t+1]), the adjoint state is g[t] = c[t] + q[t+1], and
    a[t] g[t] = q[t]. Carrying q instead of g needs no decay of the step after, which belongs to
    another piece or tile.
    """
    decays = ()
    q_WD = tl.zeros_like(sum_WD)
    # Both are needed: A2 for decays, A itself for the gradient of delta.
    A2_D = A_D * LOG2E
    for i in tl.static_range(TT):
        decays += (power_of_two(deltas[i] * A2_D[None, :]),)
    if W > 1:
        for i in tl.static_range(TT - 1, -1, -1):
            q_WD = decays[i] * (q_WD + dys[i] * Cs[i])
        q_WD, leave_1D = join(power_of_two(sum_WD * A2_D[None, :]), q_WD, q_1D, W, True)
    else:
        q_WD = q_WD + q_1D
    h_WD = entry_WD
    hs = (h_WD,)
    dCs = ()
    for i in tl.static_range(TT):
        h_WD = decays[i] * h_WD + deltas[i] * us[i] * Bs[i]
        hs += (h_WD,)
        dCs += (dys[i] * h_WD,)
    # Gradients of u and delta are sums over states: `throughs` gathers g B, which both need, and
    # `ddeltas` what reaches delta through the decay.
    dA_WD = tl.zeros_like(sum_WD)
    more_throughs, more_ddeltas, dBs = (), (), ()
    for i in tl.static_range(TT - 1, -1, -1):
        g_WD = q_WD + dys[i] * Cs[i]
        q_WD = decays[i] * g_WD
        faded_WD = q_WD * hs[i]
        dBs = (g_WD * (deltas[i] * us[i]),) + dBs
        more_throughs = (throughs[i] + g_WD * Bs[i],) + more_throughs
        more_ddeltas = (ddeltas[i] + faded_WD * A_D[None, :],) + more_ddeltas
        dA_WD += faded_WD * deltas[i]
    if W == 1:
        leave_1D = q_WD
    return more_throughs, more_ddeltas, dA_WD, dBs, dCs, leave_1D


@triton.jit(do_not_specialize=SIZES)
def scan_backward_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    index,
    states,
    adjoints,
    dy,
    du,
    ddelta,
    sums,
    dBC,
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
    dy_b,
    dy_l,
    dy_k,
    du_b,
    du_l,
    du_k,
    ddelta_b,
    ddelta_l,
    ddelta_k,
    states_bk,
    length,
    steps,
    channels,
    d_state,
    routes,
    chunks,
    tiles,
    given,
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
    EARLY: tl.constexpr,
):
    """Walks a chunk of a route from its last tile.

    `states` holds the state that enters each piece of a tile, `adjoints` the q that enters each
    chunk from later steps (zero unless `given`; overwritten). dB and dC are sums over a block of
    channels, `(2, blocks, B, L, K, N)`; dA, dD and dbias are sums over a chunk, in `sums` one after
    the other, `(B, K, chunks, N + 2, D)`. No two programs add to one number, so the result does not
    depend on their order.

    EARLY: a tile's rows are loaded while the one after it is computed, so that few warps wait less.
    """
    PRECISE: tl.constexpr = delta.dtype.element_ty == tl.float32
    blocks = tl.cdiv(channels, DB)
    pid = tl.program_id(0)
    block, chunk, bk = pid % blocks, (pid // blocks) % chunks, pid // (blocks * chunks)
    batches = tl.num_programs(0) // (blocks * chunks * routes)
    batch, route = (bk // routes).to(tl.int64), (bk % routes).to(tl.int64)
    d = tl.max_contiguous(tl.multiple_of(block * DB + tl.arange(0, DB), V), V)
    d_in = tl.max_constancy(d < channels, V)
    in_1D = d_in[None, :]
    u_1D = u + tl.multiple_of(batch * u_b + route * u_k, V) + d[None, :]
    delta_1D = delta + tl.multiple_of(batch * delta_b + route * delta_k, V) + d[None, :]
    dy_1D = dy + tl.multiple_of(batch * dy_b + route * dy_k, V) + d[None, :]
    du_1D = du + tl.multiple_of(batch * du_b + route * du_k, V) + d[None, :]
    ddelta_1D = ddelta + tl.multiple_of(batch * ddelta_b + route * ddelta_k, V) + d[None, :]
    B += batch * B_b + route * B_k
    C += batch * C_b + route * C_k
    if HAS_INDEX:
        index += route * steps
    A_D = A + route * d_state * channels + d
    chunk_bk = bk.to(tl.int64) * chunks + chunk
    q_at_1D = adjoints + chunk_bk * d_state * channels + d[None, :]
    dA_D = sums + chunk_bk * (d_state + 2) * channels + d
    dD_at_D = dA_D + d_state * channels
    states_1D = states + bk.to(tl.int64) * states_bk + d[None, :]
    part = ((block.to(tl.int64) * batches + batch) * length * routes + route) * d_state
    dB = dBC + part
    dC = dB + blocks.to(tl.int64) * batches * length * routes * d_state
    FOLD: tl.constexpr = TT >= 8 and TT <= 32 and not INTERPRETED
    # What holds the sums of a tile: a warp's lanes, of which the first TT write, or TT columns.
    lane = tl.arange(0, DB // V if FOLD else TT)[None, :]
    SHUFFLE: tl.constexpr = FOLD and V == 1
    dD_D = tl.zeros([DB], tl.float32)
    dbias_D = tl.zeros([DB], tl.float32)
    if SINGLE:
        q_1D = tl.load(q_at_1D, mask=in_1D & (given > 0), other=0.0)
        dA_sum_D = tl.zeros([DB], tl.float32)
    maps = (u_1D, dy_1D, delta_1D, u_l, dy_l, delta_l)
    if EARLY:
        last = chunk * tiles + tiles - 1
        coming = _load_tile(
            maps, index, last, steps, d_in, TT, W, V, HAS_INDEX, HOLES, CARRIED, EVEN
        )
    for walked in range(0, tiles):
        tile = chunk * tiles + tiles - 1 - walked
        if EARLY:
            rows = coming
            # The first tile of the route has none before it: nobody looks at what is loaded then.
            before = tl.maximum(tile - 1, 0)
            coming = _load_tile(
                maps, index, before, steps, d_in, TT, W, V, HAS_INDEX, HOLES, CARRIED, EVEN
            )
        else:
            rows = _load_tile(
                maps, index, tile, steps, d_in, TT, W, V, HAS_INDEX, HOLES, CARRIED, EVEN
            )
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
        positions, owns, reals, us, deltas, slopes, dys = (), (), (), (), (), (), ()
        throughs, ddeltas = (), ()
        sum_WD = tl.zeros([W, DB], tl.float32)
        for i in tl.static_range(TT):
            t_W = tile * (TT * W) + tl.arange(0, W) * TT + i
            pos_W, real_W = position(index, t_W, steps, HAS_INDEX, HOLES)
            u_WD = rows[3 * i].to(tl.float32)
            dy_WD = rows[3 * i + 1].to(tl.float32)
            raw_WD = rows[3 * i + 2].to(tl.float32)
            delta_WD, slope_WD = step_size(raw_WD, bias_D, SOFTPLUS, PRECISE)
            sum_WD += delta_WD
            positions += (pos_W,)
            owns += (own_position(t_W, pos_W, steps, CARRIED),)
            reals += (real_W,)
            us += (u_WD,)
            slopes += (slope_WD,)
            deltas += (delta_WD,)
            # Nothing may flow back from beyond the route: the adjoint is zero there, and so is
            # whatever it multiplies.
            dys += (tl.where(real_W[:, None], dy_WD, 0.0),)
            throughs += (tl.zeros_like(u_WD),)
            ddeltas += (tl.zeros_like(u_WD),)
        # Lanes from TT on repeat the first: their addresses are good, but they do not write.
        t_WT = tile * (TT * W) + tl.arange(0, W)[:, None] * TT + lane % TT
        pos_WT, there_WT = position(index, t_WT, steps, HAS_INDEX, HOLES)
        real_WT = there_WT & (lane < TT)
        own_WT = own_position(t_WT, pos_WT, steps, CARRIED)
        B_WT, C_WT = entries(B, own_WT, B_l), entries(C, own_WT, C_l)
        dB_WT, dC_WT = entries(dB, own_WT, routes * d_state), entries(dC, own_WT, routes * d_state)
        piece_W = tile * W + tl.arange(0, W)
        pieces_WD = states_1D + (piece_W.to(tl.int64) * d_state * channels)[:, None]
        entered_WD = in_1D & (piece_W * TT < steps)[:, None]
        if SINGLE:
            Bs = weights_along(B, B_WT, there_WT, owns, reals, B_l, 0, TT, HOLES, SHUFFLE)
            Cs = weights_along(C, C_WT, there_WT, owns, reals, C_l, 0, TT, HOLES, SHUFFLE)
            entry_WD = tl.load(pieces_WD, mask=entered_WD, other=0.0)
            A_n_D = tl.load(A_D, mask=d_in, other=0.0)
            throughs, ddeltas, dA_WD, dBs, dCs, q_1D = _adjoint(
                us, deltas, dys, throughs, ddeltas, Bs, Cs, sum_WD, A_n_D, entry_WD, q_1D, TT, W
            )
            dA_sum_D += tl.sum(dA_WD, 0)
            dBs_WT = sums_of_rows(dBs, lane, TT, W, V, FOLD)
            dCs_WT = sums_of_rows(dCs, lane, TT, W, V, FOLD)
        else:
            for n in range(0, d_state):
                Bs = weights_along(B, B_WT, there_WT, owns, reals, B_l, n, TT, HOLES, SHUFFLE)
                Cs = weights_along(C, C_WT, there_WT, owns, reals, C_l, n, TT, HOLES, SHUFFLE)
                entry_WD = tl.load(pieces_WD + n * channels, mask=entered_WD, other=0.0)
                q_entry_1D = tl.load(
                    q_at_1D + n * channels, mask=in_1D & ((given > 0) | (walked > 0)), other=0.0
                )
                dA_before_D = tl.load(dA_D + n * channels, mask=d_in & (walked > 0), other=0.0)
                A_n_D = tl.load(A_D + n * channels, mask=d_in, other=0.0)
                throughs, ddeltas, dA_WD, dBs, dCs, q_leave_1D = _adjoint(
                    us,
                    deltas,
                    dys,
                    throughs,
                    ddeltas,
                    Bs,
                    Cs,
                    sum_WD,
                    A_n_D,
                    entry_WD,
                    q_entry_1D,
                    TT,
                    W,
                )
                tl.store(q_at_1D + n * channels, q_leave_1D, mask=in_1D)
                tl.store(dA_D + n * channels, dA_before_D + tl.sum(dA_WD, 0), mask=d_in)
                tl.store(dB_WT + n, sums_of_rows(dBs, lane, TT, W, V, FOLD), mask=real_WT)
                tl.store(dC_WT + n, sums_of_rows(dCs, lane, TT, W, V, FOLD), mask=real_WT)
            # The next tile reads what other warps of this program stored.
            tl.debug_barrier()
        dD_WD = tl.zeros_like(sum_WD)
        dbias_WD = tl.zeros_like(sum_WD)
        for i in tl.static_range(TT - 1, -1, -1):
            du_WD = throughs[i] * deltas[i] + dys[i] * D_D[None, :]
            dD_WD += dys[i] * us[i]
            ddelta_WD = ddeltas[i] + throughs[i] * us[i]
            if SOFTPLUS:
                ddelta_WD *= power_of_two(slopes[i])
            dbias_WD += ddelta_WD
            on = reals[i][:, None] if EVEN else reals[i][:, None] & in_1D
            at = row_pointers(ddelta_1D, owns[i], ddelta_l, V)
            tl.store(at, ddelta_WD.to(ddelta.dtype.element_ty), mask=on)
            at = row_pointers(du_1D, positions[i], du_l, V)
            tl.store(at, du_WD.to(du.dtype.element_ty), mask=on)
        dD_D += tl.sum(dD_WD, 0)
        dbias_D += tl.sum(dbias_WD, 0)
        if SINGLE:
            tl.store(dB_WT, dBs_WT, mask=real_WT)
            tl.store(dC_WT, dCs_WT, mask=real_WT)
    if SINGLE:
        tl.store(dA_D, dA_sum_D, mask=d_in)
    if HAS_D:
        tl.store(dD_at_D, dD_D, mask=d_in)
    if HAS_BIAS:
        tl.store(dD_at_D + channels, dbias_D, mask=d_in)
