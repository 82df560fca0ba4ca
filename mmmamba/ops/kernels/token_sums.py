"""What the kernels share that sum outer products over all tokens of a map.

Each program adds up a run of tokens of one head in float32, and the programs' parts are added in
one order, so two runs are bit-equal. Products of matrices take bfloat16 as it is; float16 is
widened first, as sums over a map pass its range, and goes through TF32, of as many digits. Float32
goes through it in three parts, which keeps its own digits.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import ceil_div, multiprocessors

TOKENS = 64
"""Tokens of a tile."""
PROGRAMS = 4
"""For each multiprocessor, where a map has tiles for so many."""


def products(x: Tensor) -> dict[str, Any]:
    """How a kernel multiplies matrices of inputs such as x."""
    # The interpreter would multiply the bits of bfloat16 numbers.
    narrow = x.dtype == torch.bfloat16 and x.is_cuda
    return dict(BF16=narrow, PRECISION="tf32x3" if x.dtype == torch.float32 else "tf32")


def block(channels: int) -> int:
    """The side of a tile that holds so many; products want 16 at least."""
    return max(16, triton.next_power_of_2(channels))


def runs(batch: int, heads: int, length: int, device: torch.device) -> tuple[int, int]:
    """How many runs a map's tokens are cut into, and the tiles of a run."""
    tiles = ceil_div(length, TOKENS)
    wanted = ceil_div(PROGRAMS * multiprocessors(device), max(batch * heads, 1))
    tiles_of_run = ceil_div(tiles, min(tiles, wanted))
    return ceil_div(tiles, tiles_of_run), tiles_of_run


@triton.jit
def product(a, b, BF16: tl.constexpr, PRECISION: tl.constexpr):
    """`a @ b` in float32."""
    if BF16:
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    else:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision=PRECISION)
