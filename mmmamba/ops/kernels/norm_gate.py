"""Kernels of `norm_gate`: whole groups in registers, read and written once.

A row is one group of one position. A tile holds the same groups in the same rows wherever it
stands, so that a program sums its part of the gradients of weight and bias in registers; the parts
are added in one order. Widths are constants of a kernel, numbers of positions are not.

Shape suffixes: R rows of a tile (positions by groups, these padded to a power of two), E width.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts

FORWARD, BACKWARD, WARPS = 2048, 1024, 4
"""Elements of a tile, which has one position at least, and warps that share it.

The way back holds more of each element, and more programs share a multiprocessor the smaller it is.
"""
PROGRAMS = 6
"""For each multiprocessor, in the backward pass."""

SIZES = ["positions", "tiles", "programs", "z_p", "g_p"]

_PLANS = Plans()


def forward(
    y: Tensor,
    z: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> Tensor:
    """`layer_norm(y) * silu(z)`, or times z itself, in z's dtype; channels side by side."""
    out = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    y, z = _rows(y.contiguous()), _rows(z)
    if len(y):
        tensors = (y, z, weight_C.contiguous(), bias_C.contiguous(), out)
        launch, _ = _plan(norm_gate_kernel, tensors, (groups, eps, silu), z_p=z.stride(0))
        launch(*tensors)
    return out


