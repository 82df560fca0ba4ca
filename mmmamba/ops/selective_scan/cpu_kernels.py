"""The scan's loops for numba: chunk after chunk of a route, LANES channels at a time.

States stay in registers. Arrays are flat; `*_at` are the strides of batch, position and route in
elements (channels and states are neighbours), `index` is the flat `(K, T)` table, empty for the
plain order. P is D rounded up to LANES; A2_KNP is A * log2(e), padded with zeros like skip_KP and
bias_KP.

A task is one batch entry and one group of channel blocks: it walks all routes, and no two tasks
write to the same place, so that sums have one order however many threads there are. Within a task
the order is route, chunk, block of channels, state, step: what steps and channels share (positions,
B, C) is read once a chunk, what states share (delta, delta times u) once a block, and a state's
walk over a chunk's steps carries only itself, in a register.
"""

import hashlib
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from . import cpu_lanes
from .cpu_lanes import (
    LANES,
    exp2,
    lane_sum,
    load,
    load_part,
    sigmoid,
    softplus,
    splat,
    store,
    store_part,
)

CHUNK = 32
"""Steps between kept states; a chunk's scratch fits the first-level cache."""

logger = logging.getLogger("mmmamba")

# A product and a sum may become one instruction; everything else stays IEEE, NaN and infinity
# included.
OPTIONS: dict[str, Any] = dict(nogil=True, fastmath={"contract"})


def compiled(loops):
    """Loops for numba, compiled at the first call and kept on disk."""
    # Numba's cache on disk only notices changes of a function's own file: the name carries the
    # digest of those it is made of.
    sources = (Path(file).read_bytes() for file in (cpu_lanes.__file__, __file__))
    digest = hashlib.sha256(b"".join(sources)).hexdigest()
    loops.__qualname__ += f"_{digest[:12]}"
    try:
        return njit(cache=True, **OPTIONS)(loops)
    except RuntimeError as error:
        logger.warning(
            "the selective scan's compiled loops are not kept between runs, so that each run "
            "compiles them anew (seconds): %s. Set NUMBA_CACHE_DIR to a directory that can be "
            "written to.",
            error,
        )
        return njit(**OPTIONS)(loops)


@njit(**OPTIONS)
def read(x, at, count):
    """The lanes x[at : at + count]; a whole block takes no mask."""
    return load(x, at) if count == LANES else load_part(x, at, count)


@njit(**OPTIONS)
def write(x, at, value, count):
    """The first `count` lanes of the value, at x[at]."""
    if count == LANES:
        store(x, at, value)
    else:
        store_part(x, at, value, count)


@njit(**OPTIONS)
def _walk(index, route, steps, start, stop, position, x, x_at, base, out, N):
    """Where a chunk's steps stand, and what is read there of B or C; zeros at holes.

    `out` is state-major, `(N, CHUNK)`: a state's walk reads its steps side by side.
    """
    for s in range(stop - start):
        p = index[route * steps + start + s] if index.size else start + s
        position[s] = p
        at = base + p * x_at[1] + route * x_at[2]
        for n in range(N):
            out[n * CHUNK + s] = x[at + n] if p >= 0 else 0.0


@njit(**OPTIONS)
def scratch(like):
    """Room for LANES channels of every step of a chunk."""
    return np.empty(CHUNK * LANES, like.dtype)


