"""Where on a map the scans of a mixer go: what a mixer tells of itself.

A mixer that scans has a method `walk`, called with what its `forward` is called with, that returns
a `MapWalk`. A module that cuts a map into pieces and hands these to the mixers inside has a method
`walk_on_map`, called with a mixer's walk over one piece and then with what its own `forward` is
called with, that returns the walk over the whole map (`MapWalk.in_pieces` does that). A mixer that
reads all cells at once derives from `Unordered`: there is no walk to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .tokens import TokenLayout


@dataclass(frozen=True)
class MapWalk:
    """The routes of a mixer over a map of one size.

    Shape suffixes: G sequences that one map is cut into (windows, else 1), K routes, T steps.
    """

    routes: tuple[str, ...]
    """Their names, K of them; those of the first head, then of the second, …"""
    height: int
    width: int
    cells_GKT: Tensor
    """The cell, row-major, at every step of a route; -1 for padding and extra tokens. On the CPU,
    whatever the mixer is on."""
    heads: int = 1
    """Groups of channels with routes of their own."""

    @classmethod
    def of_tokens(cls, routes: Sequence[str], layout: TokenLayout, tokens_KT: Tensor) -> "MapWalk":
        """The walk of routes that read the tokens of a sequence, -1 for holes."""
        # Extra tokens stand on no cell of the map.
        extra_E = torch.full((len(layout.places),), -1)
        cells_L = layout.insert(torch.arange(layout.cells), extra_E, 0)
        # Holes are clamped for the look-up alone: -1 would read the last cell.
        cells_KT = torch.where(tokens_KT < 0, -1, cells_L[tokens_KT.clamp(min=0)])
        return cls(tuple(routes), layout.height, layout.width, cells_KT[None])

    def in_pieces(self, cells_GL: Tensor, height: int, width: int) -> "MapWalk":
        """The same walk through each of G pieces, as a walk over the map that they are cut from.

        Args:
            cells_GL: the map's cell at each cell of a piece, row-major; -1 for padding.
            height, width: of the map.
        """
        own = self.cells_GKT
        # Holes of the route stay holes, whatever the clamped look-up reads; padding of a piece is
        # one already. (G, cells) at (1, K, T) gives (G, 1, K, T).
        cells = torch.where(own < 0, -1, cells_GL[:, own.clamp(min=0)])
        return MapWalk(self.routes, height, width, cells.flatten(0, 1), self.heads)


class Unordered:
    """Base of mixers that read all cells of a map at once, in no order: they walk nowhere."""


@runtime_checkable
class Walks(Protocol):
    """A mixer that tells its walk."""

    def walk(self, *inputs: Any, **named_inputs: Any) -> MapWalk: ...


@runtime_checkable
class CutsMaps(Protocol):
    """A module that hands its mixers pieces of a map."""

    def walk_on_map(self, walk: MapWalk, *inputs: Any, **named_inputs: Any) -> MapWalk: ...
