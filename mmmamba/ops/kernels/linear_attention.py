"""Kernels of `linear_attention`: two passes over the tokens, and two to go back.

ELU, rotation and division happen where the numbers are read; nothing of a map's size is written in
between. A tile is parted into the halves of its pairs where it is turned, in registers.

Shape suffixes: T tokens of a tile, P channels of a head, E = P / 2 pairs, G heads, C = G P,
J = C / 4 angles.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div
from .add_parts import add_parts
from .token_sums import TOKENS, block, product, products, runs

WARPS, BACK_WARPS = 4, 8
"""Four warps would not hold in registers what a query's way back needs."""
_PLANS = Plans()


class Problem(NamedTuple):
    """What all kernels are given; tensors without gaps in memory."""

    qk: Tensor
    v: Tensor
    table: Tensor
    heads: int
    width: int
    eps: float

    def sums(self, kernel: Any, *tensors: Tensor) -> Tensor:
        """What a kernel adds up, `(B, G, P + 1, P)`, each program over a run of tokens."""
        batch, length, channels = self.v.shape
        P = channels // self.heads
        count, tiles = runs(batch, self.heads, length, self.v.device)
        shape = (count, batch, self.heads, P + 1, P)
        parts = torch.empty(shape, dtype=torch.float32, device=self.v.device)
        self.launch(kernel, count, tiles, *tensors, parts)
        return parts[0] if count == 1 else add_parts(parts, torch.float32)

    def tile_by_tile(self, kernel: Any, *tensors: Tensor) -> None:
        self.launch(kernel, ceil_div(self.v.shape[1], TOKENS), 1, *tensors)

    def launch(self, kernel: Any, count: int, tiles: int, *tensors: Tensor) -> None:
        v = self.v
        dtypes = tuple(x.dtype for x in tensors)
        key = (kernel.fn.__name__, v.shape, self.table.shape, *self[3:], v.dtype, v.device, dtypes)
        launch = _PLANS.get(key)
        if launch is None:
            batch, length, channels = v.shape
            side = self.table.shape[1]
            sizes = dict(length=length, width=self.width, side=side, batch=batch)
            sizes |= dict(runs=count, tiles=tiles)
            P = channels // self.heads
            launch = Launch(
                kernel,
                v.device,
                batch * count * self.heads,
                sizes,
                G=self.heads,
                P=P,
                PB=block(P),
                TB=TOKENS,
                EPS=self.eps,
                **products(v),
                num_warps=BACK_WARPS if kernel is query_back_kernel else WARPS,
                num_stages=2,
            )
            _PLANS.keep(key, launch)
        launch(self.qk, v, self.table, *tensors)


def forward(given: Problem, local: Tensor) -> tuple[Tensor, Tensor]:
    """The output; and the states, below each the mean key, for the backward pass."""
    out = torch.empty_like(given.v)
    state = given.sums(sum_kernel)
    given.tile_by_tile(read_kernel, local, state, out)
    return out, state


