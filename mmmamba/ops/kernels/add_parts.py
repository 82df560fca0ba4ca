"""The kernel that adds up what many programs have each summed for themselves.

PyTorch's reduction takes some 10 us for these few numbers, as long as the kernel that made them
takes for a small map: it gives a thread a column and lets it wait for one row after another.

Shape suffixes: P programs and N numbers of a tile.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

PROGRAMS = (8, 32, 256)
"""Parts of a tile: the least of these that takes them all."""
ELEMENTS, WARPS = 4096, 8
_PLANS = Plans()


def add_parts(parts: Tensor, dtype: torch.dtype) -> Tensor:
    """`parts.sum(0)` of float32 without gaps, added up in one order and rounded to `dtype`."""
    shape = parts.shape[1:]
    sums = torch.empty(shape, dtype=dtype, device=parts.device)
    if not sums.numel():
        return sums
    programs, numbers = len(parts), sums.numel()
    key = (programs, numbers, dtype, parts.device)
    launch = _PLANS.get(key)
    if launch is None:
        sizes = dict(programs=programs, numbers=numbers)
        rows = next((n for n in PROGRAMS if n >= programs), PROGRAMS[-1])
        # Few parts of many numbers, as of a large batch's states, fill a tile, too.
        columns = ELEMENTS // rows
        blocks = ceil_div(numbers, columns)
        constants = dict(BP=rows, BN=columns, num_warps=WARPS)
        launch = Launch(add_parts_kernel, parts.device, blocks, sizes, **constants)
        _PLANS.keep(key, launch)
    launch(sums, parts)
    return sums


@triton.jit(do_not_specialize=["programs", "numbers"])
def add_parts_kernel(sums, parts, programs, numbers, BP: tl.constexpr, BN: tl.constexpr):
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    in_N = n < numbers
    sums_PN = tl.zeros([BP, BN], tl.float32)
    for first in range(0, programs, BP):
        p = first + tl.arange(0, BP)
        on_PN = (p < programs)[:, None] & in_N[None, :]
        place_PN = p.to(tl.int64)[:, None] * numbers + n[None, :]
        sums_PN += tl.load(parts + place_PN, mask=on_PN, other=0.0)
    tl.store(sums + n, tl.sum(sums_PN, 0).to(sums.dtype.element_ty), mask=in_N)
