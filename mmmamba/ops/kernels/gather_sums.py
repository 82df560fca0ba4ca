"""The kernel of `gather_sums`: the rows that an index names, added up as they are read.

Shape suffixes: R rows and D channels of a tile.
"""

import math

import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

ROWS, CHANNELS = 32, 64
_PLANS = Plans()


def gather_sums(y_BMC: Tensor, inverse_NK: Tensor) -> Tensor:
    """Row n is the sum of y's rows `inverse[n]`, `(B, N, C)`, added up in float32."""
    y_BMC, inverse_NK = y_BMC.contiguous(), inverse_NK.contiguous()
    batch, taken, channels = y_BMC.shape
    rows, each = inverse_NK.shape
    sums = y_BMC.new_empty(batch, rows, channels)
    if not sums.numel():
        return sums
    key = (y_BMC.shape, inverse_NK.shape, inverse_NK.dtype, y_BMC.dtype, y_BMC.device)
    launch = _PLANS.get(key)
    if launch is None:
        vector = math.gcd(8, channels)
        blocks = ceil_div(channels, CHANNELS) * ceil_div(rows, ROWS)
        sizes = dict(rows=rows, taken=taken, vectors=channels // vector)
        constants = dict(K=each, VECTOR=vector, RB=ROWS, DB=CHANNELS, num_warps=4)
        launch = Launch(gather_sums_kernel, y_BMC.device, batch * blocks, sizes, **constants)
        _PLANS.keep(key, launch)
    launch(y_BMC, inverse_NK, sums)
    return sums


@triton.jit(do_not_specialize=["rows", "taken", "vectors"])
def gather_sums_kernel(
    y,
    inverse,
    sums,
    rows,
    taken,
    vectors,
    K: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    C = vectors * VECTOR
    blocks, tiles = tl.cdiv(C, DB), tl.cdiv(rows, RB)
    tile = tl.program_id(0) // blocks
    d = tl.program_id(0) % blocks * DB + tl.arange(0, DB)
    n = tile % tiles * RB + tl.arange(0, RB)
    on_RD = (n < rows)[:, None] & (d < C)[None, :]
    # In 64 bits, as offsets of large batches need them.
    image = (tile // tiles).to(tl.int64)
    sum_RD = tl.zeros([RB, DB], tl.float32)
    for k in tl.static_range(K):
        row_R = tl.load(inverse + n * K + k, mask=n < rows, other=0).to(tl.int64)
        at_RD = y + (image * taken + row_R)[:, None] * C + d[None, :]
        sum_RD += tl.load(at_RD, mask=on_RD, other=0.0).to(tl.float32)
    at_RD = sums + (image * rows + n)[:, None] * C + d[None, :]
    tl.store(at_RD, sum_RD.to(sums.dtype.element_ty), mask=on_RD)
