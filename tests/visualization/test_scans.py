"""The scans of every family are seen, with the cells that they visit.

Their explicit attention is what they do.
"""

import numpy as np
import pytest
import torch

from mmmamba.layers import MapWalk, Unordered
from mmmamba.models.trunks.base import MambaBackbone
from mmmamba.visualization import (
    Picture,
    attention_weights,
    choose_scan,
    draw_implicit_attention,
    draw_scan_path,
    implicit_attention,
    record_scans,
    scan_path,
)

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)


def tiny(family: str, **overrides) -> MambaBackbone:
    torch.manual_seed(0)
    return FAMILIES[family](**FAMILIES[family].TINY | overrides).eval().double()


def images(height=72, width=101, batch=1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).double()


def position(scan, step, route):
    """Where the operator is at a step of a route: a cell may have several places there."""
    index = scan.given["index"]
    return step if index is None else int(index[route, step])


@every_family
def test_attention_times_the_input_is_what_the_layer_scans(family):
    """The explicit row times u, with the skip, equals the scan's output, in each scan."""
    for scan in record_scans(tiny(family), images()):
        _, _K, _T = scan.cells_GKT.shape
        merged = scan.output.shape[2] == 1
        for cell in {0, scan.height * scan.width // 2, scan.height * scan.width - 1}:
            want, got = {}, {}
            for sequence, route, step in scan.visits(cell):
                walk = scan.walk(route, sequence)
                weights_TD, u_TD = (
                    attention_weights(scan, route, step, sequence),
                    walk.u_BTKD[0, : step + 1, 0],
                )
                y_D = (weights_TD * u_TD).sum(0)
                # A scan that hands out its states has no skip.
                if walk.D_KD is not None:
                    y_D = y_D + walk.D_KD[0] * u_TD[-1]
                place = (sequence, position(scan, step, route), 0 if merged else route)
                got[place] = got.get(place, 0) + y_D
                want[place] = scan.output[place]
            assert want, f"no route of {scan.name} comes to cell {cell}"
            for place in want:
                torch.testing.assert_close(got[place], want[place], rtol=1e-10, atol=1e-12)


@every_family
def test_routes_of_a_layer_visit_every_cell_of_its_map(family):
    for scan in record_scans(tiny(family), images(), keep=[]):
        cells = scan.cells_GKT[scan.cells_GKT >= 0]
        assert set(cells.tolist()) == set(range(scan.height * scan.width)), scan.name
        walks = [walk for route in range(len(scan.routes)) for walk in scan_path(scan, route)]
        assert sum(len(walk) for walk in walks) == len(cells)
        assert all((walk[1:, 2] > walk[:-1, 2]).all() for walk in walks)


@every_family
def test_cells_that_cannot_reach_the_chosen_one_have_no_weight(family):
    model = tiny(family)
    scans = record_scans(model, images())
    if not scans:
        assert any(isinstance(module, Unordered) for module in model.modules())
        with pytest.raises(ValueError, match="no scan to choose from: the model has none"):
            choose_scan(scans, (72, 101))
        return
    scan = choose_scan(scans, (72, 101))
    row, column = scan.height // 2, scan.width // 3
    attention = implicit_attention(scan, row, column)
    maps = torch.cat([attention.total_HW[None], attention.by_route_KHW])
    assert maps.shape == (len(attention.routes) + 1, scan.height, scan.width)
    assert (maps[:, row, column] >= 0).all() and (maps[~maps.isnan()] >= 0).all()
    reached = ~attention.by_route_KHW.isnan()
    assert torch.equal(reached.any(0), ~attention.total_HW.isnan())
    for k, (sequence, route, step) in enumerate(scan.visits(row * scan.width + column)):
        before = scan.cells_GKT[sequence, route, : step + 1]
        assert set(reached[k].flatten().nonzero().flatten().tolist()) == set(
            before[before >= 0].tolist()
        )


def test_each_image_of_a_batch_has_its_own_attention():
    model, pair = tiny("MambaVision"), images(batch=2)
    for image in range(2):
        alone = choose_scan(record_scans(model, pair[image : image + 1]), (72, 101))
        together = choose_scan(record_scans(model, pair), (72, 101))
        a, b = implicit_attention(alone, 1, 2), implicit_attention(together, 1, 2, image)
        torch.testing.assert_close(a.total_HW, b.total_HW, equal_nan=True)


def test_scans_are_chosen_by_stage_and_block():
    scans = record_scans(tiny("VMamba"), images(), keep=["layers.2.blocks.1.op"])
    assert [(s.stage, s.block) for s in scans] == [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0)]
    assert choose_scan(scans, (72, 101)).name == "layers.2.blocks.1.op"
    assert choose_scan(scans, (72, 101), stage=2, block=0).name == "layers.2.blocks.0.op"
    with pytest.raises(ValueError, match=r"no scan in stage 7; there are in stages 0 \(blocks 0\)"):
        choose_scan(scans, (72, 101), stage=7)
    with pytest.raises(ValueError, match="layers.0.blocks.0.op were not kept"):
        implicit_attention(scans[0], 0, 0)
    with pytest.raises(ValueError, match="none at row 99"):
        implicit_attention(scans[3], 99, 0)


