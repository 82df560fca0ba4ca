"""The loops of `cpu_kernels` for one state a channel, with the same arguments.

With many states what they share is written to a scratch and read by each. A single state has nobody
to share with: a step stays in registers from what it reads to what it writes, forward without a
scratch at all. (VMamba's second generation has one state.)
"""

import math

import numpy as np

from .cpu_kernels import CHUNK, clear, compiled, read, scratch, write
from .cpu_lanes import (
    LANES,
    broadcast,
    exp2,
    lane_sum,
    load,
    sigmoid,
    softplus,
    splat,
    store,
)


@compiled
def forward_loops(
    first,
    last,
    sizes,
    index,
    u,
    u_at,
    delta,
    delta_at,
    A2_KNP,
    B,
    B_at,
    C,
    C_at,
    skip_KP,
    bias_KP,
    use_softplus,
    y,
    y_at,
    states,
):
    """Write y; fill states `(B, K, chunks, 1, P)`, each chunk's first, unless it is empty."""
    groups, L, K, T, D, _, P = sizes
    chunks, blocks = (T + CHUNK - 1) // CHUNK, P // LANES
    tabled, keeps = index.size > 0, states.size > 0
    h = np.empty(P, A2_KNP.dtype)
    for task in range(first, last):
        b, group = task // groups, task % groups
        first_block, last_block = group * blocks // groups, (group + 1) * blocks // groups
        # Routes add to y, and a route may leave positions out.
        clear(y, y_at, b, K if y_at[2] else 1, L, first_block, last_block, D)
        for k in range(K):
            h[:] = 0.0
            B_base, C_base = b * B_at[0] + k * B_at[2], b * C_at[0] + k * C_at[2]
            # Chunk by chunk, so that rows of the map are still in the cache for the next block.
            for chunk in range(chunks):
                start, stop = chunk * CHUNK, min(T, (chunk + 1) * CHUNK)
                for block in range(first_block, last_block):
                    d = block * LANES
                    count, row = min(LANES, D - d), k * P + d
                    u_base = b * u_at[0] + k * u_at[2] + d
                    delta_base = b * delta_at[0] + k * delta_at[2] + d
                    y_base = b * y_at[0] + k * y_at[2] + d
                    bias, skip = load(bias_KP, row), load(skip_KP, row)
                    decay_rate, state = load(A2_KNP, row), load(h, d)
                    if keeps:
                        store(states, ((b * K + k) * chunks + chunk) * P + d, state)
                    for s in range(start, stop):
                        p = np.int64(index[k * T + s]) if tabled else s
                        if p < 0:
                            # A hole drives nothing and steps by its bias: the state fades there.
                            step = softplus(bias) if use_softplus else bias
                            state = exp2(step * decay_rate) * state
                            continue
                        drive = read(u, u_base + p * u_at[1], count)
                        step = bias + read(delta, delta_base + p * delta_at[1], count)
                        if use_softplus:
                            step = softplus(step)
                        decay = exp2(step * decay_rate)
                        state = decay * state + step * drive * broadcast(B, B_base + p * B_at[1])
                        out = skip * drive + state * broadcast(C, C_base + p * C_at[1])
                        at = y_base + p * y_at[1]
                        write(y, at, read(y, at, count) + out, count)
                    store(h, d, state)


