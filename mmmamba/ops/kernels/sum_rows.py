"""The kernel of `sum_rows`: tiles of rows by columns, added up in registers.

Each of a fixed number of programs adds up its own rows, and the programs' parts are added in order,
so two runs are bit-equal. Widths are constants of the kernel, as of a layer.

Shape suffixes: R rows and C columns of a tile.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts

ELEMENTS, WARPS = 4096, 4
"""Elements of a tile, and warps that share it."""
PROGRAMS = 8
"""For each multiprocessor."""
_PLANS = Plans()


def columns_of(width: int) -> int:
    """Columns of a tile, so many that few lanes are idle."""
    for columns in (128, 64):
        if width % columns == 0:
            return columns
    return 32


def sum_rows(x_RC: Tensor) -> Tensor:
    """`x.sum(0)` of a matrix without gaps, added up in float32."""
    rows, width = x_RC.shape
    key = (rows, width, x_RC.dtype, x_RC.device)
    plan = _PLANS.get(key) or _PLANS.keep(
        key, plan_columns(sum_rows_kernel, rows, width, x_RC.device, ELEMENTS)
    )
    # No program adds to another's sum: atomic additions would come in another order each time.
    parts = torch.empty((plan.programs, width), dtype=torch.float32, device=x_RC.device)
    if x_RC.numel():
        plan.launch(x_RC, parts)
    return add_parts(parts, x_RC.dtype)


class ColumnPlan(NamedTuple):
    """How a kernel is launched whose programs add up rows of some columns."""

    launch: Launch
    programs: int
    """How many share a block of columns."""


def plan_columns(
    kernel: Any, rows: int, width: int, device: torch.device, elements: int, **constants: Any
) -> ColumnPlan:
    """The launch of a kernel that takes `rows`, `tiles` and `programs`, then C, BC and BR.

    Args:
        elements: of a tile.
        constants: what the kernel takes beside those.
    """
    columns = columns_of(width)
    tile_rows = elements // columns
    blocks, tiles = ceil_div(width, columns), ceil_div(rows, tile_rows)
    programs = min(tiles, ceil_div(PROGRAMS * multiprocessors(device), max(blocks, 1)))
    launch = Launch(
        kernel,
        device,
        programs * blocks,
        dict(rows=rows, tiles=tiles, programs=programs),
        C=width,
        BC=columns,
        BR=tile_rows,
        num_warps=WARPS,
        **constants,
    )
    return ColumnPlan(launch, programs)


@triton.jit(do_not_specialize=["rows", "tiles", "programs"])
def sum_rows_kernel(
    x, parts, rows, tiles, programs, C: tl.constexpr, BC: tl.constexpr, BR: tl.constexpr
):
    """Adds up some columns of the rows that are this program's part."""
    BLOCKS: tl.constexpr = (C + BC - 1) // BC
    # Neighbouring programs take neighbouring columns, whose memory lies side by side.
    c = (tl.program_id(0) % BLOCKS) * BC + tl.arange(0, BC)
    program = tl.program_id(0) // BLOCKS
    r = tl.arange(0, BR)
    # Kept apart for each row of a tile, and added up across rows once, behind the loop.
    sums_RC = tl.zeros([BR, BC], tl.float32)
    # In 64 bits: rows times width may exceed 2**31.
    first = program.to(tl.int64) * BR
    for _ in range(program, tiles, programs):
        on_RC = (first + r < rows)[:, None] & (c < C)[None, :]
        place_RC = first * C + r[:, None] * C + c[None, :]
        sums_RC += tl.load(x + place_RC, mask=on_RC, other=0.0).to(tl.float32)
        first += programs.to(tl.int64) * BR
    tl.store(parts + program * C + c, tl.sum(sums_RC, 0), mask=c < C)
