"""Kernels of `add_spectrum`: tiles of rows by channels, of the plane or of its half.

The transform of real numbers is kept for the channels up to C / 2 (`H` of them). What lies at
frequency (k, f) beyond is the conjugate of what lies at (-k, -f), which is kept.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

ROWS, CHANNELS = 8, 128
SIZES = ["rows", "length", "channels", "kept"]
"""Arguments that no kernel is specialised on: rows of all images, and what the columns are."""

_PLANS = Plans()


def forward(x: Tensor, weight: Tensor, shift: bool) -> tuple[Tensor, Tensor]:
    """`add_spectrum` of a contiguous x, and the half of the transform, `(B, L, H, 2)` float32."""
    # Unscaled, as PyTorch would go over the result once more for that.
    half = torch.view_as_real(torch.fft.rfft2(x.float())).contiguous()
    out = torch.empty_like(x)
    _run(add_spectrum_kernel, (out, x, half, weight), x, x.shape[2], shift)
    return out, half


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, half: Tensor, shift: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weights."""
    grad = grad.contiguous()
    dhalf = torch.empty_like(half)
    # What a program adds up of the gradient of each weight.
    parts = grad.new_zeros(2, _programs(x, x.shape[2]), dtype=torch.float32)
    _run(half_backward_kernel, (dhalf, parts[1], grad, half, weight), x, half.shape[2], shift)
    dspectrum = torch.fft.irfft2(torch.view_as_complex(dhalf), x.shape[1:], norm="forward")
    dspectrum = dspectrum.contiguous()
    dx = torch.empty_like(x)
    _run(end_backward_kernel, (dx, parts[0], grad, x, dspectrum, weight), x, x.shape[2], shift)
    return dx, parts.sum(1).to(weight.dtype)


def _programs(x: Tensor, width: int) -> int:
    return ceil_div(x.shape[0] * x.shape[1], ROWS) * ceil_div(width, CHANNELS)


def _run(kernel, tensors: tuple[Tensor, ...], x: Tensor, width: int, shift: bool) -> None:
    """Programs for tiles of the rows of all images by `width` columns."""
    if x.numel() == 0:
        return
    key = (kernel.fn.__name__, shift, x.shape, x.device, *[t.dtype for t in tensors])
    launch = _PLANS.get(key)
    if launch is None:
        batch, length, channels = x.shape
        sizes = dict(rows=batch * length, length=length, channels=channels, kept=channels // 2 + 1)
        constants = {} if kernel is end_backward_kernel else dict(SHIFT=shift)
        launch = Launch(
            kernel,
            x.device,
            _programs(x, width),
            sizes,
            **constants,
            RB=ROWS,
            DB=CHANNELS,
            num_warps=4,
        )
        _PLANS.keep(key, launch)
    launch(*tensors)


@triton.jit
def _tile(rows, length, width, RB: tl.constexpr, DB: tl.constexpr):
    """First row of the image, step and column of each element of a tile, and which there are."""
    blocks = tl.cdiv(width, DB)
    pid = tl.program_id(0)
    # In 64 bits, as the offsets that follow from it may need them.
    row = (pid // blocks).to(tl.int64) * RB + tl.arange(0, RB)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    there = (row < rows)[:, None] & (d < width)[None, :]
    k = (row % length)[:, None]
    return row[:, None] - k, k, d[None, :], there


@triton.jit(do_not_specialize=SIZES)
def add_spectrum_kernel(
    out,
    x,
    half,
    weight,
    rows,
    length,
    channels,
    kept,
    SHIFT: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    base, t, d, on = _tile(rows, length, channels, RB, DB)
    k, f = t, d
    if SHIFT:
        k = (t + length - length // 2) % length
        f = (d + channels - channels // 2) % channels
    mirrored = f >= kept
    k = tl.where(mirrored & (k > 0), length - k, k)
    f = tl.where(mirrored, channels - f, f)
    at = ((base + k) * kept + f) * 2
    real = tl.load(half + at, mask=on, other=0.0)
    imaginary = tl.load(half + at + 1, mask=on, other=0.0)
    area = 1.0 * length * channels
    amplitude = tl.sqrt((real * real + imaginary * imaginary) / area)
    here = (base + t) * channels + d
    y = tl.load(weight).to(tl.float32) * tl.load(x + here, mask=on, other=0.0).to(tl.float32)
    y += tl.load(weight + 1).to(tl.float32) * amplitude
    tl.store(out + here, y.to(out.dtype.element_ty), mask=on)


@triton.jit(do_not_specialize=SIZES)
def half_backward_kernel(
    dhalf,
    part,
    g,
    half,
    weight,
    rows,
    length,
    channels,
    kept,
    SHIFT: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    base, k, f, on = _tile(rows, length, kept, RB, DB)
    at = ((base + k) * kept + f) * 2
    real = tl.load(half + at, mask=on, other=0.0)
    imaginary = tl.load(half + at + 1, mask=on, other=0.0)
    # Both halves' gradients come together here, as the inverse transform counts this one twice.
    mirror_k = tl.where(k > 0, length - k, k)
    mirror_f = tl.where(f > 0, channels - f, f)
    t, d, mirror_t, mirror_d = k, f, mirror_k, mirror_f
    if SHIFT:
        t, mirror_t = (k + length // 2) % length, (mirror_k + length // 2) % length
        d, mirror_d = (f + channels // 2) % channels, (mirror_f + channels // 2) % channels
    grad = tl.load(g + (base + t) * channels + d, mask=on, other=0.0).to(tl.float32)
    mirror = (base + mirror_t) * channels + mirror_d
    grad += tl.load(g + mirror, mask=on, other=0.0).to(tl.float32)
    area = 1.0 * length * channels
    amplitude = tl.sqrt(real * real + imaginary * imaginary)
    # An amplitude of 0 has no slope.
    slope = tl.where(amplitude > 0.0, 0.5 * grad / tl.where(amplitude > 0.0, amplitude, 1.0), 0.0)
    slope *= tl.load(weight + 1).to(tl.float32) / tl.sqrt(area)
    tl.store(dhalf + at, slope * real, mask=on)
    tl.store(dhalf + at + 1, slope * imaginary, mask=on)
    # Where the mirror is kept too, it adds the other half of this itself.
    share = tl.where(mirror_f < kept, 0.5, 1.0)
    total = tl.sum(tl.sum(tl.where(on, share * grad * amplitude, 0.0), 1), 0)
    tl.store(part + tl.program_id(0), total / tl.sqrt(area))


@triton.jit(do_not_specialize=SIZES)
def end_backward_kernel(
    dx,
    part,
    g,
    x,
    dspectrum,
    weight,
    rows,
    length,
    channels,
    kept,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    base, t, d, on = _tile(rows, length, channels, RB, DB)
    here = (base + t) * channels + d
    grad = tl.load(g + here, mask=on, other=0.0).to(tl.float32)
    slope = tl.load(weight).to(tl.float32) * grad
    slope += tl.load(dspectrum + here, mask=on, other=0.0)
    tl.store(dx + here, slope.to(dx.dtype.element_ty), mask=on)
    product = grad * tl.load(x + here, mask=on, other=0.0).to(tl.float32)
    tl.store(part + tl.program_id(0), tl.sum(tl.sum(product, 1), 0))