@njit(**OPTIONS)
def clear(x, x_at, batch, routes, length, first, last, channels):
    """Zeros in the channels of blocks first … last - 1 at all positions."""
    nothing = splat(x.dtype.type(0))
    for p in range(length):
        for k in range(routes):
            for block in range(first, last):
                d = block * LANES
                at = batch * x_at[0] + p * x_at[1] + k * x_at[2] + d
                write(x, at, nothing, min(LANES, channels - d))


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
    """Write y; fill states `(B, K, chunks, N, P)`, each chunk's first, unless it is empty."""
    groups, L, K, T, D, N, P = sizes
    chunks, blocks = (T + CHUNK - 1) // CHUNK, P // LANES
    position = np.empty(CHUNK, np.int64)
    B_NS, C_NS = np.empty(N * CHUNK, A2_KNP.dtype), np.empty(N * CHUNK, A2_KNP.dtype)
    deltas, drives, ys = scratch(A2_KNP), scratch(A2_KNP), scratch(A2_KNP)
    h = np.empty(P * N, A2_KNP.dtype)
    for task in range(first, last):
        b, group = task // groups, task % groups
        first_block, last_block = group * blocks // groups, (group + 1) * blocks // groups
        # Routes add to y, and a route may leave positions out.
        clear(y, y_at, b, K if y_at[2] else 1, L, first_block, last_block, D)
        for k in range(K):
            h[:] = 0.0
            for chunk in range(chunks):
                start, stop = chunk * CHUNK, min(T, (chunk + 1) * CHUNK)
                _walk(index, k, T, start, stop, position, B, B_at, b * B_at[0], B_NS, N)
                _walk(index, k, T, start, stop, position, C, C_at, b * C_at[0], C_NS, N)
                for block in range(first_block, last_block):
                    d = block * LANES
                    count = min(LANES, D - d)
                    u_base = b * u_at[0] + k * u_at[2] + d
                    delta_base = b * delta_at[0] + k * delta_at[2] + d
                    bias, skip = load(bias_KP, k * P + d), load(skip_KP, k * P + d)
                    for s in range(stop - start):
                        p = position[s]
                        # A hole drives nothing and steps by its bias: the state fades there.
                        drive, step = splat(A2_KNP.dtype.type(0)), bias
                        if p >= 0:
                            drive = read(u, u_base + p * u_at[1], count)
                            step = step + read(delta, delta_base + p * delta_at[1], count)
                        if use_softplus:
                            step = softplus(step)
                        store(deltas, s * LANES, step)
                        store(drives, s * LANES, step * drive)
                        store(ys, s * LANES, skip * drive)
                    for n in range(N):
                        decay_rate = load(A2_KNP, (k * N + n) * P + d)
                        state = load(h, n * P + d)
                        if states.size:
                            store(states, (((b * K + k) * chunks + chunk) * N + n) * P + d, state)
                        for s in range(stop - start):
                            decay = exp2(load(deltas, s * LANES) * decay_rate)
                            B_s = splat(B_NS[n * CHUNK + s])
                            state = decay * state + load(drives, s * LANES) * B_s
                            C_s = splat(C_NS[n * CHUNK + s])
                            store(ys, s * LANES, load(ys, s * LANES) + state * C_s)
                        store(h, n * P + d, state)
                    y_base = b * y_at[0] + k * y_at[2] + d
                    for s in range(stop - start):
                        if position[s] >= 0:
                            at = y_base + position[s] * y_at[1]
                            write(y, at, read(y, at, count) + load(ys, s * LANES), count)


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
    """The adjoint `g[t] = C[t] dy[t] + decay[t+1] g[t+1]` from the last chunk to the first.

    Each chunk's states are computed again from the one that enters it, and one state's are held at
    a time. What reaches delta and delta times u is summed over states in `dsteps` and `ddrives`.
    dB and dC are `(B, groups, L, K, N)`, to be summed over the groups.
    """
    groups, L, K, T, D, N, P = sizes
    chunks, blocks = (T + CHUNK - 1) // CHUNK, P // LANES
    position = np.empty(CHUNK, np.int64)
    B_NS, C_NS = np.empty(N * CHUNK, A2_KNP.dtype), np.empty(N * CHUNK, A2_KNP.dtype)
    dB_NS, dC_NS = np.empty(N * CHUNK, A2_KNP.dtype), np.empty(N * CHUNK, A2_KNP.dtype)
    us, dys, deltas = scratch(A2_KNP), scratch(A2_KNP), scratch(A2_KNP)
    drives, slopes, decays = scratch(A2_KNP), scratch(A2_KNP), scratch(A2_KNP)
    hs = np.empty((CHUNK + 1) * LANES, A2_KNP.dtype)
    ddrives, dsteps = scratch(A2_KNP), scratch(A2_KNP)
    carry = np.empty(P * N, A2_KNP.dtype)
    zero, one = splat(A2_KNP.dtype.type(0)), splat(A2_KNP.dtype.type(1))
    log_2 = splat(A2_KNP.dtype.type(math.log(2)))
    for task in range(first, last):
        b, group = task // groups, task % groups
        first_block, last_block = group * blocks // groups, (group + 1) * blocks // groups
        clear(du, du_at, b, K if du_at[2] else 1, L, first_block, last_block, D)
        clear(ddelta, ddelta_at, b, K, L, first_block, last_block, D)
        # This task's part of dB and dC; routes may leave positions out there as well.
        own = (b * groups + group) * L * K * N
        dB[own : own + L * K * N] = 0.0
        dC[own : own + L * K * N] = 0.0
        for k in range(K):
            carry[:] = 0.0
            for d in range(first_block * LANES, last_block * LANES, LANES):
                store(dskip_BKP, (b * K + k) * P + d, zero)
                store(dbias_BKP, (b * K + k) * P + d, zero)
                for n in range(N):
                    store(dA_BKNP, ((b * K + k) * N + n) * P + d, zero)
            for backwards in range(chunks):
                chunk = chunks - 1 - backwards
                start, stop = chunk * CHUNK, min(T, (chunk + 1) * CHUNK)
                _walk(index, k, T, start, stop, position, B, B_at, b * B_at[0], B_NS, N)
                _walk(index, k, T, start, stop, position, C, C_at, b * C_at[0], C_NS, N)
                dB_NS[:] = 0.0
                dC_NS[:] = 0.0
                for block in range(first_block, last_block):
                    d = block * LANES
                    count, row = min(LANES, D - d), (b * K + k) * P + d
                    u_base = b * u_at[0] + k * u_at[2] + d
                    delta_base = b * delta_at[0] + k * delta_at[2] + d
                    dy_base = b * dy_at[0] + k * dy_at[2] + d
                    bias, skip = load(bias_KP, k * P + d), load(skip_KP, k * P + d)
                    dskip, dbias = load(dskip_BKP, row), load(dbias_BKP, row)
                    for s in range(stop - start):
                        p = position[s]
                        drive, grad, step, slope = zero, zero, bias, one
                        if p >= 0:
                            drive = read(u, u_base + p * u_at[1], count)
                            grad = read(dy, dy_base + p * dy_at[1], count)
                            step = step + read(delta, delta_base + p * delta_at[1], count)
                        if use_softplus:
                            slope = sigmoid(step)
                            step = softplus(step)
                        store(us, s * LANES, drive)
                        store(dys, s * LANES, grad)
                        store(deltas, s * LANES, step)
                        store(drives, s * LANES, step * drive)
                        store(slopes, s * LANES, slope)
                        store(ddrives, s * LANES, zero)
                        store(dsteps, s * LANES, zero)
                        dskip = dskip + grad * drive
                    for n in range(N):
                        decay_rate = load(A2_KNP, (k * N + n) * P + d)
                        state = load(states, (((b * K + k) * chunks + chunk) * N + n) * P + d)
                        # hs[s] enters step s, hs[s + 1] leaves it.
                        store(hs, 0, state)
                        for s in range(stop - start):
                            decay = exp2(load(deltas, s * LANES) * decay_rate)
                            B_s = splat(B_NS[n * CHUNK + s])
                            state = decay * state + load(drives, s * LANES) * B_s
                            store(decays, s * LANES, decay)
                            store(hs, (s + 1) * LANES, state)
                        g = load(carry, n * P + d)
                        dA_at = ((b * K + k) * N + n) * P + d
                        dA = load(dA_BKNP, dA_at)
                        for s in range(stop - start - 1, -1, -1):
                            grad = load(dys, s * LANES)
                            g = g + grad * splat(C_NS[n * CHUNK + s])
                            dC_NS[n * CHUNK + s] += lane_sum(load(hs, (s + 1) * LANES) * grad)
                            dB_NS[n * CHUNK + s] += lane_sum(g * load(drives, s * LANES))
                            B_s = splat(B_NS[n * CHUNK + s])
                            store(ddrives, s * LANES, load(ddrives, s * LANES) + g * B_s)
                            # From here on g reaches the state before the step; times that
                            # state it is what reaches the exponent, delta A.
                            g = g * load(decays, s * LANES)
                            faded = g * load(hs, s * LANES)
                            store(dsteps, s * LANES, load(dsteps, s * LANES) + faded * decay_rate)
                            dA = dA + faded * load(deltas, s * LANES)
                        store(carry, n * P + d, g)
                        store(dA_BKNP, dA_at, dA)
                    du_base = b * du_at[0] + k * du_at[2] + d
                    ddelta_base = b * ddelta_at[0] + k * ddelta_at[2] + d
                    for s in range(stop - start):
                        p, at = position[s], s * LANES
                        ddrive = load(ddrives, at)
                        # dsteps is in units of A2, which is A / log(2).
                        dstep = ddrive * load(us, at) + load(dsteps, at) * log_2
                        dstep = dstep * load(slopes, at)
                        # In holes too, where the step is the bias.
                        dbias = dbias + dstep
                        if p >= 0:
                            here = du_base + p * du_at[1]
                            drive_grad = ddrive * load(deltas, at) + skip * load(dys, at)
                            # Routes may share u, so they add; delta is each one's own.
                            write(du, here, read(du, here, count) + drive_grad, count)
                            write(ddelta, ddelta_base + p * ddelta_at[1], dstep, count)
                    store(dskip_BKP, row, dskip)
                    store(dbias_BKP, row, dbias)
                for s in range(stop - start):
                    if position[s] >= 0:
                        here = own + (position[s] * K + k) * N
                        for n in range(N):
                            dB[here + n] = dB_NS[n * CHUNK + s]
                            dC[here + n] = dC_NS[n * CHUNK + s]
