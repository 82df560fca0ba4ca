"""Kernels of `state_sum`: a pass over the tokens for the sum, one to read it, two to go back.

Shape suffixes: T tokens of a tile, N states, P channels of a head, G heads, E = G P + 2 N.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div
from .add_parts import add_parts
from .token_sums import TOKENS, block, product, products, runs

WARPS, BACK_WARPS = 4, 8
"""Four warps would not hold in registers what the way back sums for B and C."""
_PLANS = Plans()


def forward(
    xBC: Tensor, weight: Tensor, D: Tensor, d_state: int, out_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`y`, and the state `(B, N, D)` float32; inputs without gaps in memory, as in all here."""
    batch, length, wide = xBC.shape
    state = _sum(xBC, weight, d_state, len(D), of_grad=False)
    y = torch.empty((batch, length, wide - 2 * d_state), dtype=out_dtype, device=xBC.device)
    if y.numel():
        _each_tile(read_kernel, len(D), xBC, d_state, len(D), out_dtype)(xBC, state, D, y)
    return y, state


def backward(
    grad: Tensor, xBC: Tensor, weight: Tensor, D: Tensor, d_state: int, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the three inputs."""
    # The gradient of a `sum`, for one, is a single number expanded.
    grad = grad.contiguous()
    dxBC, dweight = torch.empty_like(xBC), torch.empty_like(weight)
    tiles = len(xBC) * ceil_div(xBC.shape[1], TOKENS)
    parts = torch.empty((tiles, len(D)), dtype=torch.float32, device=xBC.device)
    if grad.numel():
        dstate = _sum(xBC, grad, d_state, len(D), of_grad=True)
        options = dict(num_warps=BACK_WARPS, num_stages=1)
        launch = _each_tile(back_kernel, 1, xBC, d_state, len(D), grad.dtype, **options)
        launch(grad, xBC, weight, D, state, dstate, dxBC, dweight, parts)
    return dxBC, dweight, add_parts(parts, D.dtype)


def _each_tile(
    kernel: Any,
    programs: int,
    xBC: Tensor,
    d_state: int,
    heads: int,
    other: torch.dtype,
    **options: int,
) -> Launch:
    """The launch of so many programs for each tile of tokens."""
    key = (kernel.fn.__name__, xBC.shape, d_state, heads, xBC.dtype, other, xBC.device)
    launch = _PLANS.get(key)
    if launch is None:
        tiles = ceil_div(xBC.shape[1], TOKENS)
        sizes = dict(length=xBC.shape[1], tiles=tiles)
        constants = _constants(xBC, d_state, heads) | options
        launch = Launch(kernel, xBC.device, len(xBC) * tiles * programs, sizes, **constants)
        _PLANS.keep(key, launch)
    return launch


def _sum(xBC: Tensor, factor: Tensor, d_state: int, heads: int, of_grad: bool) -> Tensor:
    """`sum weight B^T x`, `(B, N, D)`; of a gradient `sum C^T grad`."""
    batch, length, wide = xBC.shape
    count, tiles = runs(batch, heads, length, xBC.device)
    shape = (count, batch, d_state, wide - 2 * d_state)
    parts = torch.empty(shape, dtype=torch.float32, device=xBC.device)
    key = ("sum", of_grad, xBC.shape, d_state, heads, xBC.dtype, factor.dtype, xBC.device)
    launch = _PLANS.get(key)
    if launch is None:
        sizes = dict(length=length, batch=batch, runs=count, tiles=tiles)
        constants = _constants(xBC, d_state, heads) | dict(OF_GRAD=of_grad)
        launch = Launch(sum_kernel, xBC.device, batch * count * heads, sizes, **constants)
        _PLANS.keep(key, launch)
    if parts.numel():
        launch(xBC, factor, parts)
    return parts[0] if count == 1 else add_parts(parts, torch.float32)


def _constants(xBC: Tensor, d_state: int, heads: int) -> dict[str, Any]:
    channels = (xBC.shape[2] - 2 * d_state) // heads
    return dict(
        N=d_state,
        P=channels,
        G=heads,
        NB=block(d_state),
        PB=block(channels),
        TB=TOKENS,
        **products(xBC),
        num_warps=WARPS,
    )


@triton.jit(do_not_specialize=["length", "batch", "runs", "tiles"])
def sum_kernel(
    xBC,
    factor,
    parts,
    length,
    batch,
    runs,
    tiles,
    N: tl.constexpr,
    P: tl.constexpr,
    G: tl.constexpr,
    NB: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
    OF_GRAD: tl.constexpr,
):
    """Some tiles of one head. `factor` is the weights, or the gradient in x's place."""
    E: tl.constexpr = G * P + 2 * N
    # Heads of the same tokens side by side: they read the same B.
    g = tl.program_id(0) % G
    run = (tl.program_id(0) // G) % runs
    b = tl.program_id(0) // (G * runs)
    n, p = tl.arange(0, NB), tl.arange(0, PB)
    in_N, in_P = n < N, p < P
    # B follows the channels of x, C follows B.
    key = G * P + N if OF_GRAD else G * P
    state_NP = tl.zeros([NB, PB], tl.float32)
    for i in range(0, tiles):
        t = (run * tiles + i) * TB + tl.arange(0, TB)
        in_T = t < length
        # In 64 bits, as tokens times channels may need them.
        row_T1 = (b.to(tl.int64) * length + t)[:, None]
        key_TN = tl.load(
            xBC + row_T1 * E + key + n[None, :], mask=in_T[:, None] & in_N[None, :], other=0.0
        )
        on_TP = in_T[:, None] & in_P[None, :]
        if OF_GRAD:
            value_TP = tl.load(
                factor + row_T1 * (G * P) + g * P + p[None, :], mask=on_TP, other=0.0
            )
        else:
            x_TP = tl.load(xBC + row_T1 * E + g * P + p[None, :], mask=on_TP, other=0.0)
            weight_T1 = tl.load(factor + row_T1 * G + g, mask=in_T[:, None], other=0.0)
            value_TP = x_TP.to(tl.float32) * weight_T1
        state_NP += product(tl.trans(key_TN), value_TP, BF16, PRECISION)
    place_NP = ((run.to(tl.int64) * batch + b) * N + n)[:, None] * (G * P) + g * P + p[None, :]
    tl.store(parts + place_NP, state_NP, mask=in_N[:, None] & in_P[None, :])


@triton.jit(do_not_specialize=["length", "tiles"])
def read_kernel(
    xBC,
    state,
    D,
    y,
    length,
    tiles,
    N: tl.constexpr,
    P: tl.constexpr,
    G: tl.constexpr,
    NB: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of one head."""
    E: tl.constexpr = G * P + 2 * N
    g = tl.program_id(0) % G
    tile = (tl.program_id(0) // G) % tiles
    b = (tl.program_id(0) // (G * tiles)).to(tl.int64)
    n, p = tl.arange(0, NB), tl.arange(0, PB)
    t = tile * TB + tl.arange(0, TB)
    in_T, in_N, in_P = t < length, n < N, p < P
    row_T1 = (b * length + t)[:, None]
    on_TP = in_T[:, None] & in_P[None, :]
    C_TN = tl.load(
        xBC + row_T1 * E + (G * P + N) + n[None, :], mask=in_T[:, None] & in_N[None, :], other=0.0
    )
    x_TP = tl.load(xBC + row_T1 * E + g * P + p[None, :], mask=on_TP, other=0.0)
    place_NP = (b * N + n)[:, None] * (G * P) + g * P + p[None, :]
    state_NP = tl.load(state + place_NP, mask=in_N[:, None] & in_P[None, :], other=0.0)
    y_TP = product(C_TN, state_NP, BF16, PRECISION) + tl.load(D + g) * x_TP.to(tl.float32)
    tl.store(y + row_T1 * (G * P) + g * P + p[None, :], y_TP.to(y.dtype.element_ty), mask=on_TP)


@triton.jit(do_not_specialize=["length", "tiles"])
def back_kernel(
    grad,
    xBC,
    weight,
    D,
    state,
    dstate,
    dxBC,
    dweight,
    parts,
    length,
    tiles,
    N: tl.constexpr,
    P: tl.constexpr,
    G: tl.constexpr,
    NB: tl.constexpr,
    PB: tl.constexpr,
    TB: tl.constexpr,
    BF16: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of all heads, which share B and C."""
    E: tl.constexpr = G * P + 2 * N
    tile = tl.program_id(0) % tiles
    b = (tl.program_id(0) // tiles).to(tl.int64)
    n, p = tl.arange(0, NB), tl.arange(0, PB)
    t = tile * TB + tl.arange(0, TB)
    in_T, in_N, in_P = t < length, n < N, p < P
    row_T1 = (b * length + t)[:, None]
    on_TN, on_TP = in_T[:, None] & in_N[None, :], in_T[:, None] & in_P[None, :]
    on_NP = in_N[:, None] & in_P[None, :]
    B_TN = tl.load(xBC + row_T1 * E + G * P + n[None, :], mask=on_TN, other=0.0)
    dB_TN = tl.zeros([TB, NB], tl.float32)
    dC_TN = tl.zeros([TB, NB], tl.float32)
    for g in range(0, G):
        c = g * P + p[None, :]
        x_TP = tl.load(xBC + row_T1 * E + c, mask=on_TP, other=0.0)
        grad_TP = tl.load(grad + row_T1 * (G * P) + c, mask=on_TP, other=0.0)
        weight_T1 = tl.load(weight + row_T1 * G + g, mask=in_T[:, None], other=0.0)
        place_NP = (b * N + n)[:, None] * (G * P) + c
        state_NP = tl.load(state + place_NP, mask=on_NP, other=0.0)
        dstate_NP = tl.load(dstate + place_NP, mask=on_NP, other=0.0)
        dC_TN += product(grad_TP, tl.trans(state_NP), BF16, PRECISION)
        # What a token's key gains before its weight.
        key_TN = product(x_TP, tl.trans(dstate_NP), BF16, PRECISION)
        dB_TN += weight_T1 * key_TN
        dweight_T = tl.sum(B_TN.to(tl.float32) * key_TN, 1)
        tl.store(dweight + row_T1 * G + g, dweight_T[:, None], mask=in_T[:, None])
        wide_TP = grad_TP.to(tl.float32)
        dx_TP = weight_T1 * product(B_TN, dstate_NP, BF16, PRECISION) + tl.load(D + g) * wide_TP
        tl.store(dxBC + row_T1 * E + c, dx_TP.to(dxBC.dtype.element_ty), mask=on_TP)
        dD = tl.sum(tl.sum(wide_TP * x_TP.to(tl.float32), 1), 0)
        tl.store(parts + tl.program_id(0).to(tl.int64) * G + g, dD)
    place_TN = row_T1 * E + G * P + n[None, :]
    tl.store(dxBC + place_TN, dB_TN.to(dxBC.dtype.element_ty), mask=on_TN)
    tl.store(dxBC + place_TN + N, dC_TN.to(dxBC.dtype.element_ty), mask=on_TN)
