# mypy: disable-error-code="assignment, misc, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `split_bands` and `join_bands`: each window of 2x2 pixels is read and written once.

Shape suffixes: R windows and D channels of a tile. Pixels s of a window are numbered row by row,
as are the numbers of a filter; a channel's bands k lie side by side in memory.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

WINDOWS, CHANNELS = 16, 64

SIZES = ["x_b", "x_h", "x_w", "y_b", "y_h", "y_w", "height", "width", "windows", "vectors"]
"""Arguments that no kernel is specialised on."""

_PLANS = Plans()


def split(x: Tensor, filters: Tensor) -> Tensor:
    """Maps `(B, C, H, W)` to their bands `(B, 4 C, ceil(H / 2), ceil(W / 2))`."""
    batch, channels, height, width = x.shape
    bands = _empty_map((batch, 4 * channels, ceil_div(height, 2), ceil_div(width, 2)), x)
    _run(split_kernel, _side_by_side(x), bands, filters)
    return bands


def join(bands: Tensor, filters: Tensor, height: int, width: int) -> Tensor:
    """The transpose of `split`: bands to maps `(B, C, height, width)`."""
    x = _empty_map((len(bands), bands.shape[1] // 4, height, width), bands)
    _run(join_kernel, x, _side_by_side(bands), filters)
    return x


def _empty_map(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _side_by_side(x: Tensor) -> Tensor:
    """The map, its channels side by side in memory; a gradient may come in any strides."""
    return x if x.stride(1) == 1 else x.contiguous(memory_format=torch.channels_last)


def _run(kernel, x: Tensor, bands: Tensor, filters: Tensor) -> None:
    if not x.numel():
        return
    filters = filters.contiguous()
    strides = (x.stride(), bands.stride())
    key = (id(kernel), x.shape, *strides, x.dtype, filters.dtype, x.device)
    launch = _PLANS.get(key) or _PLANS.keep(key, _plan(kernel, x, bands))
    launch(x, filters, bands)


def _plan(kernel, x: Tensor, bands: Tensor) -> Launch:
    batch, channels, height, width = x.shape
    strides = {}
    for name, of in (("x", x), ("y", bands)):
        for axis, dim in (("b", 0), ("h", 2), ("w", 3)):
            # The stride of an axis of length 1 means nothing and may be any number.
            strides[f"{name}_{axis}"] = 0 if of.shape[dim] == 1 else of.stride(dim)
    # All are counted in vectors, so that the compiler sees where these begin. No load is wider than
    # 16 bytes, which hold 8 channels of half precision.
    vector = math.gcd(8, channels, *strides.values())
    sizes = {name: stride // vector for name, stride in strides.items()}
    windows = batch * bands.shape[2] * bands.shape[3]
    return Launch(
        kernel,
        x.device,
        ceil_div(windows, WINDOWS) * ceil_div(channels, CHANNELS),
        sizes | dict(height=height, width=width, windows=windows, vectors=channels // vector),
        VECTOR=vector,
        RB=WINDOWS,
        DB=CHANNELS,
        num_warps=4,
    )


@triton.jit
def _place(height, width, windows, channels, RB: tl.constexpr, DB: tl.constexpr):
    """Image, row and column of each window, which of them there are, and the first channel."""
    blocks = tl.cdiv(channels, DB)
    pid = tl.program_id(0)
    # In 64 bits, as offsets of large batches need them.
    window = (pid // blocks).to(tl.int64) * RB + tl.arange(0, RB)
    down, across = (height + 1) // 2, (width + 1) // 2
    image, row, column = window // (down * across), window // across % down, window % across
    there = window < windows
    return image[:, None], row[:, None], column[:, None], there[:, None], pid % blocks * DB


@triton.jit
def _tap(filters, d, channels, k: tl.constexpr, s: tl.constexpr):
    """Number s of each channel's filter k, `[1, D]`."""
    tap_D = tl.load(filters + d * 16 + (4 * k + s), mask=d < channels, other=0.0)
    return tap_D.to(tl.float32)[None, :]


@triton.jit(do_not_specialize=SIZES)
def split_kernel(
    x,
    filters,
    y,
    x_b,
    x_h,
    x_w,
    y_b,
    y_h,
    y_w,
    height,
    width,
    windows,
    vectors,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    channels = vectors * VECTOR
    b, i, j, there, first = _place(height, width, windows, channels, RB, DB)
    d = first + tl.arange(0, DB)
    on_D = (d < channels)[None, :]
    pixels = ()
    for s in tl.static_range(4):
        h, w = 2 * i + s // 2, 2 * j + s % 2
        # Beyond an odd side stand zeros.
        on_RD = there & (h < height) & (w < width) & on_D
        x_RD = tl.load(
            x + (b * x_b + h * x_h + w * x_w) * VECTOR + d[None, :], mask=on_RD, other=0.0
        )
        pixels = pixels + (x_RD.to(tl.float32),)
    bands = ()
    for k in tl.static_range(4):
        band_RD = pixels[0] * _tap(filters, d, channels, k, 0)
        for s in tl.static_range(1, 4):
            band_RD += pixels[s] * _tap(filters, d, channels, k, s)
        bands = bands + (band_RD,)
    # `join` puts two numbers side by side; twice, and the four bands stand in their order.
    bands_RD22 = tl.join(tl.join(bands[0], bands[2]), tl.join(bands[1], bands[3]))
    bands_RE = tl.reshape(bands_RD22, [RB, 4 * DB])
    e = 4 * first + tl.arange(0, 4 * DB)
    at_RE = y + (b * y_b + i * y_h + j * y_w) * VECTOR + e[None, :]
    tl.store(at_RE, bands_RE.to(y.dtype.element_ty), mask=there & (e < 4 * channels)[None, :])


@triton.jit(do_not_specialize=SIZES)
def join_kernel(
    x,
    filters,
    y,
    x_b,
    x_h,
    x_w,
    y_b,
    y_h,
    y_w,
    height,
    width,
    windows,
    vectors,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    channels = vectors * VECTOR
    b, i, j, there, first = _place(height, width, windows, channels, RB, DB)
    d = first + tl.arange(0, DB)
    e = 4 * first + tl.arange(0, 4 * DB)
    at_RE = y + (b * y_b + i * y_h + j * y_w) * VECTOR + e[None, :]
    bands_RE = tl.load(at_RE, mask=there & (e < 4 * channels)[None, :], other=0.0)
    bands_RD22 = tl.reshape(bands_RE.to(tl.float32), [RB, DB, 2, 2])
    # `split` takes the last axis apart: first even bands from odd ones, then each pair.
    even_RD2, odd_RD2 = tl.split(bands_RD22)
    first_RD, third_RD = tl.split(even_RD2)
    second_RD, fourth_RD = tl.split(odd_RD2)
    bands = (first_RD, second_RD, third_RD, fourth_RD)
    for s in tl.static_range(4):
        x_RD = bands[0] * _tap(filters, d, channels, 0, s)
        for k in tl.static_range(1, 4):
            x_RD += bands[k] * _tap(filters, d, channels, k, s)
        h, w = 2 * i + s // 2, 2 * j + s % 2
        on_RD = there & (h < height) & (w < width) & (d < channels)[None, :]
        at_RD = x + (b * x_b + h * x_h + w * x_w) * VECTOR + d[None, :]
        tl.store(at_RD, x_RD.to(x.dtype.element_ty), mask=on_RD)
