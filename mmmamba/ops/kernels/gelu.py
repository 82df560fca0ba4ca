"""The kernel of GELU's backward pass: gradient, activation and sums over rows from one reading.

Arithmetic is float32, and results are rounded once, as those of PyTorch's `gelu` and
`gelu_backward` are. It is not theirs to the last bit: some of a thousand results in half precision
are rounded to the neighbour of PyTorch's, nearly all of them where GELU is next to nothing.

Each of a fixed number of programs adds up its own rows, and the programs' parts are added in order,
so two runs are bit-equal. Widths are constants of the kernel, as of a layer; the number of rows is
an argument that is not specialised on, so a new image size compiles nothing.

Shape suffixes: R rows and C columns of a tile.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Plans
from .add_parts import add_parts
from .sum_rows import ColumnPlan, plan_columns

ELEMENTS = 2048
"""Elements of a tile."""
_PLANS = Plans()


class Backward(NamedTuple):
    """What one reading of GELU's input and its output's gradient gives."""

    dx: Tensor
    activated: Tensor
    """GELU of the input."""
    sums: Tensor | None
    """`dx` added up over all rows before it is rounded, `(C,)`; None where not wanted."""


def backward(grad: Tensor, x: Tensor, tanh: bool, wants_sums: bool) -> Backward:
    """The backward pass of `gelu(x)`.

    Args:
        grad: `(..., C)` of x's dtype and without gaps. The gradient of x is written over it.
        tanh: GELU's approximation by a hyperbolic tangent instead of the exact one.
        wants_sums: add up the gradient over rows, as for the bias of a layer before.
    """
    x = x.contiguous()
    activated = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    width = x.shape[-1]
    rows = x.numel() // width if width else 0
    key = (rows, width, x.dtype, x.device, tanh, wants_sums)
    plan = _PLANS.get(key) or _PLANS.keep(key, _plan(rows, width, x.device, tanh, wants_sums))
    parts = None
    if wants_sums:
        # No program adds to another's sum: atomic additions would come in another order each time.
        parts = torch.empty((plan.programs, width), dtype=torch.float32, device=x.device)
    if rows:
        plan.launch(grad, x, activated, parts)
    sums = None if parts is None else add_parts(parts, grad.dtype)
    return Backward(grad, activated, sums)


def _plan(rows: int, width: int, device: torch.device, tanh: bool, wants_sums: bool) -> ColumnPlan:
    constants = dict(TANH=tanh, SUMS=wants_sums)
    return plan_columns(gelu_backward_kernel, rows, width, device, ELEMENTS, **constants)


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def gelu_backward_kernel(
    grad,
    x,
    activated,
    parts,
    rows,
    tiles,
    programs,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
    TANH: tl.constexpr,
    SUMS: tl.constexpr,
):
    """Tiles of some columns, all `programs` rows of tiles; the gradient is overwritten."""
    BLOCKS: tl.constexpr = (C + BC - 1) // BC
    # Neighbouring programs take neighbouring columns, whose memory lies side by side.
    c = (tl.program_id(0) % BLOCKS) * BC + tl.arange(0, BC)
    program = tl.program_id(0) // BLOCKS
    r = tl.arange(0, BR)
    in_C = c < C
    place_RC = r[:, None] * C + c[None, :]
    # Kept apart for each row of a tile, and added up across rows once, behind the loop.
    sums_RC = tl.zeros([BR, BC], tl.float32)
    # In 64 bits: rows times width may exceed 2**31.
    first = program.to(tl.int64) * BR
    for _ in range(program, tiles, programs):
        on_RC = (first + r < rows)[:, None] & in_C[None, :]
        base = first * C
        x_RC = tl.load(x + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        g_RC = tl.load(grad + base + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        if TANH:
            y_RC, slope_RC = _tanh_form(x_RC)
        else:
            y_RC, slope_RC = exact_form(x_RC)
        tl.store(activated + base + place_RC, y_RC.to(activated.dtype.element_ty), mask=on_RC)
        dx_RC = g_RC * slope_RC
        tl.store(grad + base + place_RC, dx_RC.to(grad.dtype.element_ty), mask=on_RC)
        if SUMS:
            sums_RC += dx_RC
        first += programs.to(tl.int64) * BR
    if SUMS:
        tl.store(parts + program * C + c, tl.sum(sums_RC, 0), mask=in_C)


@triton.jit
def exact_form(x):
    """GELU and its slope (Hendrycks and Gimpel, arXiv 1606.08415, section 2).

    With the error function to a few 1e-7, from the exponential that the slope needs anyway
    (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26). With the library's the
    kernel would wait for its arithmetic, not for the memory.
    """
    bell = tl.exp(-0.5 * x * x)
    # Their p over the square root of 2, and half of their coefficients.
    t = 1.0 / (1.0 + 0.231641888 * tl.abs(x))
    tail = 0.530702714 * t - 0.7265760135
    tail = (tail * t + 0.7107068705) * t - 0.142248368
    tail = (tail * t + 0.127414796) * t * bell
    cdf = tl.where(x < 0.0, tail, 1.0 - tail)
    # The density's 1 / sqrt(2 pi).
    return x * cdf, cdf + x * bell * 0.3989422804014327


@triton.jit
def _tanh_form(x):
    """The same, approximated by a hyperbolic tangent (section 2)."""
    # sqrt(2 / pi), and the weight of the cube.
    inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    # (1 + tanh(inner)) / 2 is a sigmoid, which is nothing long before its exponential is infinite.
    half = 1.0 / (1.0 + tl.exp(tl.minimum(-2.0 * inner, 80.0)))
    inner_slope = 0.7978845608028654 * (1.0 + 0.134145 * x * x)
    return x * half, half + 2.0 * x * half * (1.0 - half) * inner_slope