def backward(grad: Tensor, given: Problem, state: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of qk and v."""
    # The gradient of a `sum`, for one, is a single number expanded.
    grad = grad.contiguous()
    dqk, dv = torch.empty_like(given.qk), torch.empty_like(given.v)
    dstate = given.sums(query_back_kernel, grad, state, dqk)
    given.tile_by_tile(key_back_kernel, dstate, dqk, dv)
    return dqk, dv


@triton.jit
def _place(runs, G: tl.constexpr):
    """Image, head and run of a program."""
    # Heads of the same tokens side by side, as they share lines of memory.
    pid = tl.program_id(0)
    return (pid // (G * runs)).to(tl.int64), pid % G, (pid // G) % runs


@triton.jit
def _angles(table, t, g, width, side, J: tl.constexpr, P: tl.constexpr, PB: tl.constexpr):
    """Cosines and sines by which the pairs of tokens turn."""
    pair_1E = (g * (P // 2) + tl.arange(0, PB // 2))[None, :]
    position = tl.where(pair_1E < J, (t // width)[:, None], (t % width)[:, None])
    # Padding of the tile stands at position 0.
    place = tl.where(position < side, position, 0) * J + pair_1E % J
    return tl.load(table + place), tl.load(table + side * J + place)


@triton.jit
def _turn(x_TP, cos_TE, sin_TE, TB: tl.constexpr, PB: tl.constexpr):
    """Each pair of channels, turned by its angle; back again by minus the sines."""
    a_TE, b_TE = tl.split(tl.reshape(x_TP, [TB, PB // 2, 2]))
    turned_TE2 = tl.join(a_TE * cos_TE - b_TE * sin_TE, b_TE * cos_TE + a_TE * sin_TE)
    return tl.reshape(turned_TE2, [TB, PB])


@triton.jit
def _positive(x):
    """`ELU(x) + 1`."""
    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def _slope(x):
    """Its derivative."""
    return tl.where(x > 0, 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def _turned(row, c, on_TP, cos_TE, sin_TE, TB: tl.constexpr, PB: tl.constexpr):
    """What stands in some channels of some tokens, ELU + 1 of it, and that turned."""
    x_TP = tl.load(row + c[None, :], mask=on_TP, other=0.0).to(tl.float32)
    # Beyond the tile's end ELU + 1 of nothing would be 1.
    p_TP = tl.where(on_TP, _positive(x_TP), 0.0)
    return x_TP, p_TP, _turn(p_TP, cos_TE, sin_TE, TB, PB)


@triton.jit
def _state(state, b, g, p, G: tl.constexpr, P: tl.constexpr):
    """A head's state."""
    on = (p < P)[:, None] & (p < P)[None, :]
    first = (b * G + g) * ((P + 1) * P)
    return tl.load(state + first + p[:, None] * P + p[None, :], mask=on, other=0.0)


@triton.jit
def _mean(state, b, g, p, G: tl.constexpr, P: tl.constexpr):
    """What stands below a head's state."""
    first = (b * G + g) * ((P + 1) * P) + P * P
    return tl.load(state + first + p, mask=p < P, other=0.0)


@triton.jit
def _store_sums(
    parts, state_PP, mean_P, run, batch, b, g, p, length, G: tl.constexpr, P: tl.constexpr
):
    """A run's part of a state and of the mean below it, over the number of tokens."""
    first = ((run.to(tl.int64) * batch + b) * G + g) * ((P + 1) * P)
    in_P = p < P
    place_PP = first + p[:, None] * P + p[None, :]
    tl.store(parts + place_PP, state_PP / length, mask=in_P[:, None] & in_P[None, :])
    tl.store(parts + first + P * P + p, mean_P / length, mask=in_P)


@triton.jit(do_not_specialize=["length", "width", "side", "batch", "runs", "tiles"])
def sum_kernel(
    qk,
    v,
    table,
    parts,
    length,
    width,
    side,
    batch,
    runs,
    tiles,
    G: tl.constexpr,
    P: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    EPS: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """`mean(k~^T v)` and `mean(k)` of a run."""
    C: tl.constexpr = G * P
    b, g, run = _place(runs, G)
    p = tl.arange(0, PB)
    c = g * P + p
    state_PP = tl.zeros([PB, PB], tl.float32)
    mean_P = tl.zeros([PB], tl.float32)
    for i in range(0, tiles):
        t = (run * tiles + i) * TB + tl.arange(0, TB)
        on_TP = (t < length)[:, None] & (p < P)[None, :]
        row_T1 = (b * length + t)[:, None]
        cos_TE, sin_TE = _angles(table, t, g, width, side, C // 4, P, PB)
        _, k_TP, turned_TP = _turned(qk + row_T1 * (2 * C) + C, c, on_TP, cos_TE, sin_TE, TB, PB)
        v_TP = tl.load(v + row_T1 * C + c[None, :], mask=on_TP, other=0.0)
        state_PP += product(tl.trans(turned_TP), v_TP, BF16, PRECISION)
        mean_P += tl.sum(k_TP, 0)
    _store_sums(parts, state_PP, mean_P, run, batch, b, g, p, length, G, P)


@triton.jit(do_not_specialize=["length", "width", "side", "batch", "runs", "tiles"])
def read_kernel(
    qk,
    v,
    table,
    local,
    state,
    out,
    length,
    width,
    side,
    batch,
    runs,
    tiles,
    G: tl.constexpr,
    P: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    EPS: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """`local + (q~ state) / (q mean + eps)` of a tile."""
    C: tl.constexpr = G * P
    b, g, run = _place(runs, G)
    p = tl.arange(0, PB)
    c = g * P + p
    t = run * TB + tl.arange(0, TB)
    on_TP = (t < length)[:, None] & (p < P)[None, :]
    row_T1 = (b * length + t)[:, None]
    cos_TE, sin_TE = _angles(table, t, g, width, side, C // 4, P, PB)
    _, q_TP, turned_TP = _turned(qk + row_T1 * (2 * C), c, on_TP, cos_TE, sin_TE, TB, PB)
    mean_P = _mean(state, b, g, p, G, P)
    scale_T = 1.0 / (tl.sum(q_TP * mean_P[None, :], 1) + EPS)
    read_TP = product(turned_TP, _state(state, b, g, p, G, P), BF16, PRECISION)
    place_TP = row_T1 * C + c[None, :]
    local_TP = tl.load(local + place_TP, mask=on_TP, other=0.0).to(tl.float32)
    out_TP = local_TP + scale_T[:, None] * read_TP
    tl.store(out + place_TP, out_TP.to(out.dtype.element_ty), mask=on_TP)


@triton.jit(do_not_specialize=["length", "width", "side", "batch", "runs", "tiles"])
def query_back_kernel(
    qk,
    v,
    table,
    grad,
    state,
    dqk,
    parts,
    length,
    width,
    side,
    batch,
    runs,
    tiles,
    G: tl.constexpr,
    P: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    EPS: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradients of a run's queries, and its part of those of state and mean."""
    C: tl.constexpr = G * P
    b, g, run = _place(runs, G)
    p = tl.arange(0, PB)
    c = g * P + p
    state_PP = _state(state, b, g, p, G, P)
    mean_P = _mean(state, b, g, p, G, P)
    dstate_PP = tl.zeros([PB, PB], tl.float32)
    dmean_P = tl.zeros([PB], tl.float32)
    for i in range(0, tiles):
        t = (run * tiles + i) * TB + tl.arange(0, TB)
        on_TP = (t < length)[:, None] & (p < P)[None, :]
        row_T1 = (b * length + t)[:, None]
        cos_TE, sin_TE = _angles(table, t, g, width, side, C // 4, P, PB)
        x_TP, q_TP, turned_TP = _turned(qk + row_T1 * (2 * C), c, on_TP, cos_TE, sin_TE, TB, PB)
        scale_T = 1.0 / (tl.sum(q_TP * mean_P[None, :], 1) + EPS)
        grad_TP = tl.load(grad + row_T1 * C + c[None, :], mask=on_TP, other=0.0).to(tl.float32)
        read_TP = product(turned_TP, state_PP, BF16, PRECISION)
        dread_TP = scale_T[:, None] * grad_TP
        # The denominator's gradient.
        below_T = -scale_T * tl.sum(dread_TP * read_TP, 1)
        dturned_TP = product(dread_TP, tl.trans(state_PP), BF16, PRECISION)
        dq_TP = _turn(dturned_TP, cos_TE, -sin_TE, TB, PB) + below_T[:, None] * mean_P[None, :]
        dx_TP = dq_TP * _slope(x_TP)
        place_TP = row_T1 * (2 * C) + c[None, :]
        tl.store(dqk + place_TP, dx_TP.to(dqk.dtype.element_ty), mask=on_TP)
        dstate_PP += product(tl.trans(turned_TP), dread_TP, BF16, PRECISION)
        dmean_P += tl.sum(below_T[:, None] * q_TP, 0)
    # Both are means over tokens, so their gradients reach each token over the number of these.
    _store_sums(parts, dstate_PP, dmean_P, run, batch, b, g, p, length, G, P)


@triton.jit(do_not_specialize=["length", "width", "side", "batch", "runs", "tiles"])
def key_back_kernel(
    qk,
    v,
    table,
    dstate,
    dqk,
    dv,
    length,
    width,
    side,
    batch,
    runs,
    tiles,
    G: tl.constexpr,
    P: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    EPS: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradients of a tile's keys and values."""
    C: tl.constexpr = G * P
    b, g, run = _place(runs, G)
    p = tl.arange(0, PB)
    c = g * P + p
    t = run * TB + tl.arange(0, TB)
    on_TP = (t < length)[:, None] & (p < P)[None, :]
    row_T1 = (b * length + t)[:, None]
    cos_TE, sin_TE = _angles(table, t, g, width, side, C // 4, P, PB)
    x_TP, _, turned_TP = _turned(qk + row_T1 * (2 * C) + C, c, on_TP, cos_TE, sin_TE, TB, PB)
    dstate_PP = _state(dstate, b, g, p, G, P)
    v_TP = tl.load(v + row_T1 * C + c[None, :], mask=on_TP, other=0.0)
    dv_TP = product(turned_TP, dstate_PP, BF16, PRECISION)
    tl.store(dv + row_T1 * C + c[None, :], dv_TP.to(dv.dtype.element_ty), mask=on_TP)
    dturned_TP = product(v_TP, tl.trans(dstate_PP), BF16, PRECISION)
    dk_TP = _turn(dturned_TP, cos_TE, -sin_TE, TB, PB) + _mean(dstate, b, g, p, G, P)[None, :]
    place_TP = row_T1 * (2 * C) + C + c[None, :]
    tl.store(dqk + place_TP, (dk_TP * _slope(x_TP)).to(dqk.dtype.element_ty), mask=on_TP)
