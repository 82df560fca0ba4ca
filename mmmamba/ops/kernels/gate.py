"""Kernels of `silu_gate`: tiles of rows by channels."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

ROWS, CHANNELS = 8, 256

MAPS = ("y", "z", "out", "g", "dy", "dz")
SIZES = ["rows", "length", "channels"] + [f"{name}_{axis}" for name in MAPS for axis in "bl"]
"""Arguments that no kernel is specialised on."""

_PLANS = Plans()


def forward(y: Tensor, z: Tensor, scale: float) -> Tensor:
    """`scale * y * silu(z)` in z's dtype; channels side by side in memory, as in all here."""
    gated = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    _run(gate_kernel, "y z out", (y, z, gated), scale)
    return gated


def backward(grad: Tensor, y: Tensor, z: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of y and z."""
    # The gradient of a `sum`, for one, is a single number expanded, with strides of 0.
    grad = grad if grad.stride(-1) == 1 else grad.contiguous()
    dy = torch.empty(y.shape, dtype=y.dtype, device=y.device)
    dz = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    _run(gate_backward_kernel, "y z g dy dz", (y, z, grad, dy, dz), scale)
    return dy, dz


def _run(kernel, names: str, tensors: tuple[Tensor, ...], scale: float) -> None:
    """`tensors` `(B, L, D)`, each in its own strides, which the kernel calls `y_b` and `y_l`."""
    y = tensors[0]
    if y.numel() == 0:
        return
    key = (names, scale, y.shape, y.device, *[(x.stride(), x.dtype) for x in tensors])
    launch = _PLANS.get(key) or _PLANS.keep(key, _plan(kernel, names, tensors, scale))
    launch(*tensors)


def _plan(kernel, names: str, tensors: tuple[Tensor, ...], scale: float) -> Launch:
    y = tensors[0]
    batch, length, channels = y.shape
    strides = {}
    for name, x in zip(names.split(), tensors):
        # Each map has strides of its own: y and z are often parts of a wider projection.
        strides[f"{name}_b"], strides[f"{name}_l"] = x.stride(0), x.stride(1)
    return Launch(
        kernel,
        y.device,
        ceil_div(batch * length, ROWS) * ceil_div(channels, CHANNELS),
        strides | dict(rows=batch * length, length=length, channels=channels),
        SCALE=scale,
        RB=ROWS,
        DB=CHANNELS,
        num_warps=4,
    )


@triton.jit
def _tile(rows, length, channels, RB: tl.constexpr, DB: tl.constexpr):
    """Image and step of each row, channels, and which of them there are."""
    blocks = tl.cdiv(channels, DB)
    pid = tl.program_id(0)
    # Rows of all images are numbered through, so that short sequences fill tiles, too; in 64 bits,
    # as the offsets that follow from it may need them.
    row = (pid // blocks).to(tl.int64) * RB + tl.arange(0, RB)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    there = (row < rows)[:, None] & (d < channels)[None, :]
    return (row // length)[:, None], (row % length)[:, None], d[None, :], there


@triton.jit(do_not_specialize=SIZES)
def gate_kernel(
    y,
    z,
    out,
    y_b,
    y_l,
    z_b,
    z_l,
    out_b,
    out_l,
    rows,
    length,
    channels,
    SCALE: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    b, t, d, on = _tile(rows, length, channels, RB, DB)
    z_RD = tl.load(z + b * z_b + t * z_l + d, mask=on, other=0.0).to(tl.float32)
    y_RD = tl.load(y + b * y_b + t * y_l + d, mask=on, other=0.0).to(tl.float32)
    # Far below zero the exponential is infinite and the quotient 0, as SiLU is.
    gated = SCALE * y_RD * z_RD / (1.0 + tl.exp(-z_RD))
    tl.store(out + b * out_b + t * out_l + d, gated.to(out.dtype.element_ty), mask=on)


@triton.jit(do_not_specialize=SIZES)
def gate_backward_kernel(
    y,
    z,
    g,
    dy,
    dz,
    y_b,
    y_l,
    z_b,
    z_l,
    g_b,
    g_l,
    dy_b,
    dy_l,
    dz_b,
    dz_l,
    rows,
    length,
    channels,
    SCALE: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    b, t, d, on = _tile(rows, length, channels, RB, DB)
    z_RD = tl.load(z + b * z_b + t * z_l + d, mask=on, other=0.0).to(tl.float32)
    y_RD = tl.load(y + b * y_b + t * y_l + d, mask=on, other=0.0).to(tl.float32)
    g_RD = SCALE * tl.load(g + b * g_b + t * g_l + d, mask=on, other=0.0).to(tl.float32)
    # Computed again from z: keeping it would cost a tensor of the inner width.
    sigmoid = 1.0 / (1.0 + tl.exp(-z_RD))
    tl.store(dy + b * dy_b + t * dy_l + d, (g_RD * z_RD * sigmoid).to(dy.dtype.element_ty), mask=on)
    slope = sigmoid * (1.0 + z_RD * (1.0 - sigmoid))
    tl.store(dz + b * dz_b + t * dz_l + d, (g_RD * y_RD * slope).to(dz.dtype.element_ty), mask=on)