def backward(
    grad: Tensor,
    y: Tensor,
    z: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of y, z, weight and bias."""
    # The gradient of a `sum`, for one, is a single number expanded, with strides of 0.
    grad = grad if grad.stride(-1) == 1 else grad.contiguous()
    dy = torch.empty(y.shape, dtype=y.dtype, device=y.device)
    dz = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    if not y.numel():
        return dy, dz, torch.zeros_like(weight_C), torch.zeros_like(bias_C)
    y, z, grad = _rows(y.contiguous()), _rows(z), _rows(grad)
    tensors = (y, z, weight_C.contiguous(), bias_C.contiguous(), grad, dy, dz)
    strides = dict(z_p=z.stride(0), g_p=grad.stride(0))
    launch, programs = _plan(norm_gate_backward_kernel, tensors, (groups, eps, silu), **strides)
    parts = torch.empty((programs, 2, y.shape[1]), dtype=torch.float32, device=y.device)
    launch(*tensors, parts)
    return dy, dz, *add_parts(parts, weight_C.dtype)


def _rows(x: Tensor) -> Tensor:
    """`(positions, C)`; a part of a wider projection stays where it is."""
    return x.reshape(-1, x.shape[-1])


def _plan(
    kernel, tensors: tuple[Tensor, ...], options: tuple[int, float, bool], **strides: int
) -> tuple[Launch, int]:
    """The launch, and its number of programs."""
    y, (groups, eps, silu) = tensors[0], options
    positions, channels = y.shape
    dtypes = [x.dtype for x in tensors]
    key = (kernel, positions, channels, *options, y.device, *strides.values(), *dtypes)
    plan = _PLANS.get(key)
    if plan is not None:
        return plan
    width, BG = channels // groups, triton.next_power_of_2(groups)
    BE = triton.next_power_of_2(width)
    is_backward = kernel is norm_gate_backward_kernel
    BP = max(1, (BACKWARD if is_backward else FORWARD) // (BG * BE))
    programs = tiles = ceil_div(positions, BP)
    # Strides are counted in vectors, of as many channels as divide them all: so the compiler sees
    # where whole vectors begin, though it knows none of these numbers.
    vector = math.gcd(8, width, *strides.values())
    sizes = dict(positions=positions, eps=eps)
    sizes |= {name: stride // vector for name, stride in strides.items()}
    if is_backward:
        programs = min(tiles, PROGRAMS * multiprocessors(y.device))
        sizes |= dict(tiles=tiles, programs=programs)
    constants = dict(G=groups, BG=BG, E=width, BE=BE, BP=BP, VECTOR=vector, SILU=silu)
    warps = max(WARPS, min(16, BG * BE // 512))
    launch = Launch(kernel, y.device, programs, sizes, **constants, num_warps=warps)
    return _PLANS.keep(key, (launch, programs))


@triton.jit
def normed(y_RE, in_E, eps, E: tl.constexpr):
    """`(y - mean) / std` of each row, and 1 / std."""
    mean_R = tl.sum(y_RE, 1) / E
    # Lanes beyond the row's end hold minus the mean by now, which must not count.
    y_RE = tl.where(in_E[None, :], y_RE - mean_R[:, None], 0.0)
    rstd_R = 1.0 / tl.sqrt(tl.sum(y_RE * y_RE, 1) / E + eps)
    return y_RE * rstd_R[:, None], rstd_R


@triton.jit(do_not_specialize=SIZES)
def norm_gate_kernel(
    y,
    z,
    weight,
    bias,
    out,
    positions,
    eps,
    z_p,
    G: tl.constexpr,
    BG: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
    BP: tl.constexpr,
    VECTOR: tl.constexpr,
    SILU: tl.constexpr,
):
    r, e = tl.arange(0, BP * BG), tl.arange(0, BE)
    p_R, g_R = r // BG, r % BG
    # In 64 bits: positions times channels may exceed 2**31.
    first = tl.program_id(0).to(tl.int64) * BP
    in_E = e < E
    on_RE = ((first + p_R < positions) & (g_R < G))[:, None] & in_E[None, :]
    channel_RE = g_R[:, None] * E + e[None, :]
    place_RE = p_R[:, None] * (G * E) + channel_RE
    y, z, out = y + first * (G * E), z + first * z_p * VECTOR, out + first * (G * E)
    y_RE = tl.load(y + place_RE, mask=on_RE, other=0.0).to(tl.float32)
    z_RE = tl.load(z + p_R[:, None] * z_p * VECTOR + channel_RE, mask=on_RE, other=0.0).to(
        tl.float32
    )
    weight_RE = tl.load(weight + channel_RE, mask=on_RE, other=0.0).to(tl.float32)
    bias_RE = tl.load(bias + channel_RE, mask=on_RE, other=0.0).to(tl.float32)
    normed_RE, _ = normed(y_RE, in_E, eps, E)
    out_RE = (normed_RE * weight_RE + bias_RE) * z_RE
    if SILU:
        out_RE *= tl.sigmoid(z_RE)
    tl.store(out + place_RE, out_RE.to(out.dtype.element_ty), mask=on_RE)


@triton.jit(do_not_specialize=SIZES)
def norm_gate_backward_kernel(
    y,
    z,
    weight,
    bias,
    g,
    dy,
    dz,
    parts,
    positions,
    tiles,
    programs,
    eps,
    z_p,
    g_p,
    G: tl.constexpr,
    BG: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
    BP: tl.constexpr,
    VECTOR: tl.constexpr,
    SILU: tl.constexpr,
):
    """dy and dz, and this program's part of dweight and dbias."""
    r, e = tl.arange(0, BP * BG), tl.arange(0, BE)
    p_R, g_R = r // BG, r % BG
    in_E = e < E
    there_RE = (g_R < G)[:, None] & in_E[None, :]
    channel_RE = g_R[:, None] * E + e[None, :]
    weight_RE = tl.load(weight + channel_RE, mask=there_RE, other=0.0).to(tl.float32)
    bias_RE = tl.load(bias + channel_RE, mask=there_RE, other=0.0).to(tl.float32)
    # Kept apart for each row of a tile, and added up across positions once, behind the loop.
    dweight_RE = tl.zeros([BP * BG, BE], tl.float32)
    dbias_RE = tl.zeros([BP * BG, BE], tl.float32)
    place_RE = p_R[:, None] * (G * E) + channel_RE
    # In 64 bits: positions times channels may exceed 2**31.
    first = tl.program_id(0).to(tl.int64) * BP
    for _ in range(tl.program_id(0), tiles, programs):
        on_RE = (first + p_R < positions)[:, None] & there_RE
        base = first * (G * E)
        z_place_RE = p_R[:, None] * z_p * VECTOR + channel_RE
        g_place_RE = p_R[:, None] * g_p * VECTOR + channel_RE
        y_RE = tl.load(y + base + place_RE, mask=on_RE, other=0.0).to(tl.float32)
        z_RE = tl.load(z + first * z_p * VECTOR + z_place_RE, mask=on_RE, other=0.0).to(tl.float32)
        # Zero where there is nothing, and so is all that is added up below.
        g_RE = tl.load(g + first * g_p * VECTOR + g_place_RE, mask=on_RE, other=0.0).to(tl.float32)
        normed_RE, rstd_R = normed(y_RE, in_E, eps, E)
        dz_RE = g_RE * (normed_RE * weight_RE + bias_RE)
        if SILU:
            sigmoid_RE = tl.sigmoid(z_RE)
            dz_RE *= sigmoid_RE * (1 + z_RE * (1 - sigmoid_RE))
            z_RE *= sigmoid_RE
        tl.store(dz + base + place_RE, dz_RE.to(dz.dtype.element_ty), mask=on_RE)
        g_RE *= z_RE
        dweight_RE += g_RE * normed_RE
        dbias_RE += g_RE
        g_RE *= weight_RE
        mean_R, along_R = tl.sum(g_RE, 1) / E, tl.sum(g_RE * normed_RE, 1) / E
        dy_RE = (g_RE - mean_R[:, None] - normed_RE * along_R[:, None]) * rstd_R[:, None]
        tl.store(dy + base + place_RE, dy_RE.to(dy.dtype.element_ty), mask=on_RE)
        first += programs * BP
    # Rows of one group, one for each position of a tile.
    dweight_GE = tl.sum(tl.reshape(dweight_RE, [BP, BG, BE]), 0)
    dbias_GE = tl.sum(tl.reshape(dbias_RE, [BP, BG, BE]), 0)
    k = tl.arange(0, BG)
    in_GE = (k < G)[:, None] & in_E[None, :]
    part_GE = parts + tl.program_id(0) * (2 * G * E) + k[:, None] * E + e[None, :]
    tl.store(part_GE, dweight_GE, mask=in_GE)
    tl.store(part_GE + G * E, dbias_GE, mask=in_GE)
