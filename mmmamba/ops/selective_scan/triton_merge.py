"""Maps of several routes added up, in the routes' order: bit-equal from run to run."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div
from .triton_choice import LANES

ROWS, CHANNELS = 8, 4 * LANES
"""What one program sums."""

_PLANS = Plans()


def merged(y_BLKD: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over routes, `(B, L, 1, D)`, of maps in float32 without gaps."""
    batch, length, K, channels = shape = y_BLKD.shape
    # One route's map has the dtype asked for from the start.
    if K == 1:
        return y_BLKD
    total = torch.empty(batch, length, 1, channels, dtype=dtype, device=y_BLKD.device)
    if total.numel():
        key = (shape, dtype, y_BLKD.device)
        launch = _PLANS.get(key) or _PLANS.keep(
            key,
            Launch(
                merge_kernel,
                y_BLKD.device,
                ceil_div(batch * length, ROWS) * ceil_div(channels, CHANNELS),
                dict(rows=batch * length, channels=channels),
                K=K,
                ROWS=ROWS,
                DB=CHANNELS,
            ),
        )
        launch(y_BLKD, total)
    return total


@triton.jit(do_not_specialize=["rows", "channels"])
def merge_kernel(
    parts, total, rows, channels, K: tl.constexpr, ROWS: tl.constexpr, DB: tl.constexpr
):
    """Outputs of K routes, `(rows, K, D)`, added in their order."""
    blocks = tl.cdiv(channels, DB)
    pid = tl.program_id(0)
    # 64 bits: rows times routes times channels may exceed 2^31.
    row = (pid // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    on = (row < rows)[:, None] & (d < channels)[None, :]
    sum_RD = tl.zeros([ROWS, DB], tl.float32)
    for k in tl.static_range(K):
        sum_RD += tl.load(
            parts + ((row * K + k) * channels)[:, None] + d[None, :], mask=on, other=0.0
        )
    tl.store(
        total + (row * channels)[:, None] + d[None, :], sum_RD.to(total.dtype.element_ty), mask=on
    )
