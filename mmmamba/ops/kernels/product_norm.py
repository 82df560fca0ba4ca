"""Kernels of `product_norm`: whole positions in registers, read and written once.

A program stays within an image, so that what it adds up for the gradient of the factors is of one
image alone. All such parts are added in one order. Widths are constants of a kernel, numbers of
images and positions are not.

Shape suffixes: R positions of a tile, C width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts
from .norm_gate import normed

FORWARD, BACKWARD, WARPS = 2048, 1024, 4
"""Elements of a tile, which has one position at least, and warps that share it.

The way back holds more of each element, and more programs share a multiprocessor the smaller it is.
"""
PROGRAMS = 6
"""For each multiprocessor, in the backward pass."""

SIZES = ["length", "tiles", "images", "programs"]

_PLANS = Plans()


def forward(
    x: Tensor,
    y: Tensor,
    factor_BC: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    out_dtype: torch.dtype,
) -> Tensor:
    """`layer_norm(x * y * factor)` in a dtype."""
    out = torch.empty(x.shape, dtype=out_dtype, device=x.device)
    if out.numel():
        given = [t.contiguous() for t in (x, y, factor_BC, weight, bias)]
        launch, _ = _plan(product_norm_kernel, (*given, out), eps)
        launch(*given, out)
    return out


def backward(
    grad: Tensor,
    x: Tensor,
    y: Tensor,
    factor_BC: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, y, the factors, weight and bias."""
    given = [t.contiguous() for t in (x, y, factor_BC, weight, grad)]
    dx, dy = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (x, y))
    if not x.numel():
        return dx, dy, torch.zeros_like(factor_BC), torch.zeros_like(weight), torch.zeros_like(bias)
    launch, programs = _plan(product_norm_backward_kernel, (*given, dx, dy), eps)
    images, width = factor_BC.shape
    parts = torch.empty((programs * images, 2, width), dtype=torch.float32, device=x.device)
    of_factor = torch.empty((programs, images, width), dtype=torch.float32, device=x.device)
    launch(*given, dx, dy, parts, of_factor)
    return dx, dy, add_parts(of_factor, factor_BC.dtype), *add_parts(parts, weight.dtype)


def _plan(kernel, tensors: tuple[Tensor, ...], eps: float) -> tuple[Launch, int]:
    """The launch, and its number of programs for each image."""
    x = tensors[0]
    key = (kernel, len(x), x[0].numel(), x.shape[-1], eps, x.device, *[t.dtype for t in tensors])
    plan = _PLANS.get(key)
    if plan is not None:
        return plan
    images, width = len(x), x.shape[-1]
    length = x[0].numel() // width
    BC = triton.next_power_of_2(width)
    is_backward = kernel is product_norm_backward_kernel
    BR = max(1, (BACKWARD if is_backward else FORWARD) // BC)
    programs = tiles = ceil_div(length, BR)
    sizes = dict(length=length, tiles=tiles, eps=eps)
    if is_backward:
        programs = min(tiles, ceil_div(PROGRAMS * multiprocessors(x.device), images))
        sizes |= dict(images=images, programs=programs)
    warps = max(WARPS, min(16, BC // 512))
    constants = dict(C=width, BC=BC, BR=BR, num_warps=warps)
    launch = Launch(kernel, x.device, programs * images, sizes, **constants)
    return _PLANS.keep(key, (launch, programs))


@triton.jit(do_not_specialize=SIZES)
def product_norm_kernel(
    x,
    y,
    factor,
    weight,
    bias,
    out,
    length,
    tiles,
    eps,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
):
    c = tl.arange(0, BC)
    in_C = c < C
    image, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    first, r = tile * BR, tl.arange(0, BR)
    on_RC = (first + r < length)[:, None] & in_C[None, :]
    # In 64 bits: positions times width may exceed 2**31.
    base = (image.to(tl.int64) * length + first) * C
    place_RC = r[:, None] * C + c[None, :]
    product_RC = tl.load(x + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
    product_RC *= tl.load(y + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
    factor_C = tl.load(factor + image * C + c, mask=in_C, other=0.0).to(tl.float32)
    normed_RC, _ = normed(product_RC * factor_C[None, :], in_C, eps, C)
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    bias_C = tl.load(bias + c, mask=in_C, other=0.0).to(tl.float32)
    out_RC = normed_RC * weight_C[None, :] + bias_C[None, :]
    tl.store(out + base + place_RC, out_RC.to(out.dtype.element_ty), mask=on_RC)


@triton.jit(do_not_specialize=SIZES)
def product_norm_backward_kernel(
    x,
    y,
    factor,
    weight,
    grad,
    dx,
    dy,
    parts,
    of_factor,
    length,
    tiles,
    images,
    programs,
    eps,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
):
    """dx and dy, and this program's parts of what else has a gradient."""
    c = tl.arange(0, BC)
    in_C = c < C
    image, program = tl.program_id(0) // programs, tl.program_id(0) % programs
    factor_C = tl.load(factor + image * C + c, mask=in_C, other=0.0).to(tl.float32)
    weight_C = tl.load(weight + c, mask=in_C, other=0.0).to(tl.float32)
    # Kept apart for each row of a tile, and added up across rows once, behind the loop.
    dweight_RC = tl.zeros([BR, BC], tl.float32)
    dbias_RC = tl.zeros([BR, BC], tl.float32)
    dfactor_RC = tl.zeros([BR, BC], tl.float32)
    r = tl.arange(0, BR)
    place_RC = r[:, None] * C + c[None, :]
    for tile in range(program, tiles, programs):
        first = tile * BR
        on_RC = (first + r < length)[:, None] & in_C[None, :]
        # In 64 bits: positions times width may exceed 2**31.
        base = (image.to(tl.int64) * length + first) * C
        x_RC = tl.load(x + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        y_RC = tl.load(y + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        # Zero where there is nothing, and so is all that is added up below.
        g_RC = tl.load(grad + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        product_RC = x_RC * y_RC
        normed_RC, rstd_R = normed(product_RC * factor_C[None, :], in_C, eps, C)
        dweight_RC += g_RC * normed_RC
        dbias_RC += g_RC
        g_RC *= weight_C[None, :]
        mean_R, along_R = tl.sum(g_RC, 1) / C, tl.sum(g_RC * normed_RC, 1) / C
        g_RC = (g_RC - mean_R[:, None] - normed_RC * along_R[:, None]) * rstd_R[:, None]
        # Lanes beyond the row's end hold no product.
        dfactor_RC += g_RC * product_RC
        g_RC *= factor_C[None, :]
        tl.store(dx + base + place_RC, (g_RC * y_RC).to(dx.dtype.element_ty), mask=on_RC)
        tl.store(dy + base + place_RC, (g_RC * x_RC).to(dy.dtype.element_ty), mask=on_RC)
    part_C = parts + tl.program_id(0).to(tl.int64) * (2 * C) + c
    tl.store(part_C, tl.sum(dweight_RC, 0), mask=in_C)
    tl.store(part_C + C, tl.sum(dbias_RC, 0), mask=in_C)
    place_C = (program * images + image).to(tl.int64) * C + c
    tl.store(of_factor + place_C, tl.sum(dfactor_RC, 0), mask=in_C)