@compiled
def backward_loops(
    first,
    last,
    sizes,
    index,
    u,
    u_at,
    delta,
    delta_at,
    A2_KNP,
    B,
    B_at,
    C,
    C_at,
    skip_KP,
    bias_KP,
    use_softplus,
    dy,
    dy_at,
    states,
    du,
    du_at,
    ddelta,
    ddelta_at,
    dA_BKNP,
    dB,
    dC,
    dskip_BKP,
    dbias_BKP,
):
    """The adjoint from the last chunk to the first; each chunk's states are computed again."""
    groups, L, K, T, D, _, P = sizes
    chunks, blocks = (T + CHUNK - 1) // CHUNK, P // LANES
    tabled = index.size > 0
    deltas, slopes, decays = scratch(A2_KNP), scratch(A2_KNP), scratch(A2_KNP)
    # hs[s] enters step s, hs[s + 1] leaves it.
    hs = np.empty((CHUNK + 1) * LANES, A2_KNP.dtype)
    carry = np.empty(P, A2_KNP.dtype)
    zero, one = splat(A2_KNP.dtype.type(0)), splat(A2_KNP.dtype.type(1))
    log_2 = splat(A2_KNP.dtype.type(math.log(2)))
    for task in range(first, last):
        b, group = task // groups, task % groups
        first_block, last_block = group * blocks // groups, (group + 1) * blocks // groups
        clear(du, du_at, b, K if du_at[2] else 1, L, first_block, last_block, D)
        clear(ddelta, ddelta_at, b, K, L, first_block, last_block, D)
        # This task's part of dB and dC, to which its blocks add.
        own = (b * groups + group) * L * K
        dB[own : own + L * K] = 0.0
        dC[own : own + L * K] = 0.0
        for k in range(K):
            B_base, C_base = b * B_at[0] + k * B_at[2], b * C_at[0] + k * C_at[2]
            own_row = (b * K + k) * P
            carry[:] = 0.0
            for d in range(first_block * LANES, last_block * LANES, LANES):
                store(dskip_BKP, own_row + d, zero)
                store(dbias_BKP, own_row + d, zero)
                store(dA_BKNP, own_row + d, zero)
            for backwards in range(chunks):
                chunk = chunks - 1 - backwards
                start, stop = chunk * CHUNK, min(T, (chunk + 1) * CHUNK)
                for block in range(first_block, last_block):
                    d = block * LANES
                    count, row = min(LANES, D - d), k * P + d
                    u_base = b * u_at[0] + k * u_at[2] + d
                    delta_base = b * delta_at[0] + k * delta_at[2] + d
                    dy_base = b * dy_at[0] + k * dy_at[2] + d
                    du_base = b * du_at[0] + k * du_at[2] + d
                    ddelta_base = b * ddelta_at[0] + k * ddelta_at[2] + d
                    bias, skip, decay_rate = (
                        load(bias_KP, row),
                        load(skip_KP, row),
                        load(A2_KNP, row),
                    )
                    # What reaches the exponent is in units of A2, which is A / log(2).
                    step_rate = decay_rate * log_2
                    state = load(states, ((b * K + k) * chunks + chunk) * P + d)
                    store(hs, 0, state)
                    for s in range(stop - start):
                        p = np.int64(index[k * T + start + s]) if tabled else start + s
                        drive, step, slope, B_s = zero, bias, one, zero
                        if p >= 0:
                            drive = read(u, u_base + p * u_at[1], count)
                            step = step + read(delta, delta_base + p * delta_at[1], count)
                            B_s = broadcast(B, B_base + p * B_at[1])
                        if use_softplus:
                            slope = sigmoid(step)
                            step = softplus(step)
                        decay = exp2(step * decay_rate)
                        state = decay * state + step * drive * B_s
                        store(deltas, s * LANES, step)
                        store(slopes, s * LANES, slope)
                        store(decays, s * LANES, decay)
                        store(hs, (s + 1) * LANES, state)
                    g, dA = load(carry, d), load(dA_BKNP, own_row + d)
                    dskip, dbias = load(dskip_BKP, own_row + d), load(dbias_BKP, own_row + d)
                    for s in range(stop - start - 1, -1, -1):
                        at = s * LANES
                        p = np.int64(index[k * T + start + s]) if tabled else start + s
                        step = load(deltas, at)
                        if p < 0:
                            g = g * load(decays, at)
                            faded = g * load(hs, at)
                            dA = dA + faded * step
                            # In holes too, where the step is the bias.
                            dbias = dbias + faded * step_rate * load(slopes, at)
                            continue
                        grad = read(dy, dy_base + p * dy_at[1], count)
                        drive = read(u, u_base + p * u_at[1], count)
                        g = g + grad * broadcast(C, C_base + p * C_at[1])
                        here = own + p * K + k
                        dC[here] += lane_sum(load(hs, at + LANES) * grad)
                        dB[here] += lane_sum(g * (step * drive))
                        ddrive = g * broadcast(B, B_base + p * B_at[1])
                        # From here on g reaches the state before the step; times that state it is
                        # what reaches the exponent, delta A.
                        g = g * load(decays, at)
                        faded = g * load(hs, at)
                        dA = dA + faded * step
                        dstep = (ddrive * drive + faded * step_rate) * load(slopes, at)
                        dbias, dskip = dbias + dstep, dskip + grad * drive
                        # Routes may share u, so they add; delta is each one's own.
                        du_here = du_base + p * du_at[1]
                        drive_grad = ddrive * step + skip * grad
                        write(du, du_here, read(du, du_here, count) + drive_grad, count)
                        write(ddelta, ddelta_base + p * ddelta_at[1], dstep, count)
                    store(carry, d, g)
                    store(dA_BKNP, own_row + d, dA)
                    store(dskip_BKP, own_row + d, dskip)
                    store(dbias_BKP, own_row + d, dbias)
