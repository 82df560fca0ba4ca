"""Kernels of `norm_gate`: tiles of whole rows, normalised and gated in registers.

Shape suffixes: R rows of a tile, C channels.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts

ELEMENTS, WARPS = 4096, 4
"""Elements of a tile, and warps that share it."""
PROGRAMS = 8
"""For each multiprocessor, in the backward pass: each adds up its own rows."""
_PLANS = Plans()


def forward(y: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Rows `(R, C)`, whose channels lie side by side in memory, as in all here."""
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    if out.numel():
        _launch(norm_gate_kernel, (y, gate), eps, 0)(y, gate, weight, bias, out)
    return out


def backward(
    grad: Tensor, y: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of y, gate, weight and bias."""
    grad = grad.contiguous()
    dy, dgate = torch.empty(y.shape, dtype=y.dtype, device=y.device), torch.empty_like(grad)
    tiles = ceil_div(len(y), _rows(y.shape[1]))
    programs = max(min(tiles, PROGRAMS * multiprocessors(y.device)), 1)
    parts = torch.zeros if not y.numel() else torch.empty
    sums = parts((programs, 2, y.shape[1]), dtype=torch.float32, device=y.device)
    if y.numel():
        launch = _launch(norm_gate_backward_kernel, (y, gate), eps, programs)
        launch(grad, y, gate, weight, bias, dy, dgate, sums)
    dweight, dbias = add_parts(sums, weight.dtype)
    return dy, dgate, dweight, dbias


def _rows(channels: int) -> int:
    """Rows of a tile."""
    return max(1, ELEMENTS // triton.next_power_of_2(channels))


def _launch(kernel: Any, maps: tuple[Tensor, Tensor], eps: float, programs: int) -> Launch:
    """The launch over all rows, of a tile each or of so many programs that share the tiles."""
    y, gate = maps
    key = (programs, y.shape, y.stride(0), gate.stride(0), y.dtype, gate.dtype, eps, y.device)
    launch = _PLANS.get(key)
    if launch is None:
        rows, channels = y.shape
        tiles = ceil_div(rows, _rows(channels))
        launch = Launch(
            kernel,
            y.device,
            programs or tiles,
            dict(rows=rows, tiles=tiles, programs=programs or tiles)
            | dict(y_r=y.stride(0), gate_r=gate.stride(0)),
            C=channels,
            CB=triton.next_power_of_2(channels),
            RB=_rows(channels),
            EPS=eps,
            num_warps=WARPS,
        )
        _PLANS.keep(key, launch)
    return launch


@triton.jit
def _normed(y, row_R, c, on_RC, y_r, C: tl.constexpr, EPS: tl.constexpr):
    """Rows of mean 0 and variance 1, and 1 / the deviation that they had."""
    y_RC = tl.load(y + row_R[:, None] * y_r + c[None, :], mask=on_RC, other=0.0).to(tl.float32)
    mean_R = tl.sum(y_RC, 1) / C
    centred_RC = tl.where(on_RC, y_RC - mean_R[:, None], 0.0)
    rstd_R = 1.0 / tl.sqrt(tl.sum(centred_RC * centred_RC, 1) / C + EPS)
    return centred_RC * rstd_R[:, None], rstd_R


@triton.jit(do_not_specialize=["rows", "tiles", "programs", "y_r", "gate_r"])
def norm_gate_kernel(
    y,
    gate,
    weight,
    bias,
    out,
    rows,
    tiles,
    programs,
    y_r,
    gate_r,
    C: tl.constexpr,
    CB: tl.constexpr,
    RB: tl.constexpr,
    EPS: tl.constexpr,
):
    # In 64 bits: rows times channels may exceed 2**31.
    row_R = tl.program_id(0).to(tl.int64) * RB + tl.arange(0, RB)
    c = tl.arange(0, CB)
    in_C = c < C
    on_RC = (row_R < rows)[:, None] & in_C[None, :]
    normed_RC, _ = _normed(y, row_R, c, on_RC, y_r, C, EPS)
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    bias_C = tl.load(bias + c, mask=in_C, other=0.0).to(tl.float32)
    gate_RC = tl.load(gate + row_R[:, None] * gate_r + c[None, :], mask=on_RC, other=0.0)
    out_RC = (normed_RC * weight_C[None, :] + bias_C[None, :]) * gate_RC.to(tl.float32)
    place_RC = row_R[:, None] * C + c[None, :]
    tl.store(out + place_RC, out_RC.to(out.dtype.element_ty), mask=on_RC)


@triton.jit(do_not_specialize=["rows", "tiles", "programs", "y_r", "gate_r"])
def norm_gate_backward_kernel(
    grad,
    y,
    gate,
    weight,
    bias,
    dy,
    dgate,
    sums,
    rows,
    tiles,
    programs,
    y_r,
    gate_r,
    C: tl.constexpr,
    CB: tl.constexpr,
    RB: tl.constexpr,
    EPS: tl.constexpr,
):
    """Every so many tiles, with the sums over their rows in the end."""
    c = tl.arange(0, CB)
    in_C = c < C
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    bias_C = tl.load(bias + c, mask=in_C, other=0.0).to(tl.float32)
    dweight_C = tl.zeros([CB], tl.float32)
    dbias_C = tl.zeros([CB], tl.float32)
    # In 64 bits: rows times channels may exceed 2**31.
    row_R = tl.program_id(0).to(tl.int64) * RB + tl.arange(0, RB)
    for _ in range(tl.program_id(0), tiles, programs):
        on_RC = (row_R < rows)[:, None] & in_C[None, :]
        place_RC = row_R[:, None] * C + c[None, :]
        normed_RC, rstd_R = _normed(y, row_R, c, on_RC, y_r, C, EPS)
        gate_RC = tl.load(gate + row_R[:, None] * gate_r + c[None, :], mask=on_RC, other=0.0)
        grad_RC = tl.load(grad + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        dgate_RC = grad_RC * (normed_RC * weight_C[None, :] + bias_C[None, :])
        tl.store(dgate + place_RC, dgate_RC.to(dgate.dtype.element_ty), mask=on_RC)
        # What the norm returned, then what it divided.
        dout_RC = grad_RC * gate_RC.to(tl.float32)
        dweight_C += tl.sum(dout_RC * normed_RC, 0)
        dbias_C += tl.sum(dout_RC, 0)
        dnormed_RC = dout_RC * weight_C[None, :]
        mean_R = tl.sum(dnormed_RC, 1) / C
        slope_R = tl.sum(dnormed_RC * normed_RC, 1) / C
        dy_RC = rstd_R[:, None] * (dnormed_RC - mean_R[:, None] - normed_RC * slope_R[:, None])
        tl.store(dy + place_RC, dy_RC.to(dy.dtype.element_ty), mask=on_RC)
        row_R += programs * RB
    first = tl.program_id(0) * (2 * C)
    tl.store(sums + first + c, dweight_C, mask=in_C)
    tl.store(sums + first + C + c, dbias_C, mask=in_C)
