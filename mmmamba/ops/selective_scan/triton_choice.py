"""What the Triton kernels are launched with: tiles, and chunks that routes are cut into.

The numbers are the fastest that `benchmarks/selective_scan_gpu.py --sweep` timed on an H200.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..launch import ceil_div

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton's interpreter runs the kernels on a CPU, one element after another, in smaller tiles."""

LANES = 4 if INTERPRETED else 32
"""Threads of a warp, each of which walks channels of its own."""


class Config(NamedTuple):
    """The tile of one kernel: `warps` pieces of steps by `LANES * vector` channels."""

    warps: int
    vector: int
    registers: int | None = None
    """At most for each thread."""
    registers_uncut: int | None = None
    """In their place where routes are not cut into chunks, and warps are fewer.

    Then the next tile's rows are loaded early, too.
    """


class Tiling(NamedTuple):
    """Tiles of the two directions; a first pass over chunks takes the forward one's."""

    steps: int
    """In a piece: between the states that are kept for the backward pass."""
    forward: Config
    backward: Config

    @property
    def unit(self) -> int:
        """What chunks hold whole numbers of: the steps of the larger tile."""
        return self.steps * max(self.forward.warps, self.backward.warps)


# Backward kernels with fewer registers let more warps share a multiprocessor, each of which
# computes while others wait for memory.
ONE_STATE = Tiling(2 if INTERPRETED else 8, forward=Config(2, 2), backward=Config(1, 1, 128, 168))
FEW_STATES = Tiling(4 if INTERPRETED else 8, forward=Config(1, 2), backward=Config(1, 1, 128))
MANY_STATES = Tiling(4 if INTERPRETED else 16, forward=Config(1, 2), backward=Config(1, 1))


def tiling(d_state: int) -> Tiling:
    """The tiles for so many states."""
    if d_state == 1:
        return ONE_STATE
    # With many states shorter pieces would be hardly faster, and keep more than the map itself.
    return FEW_STATES if d_state <= 8 else MANY_STATES


def choices(d_state: int) -> tuple:
    """All that the choices here depend on besides the sizes, for whoever keeps what was chosen."""
    return FULL, WANTED, LARGE_MAP, tiling(d_state)


FULL, WANTED = 8, 32
"""Warps on each multiprocessor: with fewer than FULL, routes are cut for about WANTED."""

LARGE_MAP = 2**22
"""Elements of a map from which routes that are to be merged are walked one after the other."""


class Sizes(NamedTuple):
    """The sizes of a scan; `steps` is the length of a route, `length` that of the map."""

    batch: int
    length: int
    routes: int
    channels: int
    d_state: int
    steps: int


class Tile(NamedTuple):
    """What a program walks at a time: `warps` pieces of `steps` by `block` channels."""

    steps: int
    warps: int
    vector: int
    """Neighbouring channels of a lane."""
    registers: int | None

    @property
    def block(self) -> int:
        return LANES * self.vector

    @property
    def span(self) -> int:
        """Steps of the whole tile."""
        return self.steps * self.warps

    def blocks(self, channels: int) -> int:
        return ceil_div(channels, self.block)


class Cut(NamedTuple):
    """How each route is cut: into so many chunks of so many steps, of which the last has fewer."""

    chunks: int
    span: int


def row_strides(x: Tensor) -> tuple[int, int, int]:
    """Strides of batch, position and route; zero for a route dimension that all routes share."""
    batch, position, route, _ = x.stride()
    # With stride 0 kernels go from route to route and stay on the one map.
    return batch, position, 0 if x.shape[2] == 1 else route


def choose_tile(sizes: Sizes, config: Config, maps: Sequence[Tensor]) -> Tile:
    """The configuration's tile, for a kernel that reads and writes rows of `maps`.

    A lane takes the configuration's number of neighbouring channels if they can be one access in
    all maps and at most a quarter of the lanes idle; else one.
    """
    vector = config.vector if _vectors_fit(sizes.channels, config.vector, maps) else 1
    return Tile(tiling(sizes.d_state).steps, config.warps, vector, config.registers)


def _vectors_fit(channels: int, vector: int, maps: Sequence[Tensor]) -> bool:
    block = LANES * vector
    lanes_width = ceil_div(channels, block) * block
    if channels % vector or 3 * lanes_width > 4 * channels:
        return False
    return all(_begins_on_vectors(x, vector) for x in maps)


def _begins_on_vectors(x: Tensor, vector: int) -> bool:
    """Whether every row begins on a multiple of the vector's size in memory."""
    if x.data_ptr() % (vector * x.element_size()):
        return False
    batch, position, route = row_strides(x)
    return batch % vector == position % vector == route % vector == 0


def choose_cut(sizes: Sizes, tile: Tile, routes: int, processors: int) -> Cut:
    """Chunks such that a launch for so many routes fills the card's multiprocessors.

    Cutting costs a first pass over all steps, so a card that whole routes fill is left at that.
    """
    # Chunks are whole units: tiles of either direction fit, and none spans two chunks.
    unit = tiling(sizes.d_state).unit
    units = max(1, ceil_div(sizes.steps, unit))
    warps = sizes.batch * routes * tile.blocks(sizes.channels) * tile.warps
    if warps >= FULL * processors:
        return Cut(1, units * unit)
    wanted = max(1, WANTED * processors // max(1, warps))
    units_of_each = ceil_div(units, wanted)
    # Counted again: by rounding up, fewer chunks may do, and each has to begin within the route.
    return Cut(ceil_div(units, units_of_each), units_of_each * unit)


def routes_one_by_one(sizes: Sizes, cut: Cut) -> bool:
    """Whether routes that are to be merged are walked each on top of the sums before it.

    On large maps this saves a map for each route, written and read; there a single route, cut into
    chunks, still fills the card. With one state it has not been timed.
    """
    elements = sizes.batch * sizes.length * sizes.channels
    several = sizes.routes > 1 and sizes.d_state > 1
    return several and cut.chunks > 1 and elements >= LARGE_MAP
