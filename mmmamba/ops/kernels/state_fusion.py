"""Kernels of `fuse_states`, launched: the way forward is one, the way back four.

On the way back a border's cell gets what many positions took from beyond it. So the gradient of the
fused states is written into a map with margins: behind the H rows stand, for each dilation s, the
sum of the first s + 1 rows and that of the last, and likewise behind the W columns. Then each tap
has a single place to read at, as on the way forward.

Shape suffixes: J dilations, D channels.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts
from .state_fusion_tiles import (
    fold_kernel,
    fuse_kernel,
    kernels_kernel,
    margins_kernel,
    spread_kernel,
)

SIDE, WARPS = 8, 8
"""Rows and columns of a tile, and the warps that share it."""
REGISTERS = 128
"""At most for each thread, so that two programs share a multiprocessor."""
PROGRAMS, MOST_TILES = 8, 16
"""For the kernels' gradient: programs wanted for each multiprocessor, and most tiles of one."""

_PLANS = Plans()


class Gradients(NamedTuple):
    """None for what is not there."""

    h: Tensor
    kernels: Tensor
    C: Tensor
    u: Tensor | None
    skip: Tensor | None


def forward(
    h: Tensor,
    kernels: Tensor,
    C: Tensor,
    u: Tensor | None,
    skip: Tensor | None,
    dilations: tuple[int, ...],
) -> Tensor:
    """`C * f(h) + skip * u` in h's dtype; all without gaps."""
    y = torch.empty_like(h)
    _run(
        fuse_kernel,
        (h, _channels_last(kernels), C, u, skip, y),
        h,
        dilations,
        HAS_SKIP=u is not None,
    )
    return y


def backward(
    grad: Tensor,
    h: Tensor,
    kernels: Tensor,
    C: Tensor,
    u: Tensor | None,
    skip: Tensor | None,
    dilations: tuple[int, ...],
) -> Gradients:
    """Gradients of all inputs, which have no gaps."""
    grad, kernels_J33D = grad.contiguous(), _channels_last(kernels)
    batch, height, width, channels = h.shape
    margin = 2 * len(dilations)
    tile = _tile_of(h.shape)
    # The gradient of the fused states, with margins.
    wide = h.new_empty(batch, height + margin, width + margin, channels)
    C_parts = _shares(h, tile.blocks, *C.shape)
    skip_parts = _shares(h, tile.tiles, channels)
    du = None if u is None else torch.empty_like(u)
    tensors = (grad, h, kernels_J33D, C, u, skip, wide, C_parts, du, skip_parts)
    _run(spread_kernel, tensors, h, dilations, HAS_SKIP=u is not None)
    _run(margins_kernel, (wide,), h, dilations)
    dh = torch.empty_like(h)
    _run(fold_kernel, (wide, kernels_J33D, dh), h, dilations)
    each = _tiles_of_each(h, tile)
    parts = _shares(h, ceil_div(tile.tiles, each), *kernels_J33D.shape)
    _run(kernels_kernel, (wide, h, parts), h, dilations, each=each)
    return Gradients(
        dh,
        add_parts(parts, kernels.dtype).permute(0, 3, 1, 2),
        add_parts(C_parts, C.dtype),
        du,
        None if skip is None else add_parts(skip_parts, skip.dtype),
    )


def _channels_last(kernels_JD33: Tensor) -> Tensor:
    """Taps of neighbouring channels side by side, so that they are loaded in whole vectors."""
    return kernels_JD33.permute(0, 2, 3, 1).contiguous()


def _shares(h: Tensor, *shape: int) -> Tensor:
    """What programs have each summed for themselves, added up in one order afterwards."""
    return torch.empty(shape, dtype=torch.float32, device=h.device)


class _Tile(NamedTuple):
    channels: int
    """In a block."""
    blocks: int
    down: int
    across: int
    tiles: int
    """In all images, for each block of channels."""


def _tile_of(shape: torch.Size) -> _Tile:
    batch, height, width, channels = shape
    block = 32 if channels % 64 else 64
    down, across = ceil_div(height, SIDE), ceil_div(width, SIDE)
    return _Tile(block, ceil_div(channels, block), down, across, batch * down * across)


def _tiles_of_each(h: Tensor, tile: _Tile) -> int:
    """Tiles that a program of the kernels' gradient adds up: few, as it walks them once a tap."""
    wanted = PROGRAMS * multiprocessors(h.device)
    return max(1, min(tile.tiles * tile.blocks // wanted, MOST_TILES))


def _packed(dilations: tuple[int, ...]) -> int:
    """The dilations as one number, a byte each: constants of a kernel are plain numbers."""
    return sum(s << (8 * j) for j, s in enumerate(dilations))


def _run(
    kernel,
    tensors: tuple[Tensor | None, ...],
    h: Tensor,
    dilations: tuple[int, ...],
    each: int = 0,
    **constants: bool,
) -> None:
    if not h.numel():
        return
    kinds = [None if x is None else x.dtype for x in tensors]
    key = (kernel.fn.__name__, h.shape, h.device, dilations, each, *constants.values(), *kinds)
    launch = _PLANS.get(key)
    if launch is None:
        launch = _PLANS.keep(key, _plan(kernel, h, dilations, each, constants))
    launch(*tensors)


def _plan(
    kernel, h: Tensor, dilations: tuple[int, ...], each: int, constants: dict[str, bool]
) -> Launch:
    batch, height, width, channels = h.shape
    tile = _tile_of(h.shape)
    J, tiles = len(dilations), tile.tiles
    sizes = dict(height=height, width=width, down=tile.down, across=tile.across)
    if kernel is margins_kernel:
        # The cells of the margins are numbered through, those of an image after another's.
        cells = 2 * J * (height + width + 2 * J)
        strips = ceil_div(cells, SIDE * SIDE)
        sizes, tiles = dict(height=height, width=width, strips=strips), batch * strips
    if each:
        sizes |= dict(each=each, tiles=tiles)
        tiles = ceil_div(tiles, each)
    # Channels are counted in vectors, so that the compiler sees where whole ones begin; no load is
    # wider than 16 bytes, which hold 8 of half precision.
    vector = math.gcd(8, channels)
    return Launch(
        kernel,
        h.device,
        tiles * tile.blocks,
        sizes | dict(vectors=channels // vector),
        **constants,
        J=J,
        DILATIONS=_packed(dilations),
        VECTOR=vector,
        SIDE=SIDE,
        DB=tile.channels,
        num_warps=WARPS,
        maxnreg=REGISTERS,
    )
