"""Mixers tell where on a map they go, and pieces of a map are told as parts of it."""

import pytest
import torch

from mmmamba.layers import (
    ES2D,
    SS2D,
    Attention,
    BidirectionalMixer,
    CutsMaps,
    MapWalk,
    RouteMixer,
    SplitMixer,
    TokenLayout,
    Walks,
    window_cells,
)
from mmmamba.ops import route


def test_ss2d_walks_its_routes_head_by_head():
    walk = SS2D(8, routes=(("row", "column"), ("column", "row"))).walk(torch.zeros(2, 3, 4, 8))
    assert walk.routes == ("row", "column", "column", "row") and walk.heads == 2
    assert (walk.height, walk.width, walk.cells_GKT.shape) == (3, 4, (1, 4, 12))
    assert torch.equal(walk.cells_GKT[0, 1], route("column", 3, 4))


def test_es2d_walks_each_cell_once():
    cells = ES2D(8).walk(torch.zeros(1, 5, 7, 8)).cells_GKT
    assert sorted(cells[cells >= 0].tolist()) == list(range(35))


def test_extra_tokens_are_no_cells():
    layout = TokenLayout(2, 2, (1,))
    forth = [0, -1, 1, 2, 3]
    walk = BidirectionalMixer(8).walk(torch.zeros(1, 5, 8), layout)
    assert (walk.height, walk.width) == (2, 2)
    assert walk.cells_GKT.tolist() == [[forth, forth[::-1]]]
    walk = RouteMixer(8, ("column", "row_reversed")).walk(torch.zeros(1, 5, 8), layout)
    assert walk.cells_GKT.tolist() == [[[0, -1, 2, 1, 3], [3, -1, 2, 1, 0]]]


def test_a_sequence_without_a_layout_is_a_map_of_one_row():
    walk = BidirectionalMixer(8).walk(torch.zeros(1, 3, 8))
    assert (walk.height, walk.width) == (1, 3)
    assert walk.cells_GKT.tolist() == [[[0, 1, 2], [2, 1, 0]]]


def test_windows_are_told_as_parts_of_the_map():
    window = SplitMixer(16).walk(torch.zeros(2, 4, 16))
    walk = window.in_pieces(window_cells(2, 3, 2), 2, 3)
    assert (walk.routes, walk.height, walk.width) == (("row",), 2, 3)
    assert walk.cells_GKT.tolist() == [[[0, 1, 3, 4]], [[2, -1, 5, -1]]]


def test_pieces_of_pieces():
    """A map of one row in halves, and these in halves again, walked backwards with a hole."""
    backwards = MapWalk(("back",), 1, 2, torch.tensor([[[1, -1, 0]]]))
    halves = backwards.in_pieces(torch.arange(4).view(2, 2), 1, 4)
    assert halves.cells_GKT.tolist() == [[[1, -1, 0]], [[3, -1, 2]]]
    whole = halves.in_pieces(torch.arange(8).view(2, 4), 1, 8)
    assert whole.cells_GKT[:, 0].tolist() == [[1, -1, 0], [3, -1, 2], [5, -1, 4], [7, -1, 6]]


@pytest.mark.parametrize("mixer", [SS2D(8), ES2D(8), SplitMixer(16), BidirectionalMixer(8)])
def test_who_scans_walks(mixer):
    assert isinstance(mixer, Walks) and not isinstance(mixer, CutsMaps)


def test_attention_has_no_walk():
    assert not isinstance(Attention(8, 2), Walks)