def test_a_neck_s_scans_are_seen_too():
    from mmmamba.models.yolo.neck import MambaYOLOPAFPN

    torch.manual_seed(0)
    neck = MambaYOLOPAFPN(in_channels=[16, 24, 32]).eval()
    maps = tuple(torch.randn(1, c, 16 // 2**i, 24 // 2**i) for i, c in enumerate((16, 24, 32)))
    scans = record_scans(neck, maps)
    assert scans and [s.block for s in scans] == list(range(len(scans)))
    assert {(s.height, s.width) for s in scans} == {(16, 24), (8, 12), (4, 6)}


def test_hooks_leave_with_the_recording():
    model = tiny("MambaVision")
    record_scans(model, images())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Diagonal(torch.nn.Module):
    """A user's own mixer: one scan along the diagonals, `(B, H, W, C)` to the same."""

    def order(self, height, width):
        return torch.arange(height * width).view(height, width).flip(1).t().flatten()

    def forward(self, x):
        from mmmamba.ops import selective_scan

        u = x.flatten(1, 2)
        index = self.order(*x.shape[1:3])[None]
        drive = u[:, :, None, :1]
        y = selective_scan(
            u, u[:, :, None], -u.new_ones(1, u.shape[2], 1), drive, drive, index=index
        )
        return y.view_as(x)


class ToldDiagonal(Diagonal):
    def walk(self, x):
        height, width = x.shape[1:3]
        return MapWalk(("diagonal",), height, width, self.order(height, width)[None, None])


class Rows(torch.nn.Module):
    """Gives its mixer the upper and the lower half of a map, as two images."""

    def __init__(self, mixer):
        super().__init__()
        self.mixer = mixer

    def forward(self, x):
        halves = torch.cat([x.unflatten(1, (2, -1))[:, i] for i in range(2)])
        return torch.cat(self.mixer(x=halves).chunk(2), 1)

    def walk_on_map(self, walk, x):
        height, width = x.shape[1:3]
        return walk.in_pieces(torch.arange(height * width).view(2, -1), height, width)


def test_a_user_s_own_mixer_is_seen_with_its_walk():
    maps = torch.rand(1, 4, 3, 5)
    scan = record_scans(torch.nn.Sequential(ToldDiagonal()), maps)[0]
    assert (scan.name, scan.routes, scan.height, scan.width) == ("0", ("diagonal",), 4, 3)
    assert scan.visits(2) == [(0, 0, 0)] and scan.visits(0) == [(0, 0, 8)]
    total = implicit_attention(scan, 1, 2).total_HW
    assert (~total.isnan()).nonzero().tolist() == [[0, 2], [1, 2]]


def test_whoever_cuts_a_map_says_where_the_pieces_lie():
    """The mixer inside knows its piece alone; it is called by name here."""
    scan = record_scans(Rows(ToldDiagonal()), torch.rand(1, 4, 3, 5))[0]
    assert (scan.name, scan.height, scan.width) == ("mixer", 4, 3)
    assert scan.cells_GKT.tolist() == [[[2, 5, 1, 4, 0, 3]], [[8, 11, 7, 10, 6, 9]]]


def test_a_scan_that_nobody_tells_the_walk_of_is_an_error():
    with pytest.raises(TypeError, match=r"in '0', a Diagonal, .*write a method walk\(\)"):
        record_scans(torch.nn.Sequential(Diagonal()), torch.rand(1, 4, 3, 5))


def test_a_walk_of_another_kind_is_an_error():
    class Odd(Diagonal):
        def walk(self, x):
            return self.order(*x.shape[1:3])

    with pytest.raises(TypeError, match="Odd.walk returns a Tensor, wanted .*MapWalk"):
        record_scans(Odd(), torch.rand(1, 4, 3, 5))


def test_the_walk_is_drawn_on_the_image(tmp_path):
    scan = record_scans(tiny("VMamba"), images(64, 96), keep=[])[1]
    figure = draw_scan_path(
        scan, Picture(np.zeros((48, 96, 3), np.uint8), (0.75, 1.0)), tmp_path / "scan.png"
    )
    axes = figure.axes[0]
    assert [a.get_title() for a in figure.axes[:4]] == [
        "row",
        "column",
        "row reversed",
        "column reversed",
    ]
    jumps, steps = (collection.get_segments() for collection in axes.collections)
    assert len(jumps) == 7 and len(steps) == 8 * 11, "eight rows of twelve cells of eight pixels"
    assert [tuple(map(float, point)) for point in steps[0]] == [(4, 4), (12, 4)]
    first, last = ((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines)
    assert first == (4, 4) and last == (92, 44), "of the six rows that the image fills"
    assert axes.get_xlim() == (0, 96) and axes.get_ylim() == (48, 0)


def test_the_attention_is_drawn_with_the_cell_marked(tmp_path):
    scan = choose_scan(record_scans(tiny("VMamba"), images(64, 96)), (64, 96))
    figure = draw_implicit_attention(
        implicit_attention(scan, 1, 2), Picture.blank(64, 96), tmp_path / "attention.png"
    )
    titles = [a.get_title() for a in figure.axes[:-1]]
    assert titles == ["image", "all routes", "row", "column", "row reversed", "column reversed"]
    row = figure.axes[2].get_images()[0].get_array()
    assert row.shape == (4, 6) and row.max() == 1
    # Of the row's walk: cell 1, 2 and what comes before it.
    assert np.isnan(row.filled(np.nan)).sum() == 24 - 9
    assert all(
        (line.get_xdata()[0], line.get_ydata()[0]) == (40, 24)
        for a in figure.axes[:-1]
        for line in a.lines
    )
